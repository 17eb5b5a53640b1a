// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "millet/device/host_ceilings.hpp"
#include "millet/device/host_info.hpp"

namespace millet {
namespace {

using testing::HasSubstr;

class HostCeilings : public testing::TestWithParam<Index> {};

TEST_P(HostCeilings, ArePositiveAndSayWhereTheyComeFrom) {
  const Index threads = GetParam();
  const Ceilings ceilings = measure_host_ceilings(0.05, threads);
  EXPECT_EQ(ceilings.threads, threads);
  EXPECT_THAT(ceilings.source, HasSubstr("measured in this run"));
  EXPECT_THAT(ceilings.source, HasSubstr(std::string(to_string(host_isa())) + " read loop"));
  EXPECT_THAT(ceilings.source, HasSubstr(std::to_string(threads) + " thread(s)"));

  EXPECT_GT(ceilings.read_bytes_per_second, 0.0);
  EXPECT_TRUE(std::isfinite(ceilings.read_bytes_per_second));
  EXPECT_GT(ceilings.fma_flops_per_second, 0.0);
  EXPECT_TRUE(std::isfinite(ceilings.fma_flops_per_second));
  // No thread of a processor reads 10^12 bytes or does 10^12 operations a second (two registers of 64 bytes a clock at
  // 5 GHz are 0.6 and 0.3 of these): a loop that was optimized away would.
  const double impossible = 1e12 * static_cast<double>(threads);
  EXPECT_LT(ceilings.read_bytes_per_second, impossible);
  EXPECT_LT(ceilings.fma_flops_per_second, impossible);

  ASSERT_EQ(ceilings.read_by_level.size(), 3U);
  EXPECT_EQ(ceilings.read_by_level[0].footprint_bytes, threads * (Index{32} << 10));
  EXPECT_EQ(ceilings.read_by_level[1].footprint_bytes, threads * (Index{1} << 20));
  EXPECT_GE(ceilings.read_by_level[2].footprint_bytes, ceilings.read_by_level[1].footprint_bytes);
  for (const ReadRate& level : ceilings.read_by_level) {
    // That a cache reads faster than the memory is not asked: other load on this machine may fall on either of them.
    EXPECT_GT(level.bytes_per_second, 0.0) << level.footprint_bytes;
    EXPECT_LT(level.bytes_per_second, impossible) << level.footprint_bytes;
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, HostCeilings, testing::Values(1, 2));

}  // namespace
}  // namespace millet
