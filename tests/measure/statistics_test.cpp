// SPDX-License-Identifier: Apache-2.0
#include "millet/measure/statistics.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace millet {
namespace {

TEST(Summarize, OddNumberByHand) {
  // Sorted 1 2 4 7 11: median 4; distances 3 2 0 3 7, sorted 0 2 3 3 7: MAD 3.
  const Statistics s = summarize(std::array{7.0, 1.0, 11.0, 4.0, 2.0});
  EXPECT_EQ(s.n, 5);
  EXPECT_EQ(s.median, 4.0);
  EXPECT_EQ(s.minimum, 1.0);
  EXPECT_EQ(s.mad, 3.0);
  // 1.96 * sqrt(pi / 2) * 1.4826 * 3 / sqrt(5) = 1.96 * 1.2533141 * 1.4826 * 3 / 2.2360680
  EXPECT_NEAR(s.ci95_hi - s.median, 4.886256, 1e-6);
  EXPECT_NEAR(s.median - s.ci95_lo, 4.886256, 1e-6);
  EXPECT_NEAR(s.spread_pct(), 122.156412, 1e-5);
}

TEST(Summarize, EvenNumberTakesTheMiddleOfTwo) {
  // Sorted 1 3 5 100: median 4; distances 3 1 1 96, sorted 1 1 3 96: MAD 2.
  const Statistics s = summarize(std::array{100.0, 1.0, 5.0, 3.0});
  EXPECT_EQ(s.median, 4.0);
  EXPECT_EQ(s.mad, 2.0);
  EXPECT_EQ(s.minimum, 1.0);
}

TEST(Summarize, OneOutlierMovesNeitherMedianNorInterval) {
  const Statistics calm = summarize(std::array{10.0, 11.0, 12.0, 13.0, 14.0});
  const Statistics interrupted = summarize(std::array{10.0, 11.0, 12.0, 13.0, 1e6});
  EXPECT_EQ(interrupted.median, calm.median);
  EXPECT_EQ(interrupted.ci95_hi, calm.ci95_hi);
}

TEST(Summarize, OneSampleHasNoSpread) {
  const Statistics s = summarize(std::array{2.5});
  EXPECT_EQ(s.n, 1);
  EXPECT_EQ(s.median, 2.5);
  EXPECT_EQ(s.minimum, 2.5);
  EXPECT_EQ(s.mad, 0.0);
  EXPECT_EQ(s.ci95_lo, 2.5);
  EXPECT_EQ(s.ci95_hi, 2.5);
}

TEST(Summarize, NoSampleIsAllZero) {
  const Statistics s = summarize({});
  EXPECT_EQ(s.n, 0);
  EXPECT_EQ(s.median, 0.0);
  EXPECT_EQ(s.minimum, 0.0);
  EXPECT_EQ(s.spread_pct(), 0.0);
}

TEST(GeometricMean, ByHand) {
  EXPECT_NEAR(geometric_mean(std::array{1.0, 2.0, 4.0}), 2.0, 1e-15);
  EXPECT_NEAR(geometric_mean(std::array{0.5, 2.0}), 1.0, 1e-15);
  EXPECT_NEAR(geometric_mean(std::array{3.0}), 3.0, 1e-15);
  EXPECT_EQ(geometric_mean({}), 0.0);
}

TEST(GeometricMean, DoesNotOverflow) {
  const std::vector<double> large(1000, 1e300);
  EXPECT_NEAR(geometric_mean(large) / 1e300, 1.0, 1e-10);
}

}  // namespace
}  // namespace millet
