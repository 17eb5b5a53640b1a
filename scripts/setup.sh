#!/usr/bin/env bash
# Installs what is missing to build millet (Debian 12), or says what is missing (elsewhere). Does nothing on a second run.
#
# usage: scripts/setup.sh [--with-tests]
#   --with-tests   also what scripts/check.sh needs: clang (fuzz targets) and clang-format
set -euo pipefail

usage="usage: scripts/setup.sh [--with-tests]"
packages=(g++ cmake ninja-build git libeigen3-dev libgtest-dev libgmock-dev libbenchmark-dev libtrilinos-kokkos-dev
          libcli11-dev nlohmann-json3-dev libfmt-dev libexpected-dev)
tools=(cmake ninja git)
for argument in "$@"; do
  case $argument in
    --with-tests)
      packages+=(clang-14 libclang-rt-14-dev clang-format-14)
      tools+=(clang-14 clang-format-14)
      ;;
    -h | --help)
      echo "$usage"
      exit 0
      ;;
    *)
      echo "$usage" >&2
      exit 2
      ;;
  esac
done

is_debian_12() (
  [[ -r /etc/os-release ]] || exit 1
  # shellcheck source=/dev/null
  . /etc/os-release
  [[ ${ID:-} == debian && ${VERSION_ID:-} == 12 ]]
)

# Prints the packages that dpkg does not have, one a line.
missing_debian_packages() {
  local package
  for package in "${packages[@]}"; do
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
  done
}

install_debian_packages() {
  local as_root=()
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "setup: these packages are missing, and installing them takes root or sudo:" >&2
      printf '  %s\n' "$@" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  echo "setup: installing $*"
  local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
                 apt-get install --yes --quiet --no-install-recommends "$@")
  # A new machine has no package lists, an old one may have stale ones.
  "${install[@]}" >/dev/null 2>&1 </dev/null || {
    "${as_root[@]}" apt-get update --quiet </dev/null
    "${install[@]}" </dev/null
  }
}

# Prints what cannot be found by name, one a line. Kokkos is not asked for: CMake builds one where none is installed.
missing_elsewhere() {
  local tool
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null || echo "$tool"
  done
  if ! command -v "${CXX:-c++}" >/dev/null; then
    echo "a C++20 compiler (CXX)"
  elif command -v cmake >/dev/null && command -v ninja >/dev/null; then
    local probe
    probe=$(mktemp -d)
    cat >"$probe/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(probe LANGUAGES CXX)
foreach(package Eigen3 GTest benchmark CLI11 nlohmann_json fmt tl-expected)
  find_package(${package} QUIET CONFIG)
  if(NOT ${package}_FOUND)
    file(APPEND "${CMAKE_BINARY_DIR}/missing" "${package}\n")
  endif()
endforeach()
CMAKE
    if ! cmake -G Ninja -S "$probe" -B "$probe/build" >"$probe/log" 2>&1; then
      cat "$probe/log" >&2
      echo "a CMake (3.25 or newer) and a C++ compiler that work together"
    elif [[ -e $probe/build/missing ]]; then
      cat "$probe/build/missing"
    fi
    rm -rf "$probe"
  fi
}

if is_debian_12; then
  mapfile -t missing < <(missing_debian_packages)
  if ((${#missing[@]})); then
    install_debian_packages "${missing[@]}"
  fi
else
  mapfile -t missing < <(missing_elsewhere)
  if ((${#missing[@]})); then
    echo "setup: only Debian 12 is set up by this script; missing here:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
  fi
fi
