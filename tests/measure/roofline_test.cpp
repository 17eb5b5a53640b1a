// SPDX-License-Identifier: Apache-2.0
#include "millet/measure/roofline.hpp"

#include <gtest/gtest.h>

#include "millet/measure/measurement.hpp"
#include "millet/problem/gemm_problem.hpp"

namespace millet {
namespace {

constexpr Roofline roofline_of(double read, double fma) {
  Roofline roofline;
  roofline.ceilings.read_bytes_per_second = read;
  roofline.ceilings.fma_flops_per_second = fma;
  return roofline;
}

TEST(Roofline, LowerBoundIsTheSlowerRoof) {
  const Roofline roofline = roofline_of(20e9, 100e9);
  const Work streaming{4e9, 2e9};  // 0.2 s of reads, 0.02 s of arithmetic
  EXPECT_DOUBLE_EQ(roofline.lower_bound_seconds(streaming), 0.2);
  EXPECT_TRUE(roofline.memory_bound(streaming));
  const Work dense{1e9, 50e9};  // 0.05 s, 0.5 s
  EXPECT_DOUBLE_EQ(roofline.lower_bound_seconds(dense), 0.5);
  EXPECT_FALSE(roofline.memory_bound(dense));
  EXPECT_DOUBLE_EQ(roofline.memory_seconds(dense), 0.05);
  EXPECT_DOUBLE_EQ(roofline.compute_seconds(dense), 0.5);
}

TEST(Roofline, TheRidgeCountsAsMemory) {
  EXPECT_TRUE(roofline_of(10, 100).memory_bound(Work{1, 10}));
  EXPECT_FALSE(roofline_of(10, 100).memory_bound(Work{1, 10.5}));
}

TEST(Roofline, ADecodeCallByHand) {
  // qkv at M=1: B 2304 * 6144 * 33 / 32 = 14598144, A 6144 * 33 / 32 = 6336, C 2304 * 2 = 4608 bytes.
  const auto problem = make_gemm_problem(1, 2304, 6144);
  ASSERT_TRUE(problem);
  const Work work{problem->bytes(), problem->flops()};
  EXPECT_EQ(work.bytes, 14609088.0);
  EXPECT_EQ(work.flops, 28311552.0);
  // 14.609088 MB at 8 TB/s, as a vendor's data sheet has it
  EXPECT_NEAR(roofline_of(8e12, 5e15).lower_bound_seconds(work) * 1e6, 1.826136, 1e-6);
}

TEST(Work, IntensityNeedsBytes) {
  EXPECT_DOUBLE_EQ((Work{4, 10}).intensity(), 2.5);
  EXPECT_EQ((Work{0, 10}).intensity(), 0.0);
}

TEST(CopiesForCold, PassTwiceTheCacheWithOneToSpare) {
  EXPECT_EQ(copies_for_cold(100, 50), 5);   // 200 / 50 = 4 fill it twice, one more
  EXPECT_EQ(copies_for_cold(100, 49), 6);   // 200 / 49 rounds up to 5
  EXPECT_EQ(copies_for_cold(100, 201), 2);  // one copy alone passes it, yet would follow itself
  EXPECT_EQ(copies_for_cold(0, 10), 1);
  for (const Index bytes : {1, 7, 64, 1000, 4096, 100000}) {
    // Between two uses of a copy all the others are read: they alone must pass twice the cache.
    EXPECT_GE((copies_for_cold(4096, bytes) - 1) * bytes, 2 * 4096) << bytes;
  }
}

TEST(Measurement, AFallOfMoreThanATenthIsThrottling) {
  Measurement m;
  m.clock_before_ghz = 4.0;
  m.clock_after_ghz = 3.7;
  EXPECT_FALSE(m.throttled());
  m.clock_after_ghz = 3.5;
  EXPECT_TRUE(m.throttled());
  EXPECT_FALSE(Measurement{}.throttled());
}

}  // namespace
}  // namespace millet
