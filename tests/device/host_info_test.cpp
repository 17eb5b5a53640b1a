// SPDX-License-Identifier: Apache-2.0
#include "millet/device/host_info.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "millet/device/floating_point_mode.hpp"
#include "millet/host_device.hpp"
#include "numeric/floating_point_mode.hpp"

namespace millet {
namespace {

using testing::HasSubstr;

/// The flags that Linux lists for the first processor, or nothing.
std::vector<std::string> processor_flags() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

TEST(HostIsa, IsTheWidestThatTheSystemLists) {
#if MILLET_X86_TIERS
  const std::vector<std::string> flags = processor_flags();
  ASSERT_FALSE(flags.empty()) << "/proc/cpuinfo lists no flags";
  const auto has = [&](std::initializer_list<std::string_view> wanted) {
    return std::all_of(wanted.begin(), wanted.end(), [&](std::string_view flag) {
      return std::find(flags.begin(), flags.end(), flag) != flags.end();
    });
  };
  const HostIsa wanted = has({"avx512f", "avx512bw", "avx512dq", "avx512vl"}) ? HostIsa::avx512
                         : has({"avx2", "fma"})                               ? HostIsa::avx2
                                                                              : HostIsa::baseline;
  EXPECT_EQ(to_string(host_isa()), to_string(wanted));
#else
  EXPECT_EQ(host_isa(), HostIsa::baseline);
#endif
}

TEST(HostIsa, HasNames) {
  EXPECT_EQ(to_string(HostIsa::baseline), "baseline");
  EXPECT_EQ(to_string(HostIsa::avx2), "avx2");
  EXPECT_EQ(to_string(HostIsa::avx512), "avx512");
}

TEST(HostDeviceInfo, DescribesThisMachine) {
  const DeviceInfo info = host_device_info(3, "a runtime 1.2");
  EXPECT_EQ(info.compute_units, 3);
  EXPECT_EQ(info.runtime, "a runtime 1.2");
  // /proc/meminfo is another way to ask for the memory: all pages but a few that the kernel keeps.
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  Index kibibytes = 0;
  ASSERT_TRUE(meminfo >> key >> kibibytes) << "no /proc/meminfo";
  ASSERT_EQ(key, "MemTotal:");
  EXPECT_EQ(info.memory_bytes, kibibytes * 1024);
  // No last-level cache known is 0; a known one is larger than a first-level cache and smaller than the memory.
  if (info.last_level_cache_bytes != 0) {
    EXPECT_GE(info.last_level_cache_bytes, Index{128} << 10);
    EXPECT_LT(info.last_level_cache_bytes, info.memory_bytes);
  }
}

TEST(HostDeviceInfo, ArchitectureIsTheFamilyWithTheLevelThatKernelsUse) {
  const std::string architecture = host_device_info(1, "").architecture;
  const std::string family = MILLET_HOST_ARCHITECTURE;
  switch (host_isa()) {
    case HostIsa::avx512:
      EXPECT_EQ(architecture, family + "-v4");
      break;
    case HostIsa::avx2:
      EXPECT_EQ(architecture, family + "-v3");
      break;
    case HostIsa::baseline:
      EXPECT_EQ(architecture, family);
      break;
  }
}

TEST(HostDeviceInfo, NamesTheProcessorAsLinuxDoes) {
  std::ifstream cpuinfo("/proc/cpuinfo");
  const std::string text(std::istreambuf_iterator<char>(cpuinfo), {});
  const std::string name = host_device_info(1, "").name;
  if (text.find("model name") == std::string::npos) {
    EXPECT_EQ(name, "");
  } else {
    EXPECT_THAT(text, HasSubstr(": " + name + "\n"));
    EXPECT_NE(name, "");
  }
}

TEST(Subnormals, AreHonouredUnlessTheProcessorFlushesThem) {
  EXPECT_TRUE(subnormals_are_honoured());
  if (!can_set_floating_point_mode) GTEST_SKIP() << "this processor's modes are not ours to set";
  for (const FloatingPointMode& mode : hostile_modes) {
    bool honoured = true;
    in_mode(mode, [&] { honoured = subnormals_are_honoured(); });
    EXPECT_FALSE(honoured) << mode.name;
    EXPECT_TRUE(subnormals_are_honoured()) << "after " << mode.name;
  }
}

#if defined(__x86_64__)
TEST(Subnormals, EachOfTheTwoModesAloneIsSeen) {
  const unsigned saved = _mm_getcsr();
  for (const unsigned flush : {0x8000U, 0x0040U}) {  // results to zero; operands to zero
    _mm_setcsr(saved | flush);
    const bool honoured = subnormals_are_honoured();
    _mm_setcsr(saved);
    EXPECT_FALSE(honoured) << flush;
  }
  EXPECT_TRUE(subnormals_are_honoured());
}
#endif

// Out of line, as the class asks for.
[[gnu::noinline]] void expect_subnormals_to_be_honoured(const char* in_mode_name) {
  EXPECT_TRUE(subnormals_are_honoured()) << in_mode_name;
}

TEST(DefaultFloatingPointMode, HoldsInsideAndTheCallersAfterwards) {
  if (!can_set_floating_point_mode) GTEST_SKIP() << "this processor's modes are not ours to set";
  for (const FloatingPointMode& mode : hostile_modes) {
    bool honoured_afterwards = true;
    in_mode(mode, [&] {
      {
        const DefaultFloatingPointMode guard;
        expect_subnormals_to_be_honoured(mode.name);
      }
      honoured_afterwards = subnormals_are_honoured();
    });
    EXPECT_FALSE(honoured_afterwards) << mode.name;
  }
}

TEST(HugePages, ARangeThatHoldsNoneIsNotAdvised) {
  constexpr Index page = Index{2} << 20;
  void* const memory = mmap(nullptr, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const auto start = reinterpret_cast<std::uintptr_t>(memory);
  char* const aligned = reinterpret_cast<char*>((start + page - 1) / page * page);
  EXPECT_FALSE(advise_huge_pages(aligned, 0));
  EXPECT_FALSE(advise_huge_pages(aligned, page - 1));
  EXPECT_FALSE(advise_huge_pages(aligned + 1, page));            // begins too late for its first page
  EXPECT_FALSE(advise_huge_pages(aligned + 4096, page - 4096));  // the same, ending with the page
  // Whether the system grants the request is its own business, but it must see one whole page at least, and not lose
  // what stands there.
  aligned[page - 1] = 42;
  const bool granted = advise_huge_pages(aligned, page);
  std::ifstream transparent("/sys/kernel/mm/transparent_hugepage/enabled");
  EXPECT_EQ(granted, transparent.good()) << "the kernel " << (transparent.good() ? "has" : "lacks") << " huge pages";
  EXPECT_EQ(aligned[page - 1], 42);
  EXPECT_EQ(munmap(memory, 3 * page), 0);
}

}  // namespace
}  // namespace millet
