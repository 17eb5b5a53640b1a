#!/usr/bin/env bash
# Sets up, builds and runs the tests.
#
# usage: scripts/check.sh [--long]
#   --long   also the tests that take minutes (label "long")
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tests=ci
setup=(--with-tests)
case ${1-} in
  "") ;;
  --long)
    tests=ci-long
    setup+=(--with-long-tests)
    ;;
  *)
    echo "usage: scripts/check.sh [--long]" >&2
    exit 2
    ;;
esac

scripts/setup.sh "${setup[@]}"
cmake --preset ci
cmake --build --preset ci
ctest --preset "$tests" --parallel "$(nproc)"
