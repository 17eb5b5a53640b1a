// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "millet/device/stream.hpp"

namespace millet {
namespace {

TEST(MedianSeconds, IsTheMiddleOfAtLeastEightRuns) {
  int runs = 0;
  const auto median = median_seconds([&]() -> Expected<double> { return runs++ == 0 ? 100.0 : runs; }, 1.0);
  ASSERT_TRUE(median);
  EXPECT_EQ(runs, 8);       // 100, 2, 3, 4, 5, 6, 7, 8
  EXPECT_EQ(*median, 6.0);  // the upper of the two in the middle
}

TEST(MedianSeconds, RunsUntilTheTimeIsSpent) {
  int runs = 0;
  ASSERT_TRUE(median_seconds([&]() -> Expected<double> { return ++runs, 0.25; }, 5.0));
  EXPECT_EQ(runs, 20);
}

TEST(MedianSeconds, PassesAFailureOn) {
  const auto median = median_seconds([]() -> Expected<double> { return fail(ErrorCode::device_error, "lost"); }, 1.0);
  ASSERT_FALSE(median);
  EXPECT_EQ(median.error().message, "lost");
}

}  // namespace
}  // namespace millet
