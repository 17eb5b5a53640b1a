// SPDX-License-Identifier: Apache-2.0
#include "millet/device/host_info.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <limits>

#include "millet/device/floating_point_mode.hpp"
#include "millet/host_device.hpp"

namespace millet {

namespace {

HostIsa detect_host_isa() noexcept {
#if MILLET_X86_TIERS
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return HostIsa::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return HostIsa::avx2;
#endif
  return HostIsa::baseline;
}

std::string cpu_model() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const auto colon = line.find(':');
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(std::min(colon + 2, line.size()));
    }
  }
  return "";
}

// The largest cache that the kernel lists for CPU 0.
Index last_level_cache_bytes() {
  Index largest = 0;
  for (int index = 0; index < 8; ++index) {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/size");
    Index size = 0;
    char unit = 0;
    if (!(file >> size)) continue;
    file >> unit;
    if (unit == 'K') size *= 1024;
    if (unit == 'M') size *= 1024 * 1024;
    largest = std::max(largest, size);
  }
  return largest;
}

std::string architecture_name() {
  switch (host_isa()) {
    case HostIsa::avx512:
      return MILLET_HOST_ARCHITECTURE "-v4";
    case HostIsa::avx2:
      return MILLET_HOST_ARCHITECTURE "-v3";
    case HostIsa::baseline:
      break;
  }
  return MILLET_HOST_ARCHITECTURE;
}

}  // namespace

HostIsa host_isa() noexcept {
  static const HostIsa isa = detect_host_isa();
  return isa;
}

DeviceInfo host_device_info(Index threads, std::string runtime) {
  DeviceInfo info;
  info.name = cpu_model();
  info.architecture = architecture_name();
  info.compute_units = threads;
  info.last_level_cache_bytes = last_level_cache_bytes();
  info.memory_bytes = static_cast<Index>(sysconf(_SC_PHYS_PAGES)) * static_cast<Index>(sysconf(_SC_PAGE_SIZE));
  info.runtime = std::move(runtime);
  return info;
}

bool advise_huge_pages(void* data, Index bytes) noexcept {
#if defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t page = 2 * 1024 * 1024;
  const auto begin = (reinterpret_cast<std::uintptr_t>(data) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + static_cast<std::uintptr_t>(bytes)) / page * page;
  return end > begin && madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE) == 0;
#else
  static_cast<void>(data), static_cast<void>(bytes);
  return false;
#endif
}

bool subnormals_are_honoured() noexcept {
  volatile float smallest_normal = std::numeric_limits<float>::min();
  volatile float half = smallest_normal * 0.5F;  // flush-to-zero would make this 0
  volatile float doubled = half * 2.0F;          // denormals-are-zero would make this 0
  return half != 0.0F && doubled == smallest_normal;
}

namespace {

// Out of line, so that the mode set around the call holds for it.
[[gnu::noinline]] double seconds_of_products(const volatile float* operand) noexcept {
  volatile float factor = 0x1p60F;
  const auto start = std::chrono::steady_clock::now();
  float sum = 0.0F;
  for (int i = 0; i < 512; ++i) sum += *operand * factor;
  volatile float sink = sum;
  static_cast<void>(sink);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

bool measure_subnormals() noexcept {
  const DefaultFloatingPointMode mode;
  volatile float normal = 1.0F;
  volatile float subnormal = 0x1p-130F;
  double normal_seconds = seconds_of_products(&normal);
  double subnormal_seconds = seconds_of_products(&subnormal);
  for (int repeat = 0; repeat < 8; ++repeat) {
    normal_seconds = std::min(normal_seconds, seconds_of_products(&normal));
    subnormal_seconds = std::min(subnormal_seconds, seconds_of_products(&subnormal));
  }
  // A few cycles against an assist of over 100: 4 times is between them, with room for noise.
  return subnormal_seconds < 4 * normal_seconds;
}

}  // namespace

bool subnormals_are_fast() noexcept {
  static const bool fast = measure_subnormals();
  return fast;
}

}  // namespace millet
