#!/usr/bin/env bash
# Formats the C++ files of this repository with the one version of clang-format that CI uses.
#
# usage: scripts/format.sh [--check]
#   --check   changes nothing; fails when a file would change
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1-} in
  "") mode=(-i) ;;
  --check) mode=(--dry-run --Werror) ;;
  *)
    echo "usage: scripts/format.sh [--check]" >&2
    exit 2
    ;;
esac

mapfile -d '' -t files < <(git ls-files -z '*.hpp' '*.cpp' '*.cu' '*.hip')
if ((${#files[@]} == 0)); then
  echo "format: git lists no C++ file here" >&2
  exit 1
fi
clang-format-14 "${mode[@]}" "${files[@]}"
