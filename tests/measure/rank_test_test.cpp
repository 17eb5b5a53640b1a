// SPDX-License-Identifier: Apache-2.0
#include "millet/measure/rank_test.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace millet {
namespace {

using testing::ElementsAre;

TEST(MidRanks, TiesShareTheMeanOfTheirRanks) {
  EXPECT_THAT(mid_ranks(std::array{30.0, 10.0, 20.0}), ElementsAre(2, 0, 1));
  EXPECT_THAT(mid_ranks(std::array{5.0, 1.0, 5.0, 5.0, 9.0}), ElementsAre(2, 0, 2, 2, 4));
  EXPECT_THAT(mid_ranks(std::array<double, 0>{}), ElementsAre());
}

TEST(MannWhitney, SmallSamplesByHand) {
  // Of the C(5, 2) = 10 choices of two ranks, 3 + 4 is the largest sum; 2 + 4 is reached or passed by two.
  EXPECT_NEAR(mann_whitney(std::array{8.0, 9.0}, std::array{1.0, 2.0, 3.0}).x_greater, 0.1, 1e-15);
  EXPECT_NEAR(mann_whitney(std::array{8.0, 9.0}, std::array{1.0, 2.0, 3.0}).x_less, 1.0, 1e-15);
  EXPECT_NEAR(mann_whitney(std::array{7.0, 9.0}, std::array{1.0, 2.0, 8.0}).x_greater, 0.2, 1e-15);
  EXPECT_NEAR(mann_whitney(std::array{1.0, 2.0, 3.0}, std::array{8.0, 9.0}).x_less, 0.1, 1e-15);
}

TEST(MannWhitney, TiesByHand) {
  // Values 1 2 2 3 with x = {2, 3}: mid-ranks 0 1.5 1.5 3, found 4.5. Sums of two: 1.5 1.5 3 3 4.5 4.5.
  const MannWhitney test = mann_whitney(std::array{2.0, 3.0}, std::array{1.0, 2.0});
  EXPECT_NEAR(test.x_greater, 2.0 / 6, 1e-15);
  EXPECT_NEAR(test.x_less, 1.0, 1e-15);
  const MannWhitney equal = mann_whitney(std::array{2.0, 2.0}, std::array{2.0, 2.0, 2.0});
  EXPECT_EQ(equal.x_greater, 1.0);
  EXPECT_EQ(equal.x_less, 1.0);
}

TEST(MannWhitney, NothingToCompareIsNoEvidence) {
  EXPECT_EQ(mann_whitney({}, std::array{1.0}).x_greater, 1.0);
  EXPECT_EQ(mann_whitney(std::array{1.0}, {}).x_less, 1.0);
}

/// The probability by going through every choice, independent of the sums that the test counts.
double by_enumeration(const std::vector<double>& x, const std::vector<double>& y) {
  std::vector<double> pooled = x;
  pooled.insert(pooled.end(), y.begin(), y.end());
  const auto wins = [&](const std::vector<bool>& of_x) {
    double u = 0;
    for (std::size_t i = 0; i < pooled.size(); ++i) {
      for (std::size_t j = 0; j < pooled.size(); ++j) {
        if (of_x[i] && !of_x[j]) u += pooled[i] > pooled[j] ? 1.0 : pooled[i] == pooled[j] ? 0.5 : 0.0;
      }
    }
    return u;
  };
  std::vector<bool> chosen(pooled.size(), false);
  std::fill_n(chosen.begin(), x.size(), true);
  const double found = wins(chosen);
  std::sort(chosen.begin(), chosen.end());
  int all = 0;
  int at_least = 0;
  do {
    ++all;
    if (wins(chosen) >= found) ++at_least;
  } while (std::next_permutation(chosen.begin(), chosen.end()));
  return static_cast<double>(at_least) / all;
}

TEST(MannWhitney, IsTheShareOfAllChoices) {
  std::mt19937_64 random(3);
  for (int trial = 0; trial < 60; ++trial) {
    std::vector<double> x(1 + random() % 6);
    std::vector<double> y(1 + random() % 6);
    for (double& value : x) value = static_cast<double>(random() % 5 + trial % 3);  // many ties
    for (double& value : y) value = static_cast<double>(random() % 5);
    EXPECT_NEAR(mann_whitney(x, y).x_greater, by_enumeration(x, y), 1e-12);
  }
}

TEST(MannWhitney, LeastProbabilityIsThatOfSeparation) {
  for (const auto& [x, y] : {std::pair{1, 1}, std::pair{3, 5}, std::pair{5, 3}, std::pair{10, 10}}) {
    std::vector<double> low(static_cast<std::size_t>(x));
    std::vector<double> high(static_cast<std::size_t>(y));
    std::iota(low.begin(), low.end(), 0.0);
    std::iota(high.begin(), high.end(), 100.0);
    const double least = least_mann_whitney(low.size(), high.size());
    EXPECT_NEAR(mann_whitney(low, high).x_less / least, 1.0, 1e-12);
  }
  EXPECT_NEAR(least_mann_whitney(10, 10), 1.0 / 184756, 1e-18);
}

std::vector<double> autoregressive(double correlation, std::size_t n, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<> normal;
  std::vector<double> series;
  double state = normal(random);
  for (std::size_t i = 0; i < n; ++i) {
    state = correlation * state + std::sqrt(1 - correlation * correlation) * normal(random);
    series.push_back(state);
  }
  return series;
}

TEST(AutocorrelationTime, IsThatOfTheSeries) {
  EXPECT_NEAR(autocorrelation_time(autoregressive(0.0, 2000, 1)), 1.0, 0.3);
  // An autoregressive series of correlation r has (1 + r) / (1 - r); its ranks have a little less.
  EXPECT_NEAR(autocorrelation_time(autoregressive(0.5, 2000, 1)), 3.0, 0.8);
  EXPECT_NEAR(autocorrelation_time(autoregressive(0.9, 2000, 1)), 19.0, 6.0);
  // A longer series is thinned, not another thing.
  EXPECT_NEAR(autocorrelation_time(autoregressive(0.99, 20'000, 1)), 199.0, 70.0);
}

TEST(AutocorrelationTime, DriftIsLong) {
  std::vector<double> drift(200);
  std::iota(drift.begin(), drift.end(), 0.0);
  EXPECT_GT(autocorrelation_time(drift), 40.0);
}

TEST(AutocorrelationTime, DoesNotFollowOutliersAndNeverFallsBelowOne) {
  std::vector<double> series = autoregressive(0.0, 400, 5);
  const double calm = autocorrelation_time(series);
  for (std::size_t i = 0; i < series.size(); i += 97) series[i] = 1e9;
  EXPECT_NEAR(autocorrelation_time(series), calm, 0.5);
  std::vector<double> alternating(100);
  for (std::size_t i = 0; i < alternating.size(); ++i) alternating[i] = i % 2 == 0 ? 1 : 2;
  EXPECT_EQ(autocorrelation_time(alternating), 1.0);
  EXPECT_EQ(autocorrelation_time(std::vector<double>(50, 7.0)), 1.0);
  EXPECT_EQ(autocorrelation_time(std::array{3.0}), 1.0);
  EXPECT_EQ(autocorrelation_time({}), 1.0);
}

TEST(BlockMedians, BlocksAreNeighboursOfEvenSize) {
  const std::array samples{1.0, 9.0, 2.0, 4.0, 4.0, 5.0, 8.0};
  EXPECT_THAT(block_medians(samples, 1), ElementsAre(4));
  EXPECT_THAT(block_medians(samples, 3), ElementsAre(5, 3, 5));  // {1 9} {2 4} {4 5 8}
  EXPECT_THAT(block_medians(samples, 7), ElementsAre(1, 9, 2, 4, 4, 5, 8));
}

}  // namespace
}  // namespace millet
