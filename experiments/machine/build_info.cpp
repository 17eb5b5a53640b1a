// SPDX-License-Identifier: Apache-2.0
#include "machine/build_info.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "millet_revision.hpp"  // generated at every build: MILLET_GIT_REVISION, MILLET_GIT_DIRTY

namespace millet {

namespace {

std::string hash_of_program() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  if (!file) return "unknown";
  std::uint64_t hash = 0xcbf29ce484222325U;
  std::vector<char> chunk(1 << 16);
  while (file.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) || file.gcount() > 0) {
    // FNV-1a over 8-byte words: a hash of megabytes must not delay the start.
    const auto bytes = static_cast<std::size_t>(file.gcount());
    std::fill(chunk.begin() + static_cast<std::ptrdiff_t>(bytes), chunk.end(), '\0');
    for (std::size_t i = 0; i < bytes; i += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, chunk.data() + i, 8);
      hash = (hash ^ word) * 0x100000001b3U;
    }
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace

RecordBuild build_info() {
  RecordBuild build;
  build.git = MILLET_GIT_REVISION;
  build.dirty = MILLET_GIT_DIRTY != 0;
  build.compiler = MILLET_COMPILER;
  build.flags = MILLET_FLAGS;
  build.type = MILLET_BUILD_TYPE;
  build.sanitizer = MILLET_SANITIZER;
  build.libraries["fmt"] = fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
  // From CMake: this file is compiled anew for each revision, and their headers take seconds.
  build.libraries["Eigen"] = MILLET_EIGEN_VERSION;
  build.libraries["nlohmann_json"] = MILLET_JSON_VERSION;
  build.libraries["CLI11"] = MILLET_CLI11_VERSION;
  build.libraries["Kokkos"] = MILLET_KOKKOS_VERSION;
  static const std::string program = hash_of_program();
  build.libraries["program"] = program;
  return build;
}

}  // namespace millet
