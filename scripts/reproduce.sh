#!/usr/bin/env bash
# Sets up, builds and runs the CPU experiment: prints the speedup and roofline tables and leaves the records in results/.
#
# usage: scripts/reproduce.sh [options of "millet run"]    e.g. scripts/reproduce.sh --budget 20s
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
cmake --preset reproduce
cmake --build --preset reproduce

# An option that is given replaces the one here.
defaults=(--preset "seed-dense,seed-moe"
          --backend cpu,portable
          --baseline eigen_f32
          --budget 60s
          --out "results/$(date -u +%Y-%m-%d)-$(uname -n)")
options=("$@")
for ((i = 0; i < ${#defaults[@]}; i += 2)); do
  given=no
  for argument in "$@"; do
    if [[ $argument == "${defaults[i]}" || $argument == "${defaults[i]}="* ]]; then
      given=yes
    fi
  done
  if [[ $given == no ]]; then
    options+=("${defaults[@]:i:2}")
  fi
done
# A core for each thread: two of them that wait for each other on one core make every call some milliseconds longer.
export OMP_PROC_BIND="${OMP_PROC_BIND:-true}"
exec build/reproduce/bin/millet run "${options[@]}"
