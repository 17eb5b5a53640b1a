#!/usr/bin/env bash
# Installs what is missing to build millet (Debian 12), or says what is missing (elsewhere). Does nothing on a second run.
#
# usage: scripts/setup.sh [--with-tests] [--with-long-tests]
#   --with-tests        also what scripts/check.sh needs: clang (fuzz targets), clang-format, clang and HIP for gfx950,
#                       Boost.Context, MPI, SIMDe, Python
#   --with-long-tests   what scripts/check.sh --long needs besides: a browser with fonts
set -euo pipefail

usage="usage: scripts/setup.sh [--with-tests] [--with-long-tests]"
packages=(g++ cmake ninja-build git libeigen3-dev libgtest-dev libgmock-dev libbenchmark-dev libtrilinos-kokkos-dev
          libcli11-dev nlohmann-json3-dev libfmt-dev libexpected-dev
          libopenblas-openmp-dev libdnnl-dev)  # the last two are baselines, which CMake does without where they are missing
tools=(cmake ninja git)
with_tests=false
for argument in "$@"; do
  case $argument in
    --with-tests)
      with_tests=true
      packages+=(clang-14 libclang-rt-14-dev clang-format-14
                 clang-22 clang-tools-22 libclang-rt-22-dev lld-22 llvm-22 libamdhip64-dev libboost-context-dev
                 libopenmpi-dev openmpi-bin libsimde-dev python3)
      tools+=(clang-14 clang-format-14)
      ;;
    --with-long-tests)
      packages+=(chromium fonts-dejavu-core)
      tools+=(chromium)
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

# Whether some clang++ here compiles and links device code for gfx950.
compiles_for_gfx950() {
  local compiler
  for compiler in ${MILLET_GFX950_CXX:-amdclang++ /opt/rocm/bin/amdclang++ clang++-22 clang++ clang++-23 clang++-21}; do
    if "$compiler" -x hip --offload-arch=gfx950 --cuda-device-only --no-gpu-bundle-output -nogpulib -c -o /dev/null - \
        >/dev/null 2>&1 <<<'__attribute__((global)) void kernel() {}'; then
      return 0
    fi
  done
  return 1
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
if(WITH_TESTS)
  find_library(hip amdhip64 PATHS "$ENV{ROCM_PATH}/lib" /opt/rocm/lib)
  find_path(hip_include hip/hip_runtime_api.h PATHS "$ENV{ROCM_PATH}/include" /opt/rocm/include)
  if(NOT hip OR NOT hip_include)
    file(APPEND "${CMAKE_BINARY_DIR}/missing" "HIP: libamdhip64 with hip/hip_runtime_api.h\n")
  endif()
  find_package(Boost QUIET COMPONENTS context)
  if(NOT Boost_FOUND)
    file(APPEND "${CMAKE_BINARY_DIR}/missing" "Boost.Context\n")
  endif()
endif()
CMAKE
    if ! cmake -G Ninja -S "$probe" -B "$probe/build" -DWITH_TESTS=$with_tests >"$probe/log" 2>&1; then
      cat "$probe/log" >&2
      echo "a CMake (3.25 or newer) and a C++ compiler that work together"
    elif [[ -e $probe/build/missing ]]; then
      cat "$probe/build/missing"
    fi
    rm -rf "$probe"
  fi
  if $with_tests && ! compiles_for_gfx950; then
    echo "clang++ and lld for gfx950 (clang 21 or newer, with llvm-objdump and llvm-readelf)"
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
