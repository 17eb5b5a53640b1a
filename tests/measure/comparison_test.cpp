// SPDX-License-Identifier: Apache-2.0
#include "millet/measure/comparison.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <random>

namespace millet {
namespace {

TEST(Holm, ByHand) {
  // Sorted 0.01 0.02 0.03 0.04, times 4 3 2 1: 0.04 0.06 0.06 0.04, which may not fall.
  EXPECT_THAT(holm_adjusted(std::array{0.03, 0.01, 0.04, 0.02}),
              testing::Pointwise(testing::DoubleNear(1e-15), {0.06, 0.04, 0.06, 0.06}));
  EXPECT_THAT(holm_adjusted(std::array{0.9, 0.8}), testing::ElementsAre(1.0, 1.0));
  EXPECT_TRUE(holm_adjusted({}).empty());
}

using Random = std::mt19937_64;
using Series = std::vector<double>;
/// Makes the times of one run of one case.
using Model = std::function<Series(Random&, std::size_t n)>;

/// Times around 1 with a disturbance of relative size `noise` for each unit that `next` returns.
template <class Next>
Series times(std::size_t n, double noise, Next next) {
  Series series;
  for (std::size_t i = 0; i < n; ++i) series.push_back(std::exp(noise * next(i)));
  return series;
}

Model independent(double noise) {
  return [=](Random& random, std::size_t n) {
    std::normal_distribution<> normal;
    return times(n, noise, [&](std::size_t) { return normal(random); });
  };
}
Model autoregressive(double noise, double correlation) {
  return [=](Random& random, std::size_t n) {
    std::normal_distribution<> normal;
    double state = normal(random);
    return times(n, noise, [&](std::size_t) {
      return state = correlation * state + std::sqrt(1 - correlation * correlation) * normal(random);
    });
  };
}
/// A trend over the run, another one each time, as of a machine that warms up or down.
Model drifting(double noise) {
  return [=](Random& random, std::size_t n) {
    std::normal_distribution<> normal;
    const double slope = 3 * normal(random);
    return times(n, noise, [&](std::size_t i) {
      return normal(random) + slope * (static_cast<double>(i) / static_cast<double>(n) - 0.5);
    });
  };
}
/// A neighbour that takes the machine for 20 samples now and then.
Model disturbed(double noise) {
  return [=](Random& random, std::size_t n) {
    std::normal_distribution<> normal;
    int left = 0;
    return times(n, noise, [&](std::size_t) {
      if (left == 0 && random() % 50 == 0) left = 20;
      if (left > 0) --left;
      return normal(random) + (left > 0 ? 3 : 0);
    });
  };
}
/// One sample in twenty is an interruption, thirty times the noise away.
Model interrupted(double noise) {
  return [=](Random& random, std::size_t n) {
    std::normal_distribution<> normal;
    return times(n, noise, [&](std::size_t) { return normal(random) + (random() % 20 == 0 ? 30 : 0); });
  };
}

constexpr std::size_t cells = 10;

/// Compares `cells` cases, the new times of the first `slowed` multiplied by `factor`.
std::vector<TimeComparison> compare_cells(const Model& model, Random& random, std::size_t n,
                                          const ComparisonOptions& options, std::size_t slowed, double factor) {
  std::vector<TimeComparison> comparisons;
  for (std::size_t cell = 0; cell < cells; ++cell) {
    const Series before = model(random, n);
    Series after = model(random, n);
    if (cell < slowed) {
      for (double& time : after) time *= factor;
    }
    comparisons.push_back(compare_times(before, after, options));
  }
  judge(comparisons, options);
  return comparisons;
}

bool flagged(const TimeComparison& c) { return c.change == Change::slower || c.change == Change::faster; }

/// How many of `runs` comparisons of two runs of one build flag any of their cells.
int false_alarms(const Model& model, int runs, std::size_t n, const ComparisonOptions& options) {
  Random random(11);
  int alarms = 0;
  for (int run = 0; run < runs; ++run) {
    const auto comparisons = compare_cells(model, random, n, options, 0, 1);
    alarms += std::any_of(comparisons.begin(), comparisons.end(), flagged) ? 1 : 0;
  }
  return alarms;
}

/// The number that a binomial count of `trials` with probability `p` passes once in a thousand times.
int binomial_bound(int trials, double p) {
  double probability = std::pow(1 - p, trials);
  double below = 0;
  int count = 0;
  for (; below + probability < 0.999; ++count) {
    below += probability;
    probability *= p / (1 - p) * (trials - count) / (count + 1);
  }
  return count;
}

TEST(FalseAlarms, BinomialBoundByHand) {
  // Two coins: no head 1/4, at most one 3/4, at most two 1.
  EXPECT_EQ(binomial_bound(2, 0.5), 2);
  EXPECT_EQ(binomial_bound(1, 0.0005), 0);
}

TEST(FalseAlarms, IndependentSamplesKeepTheRateWithoutAnyLeastEffect) {
  // The rank test alone; 800 comparisons of 10 cells at 5 %: 40 expected at most.
  const ComparisonOptions options{.least_effect = 0, .alpha = 0.05};
  for (const std::size_t n : {10U, 40U}) {
    EXPECT_LE(false_alarms(independent(0.05), 800, n, options), binomial_bound(800, options.alpha)) << n;
  }
}

TEST(FalseAlarms, TheTestIsNoTautology) {
  // The rate is used, not only kept: a test that never flags would keep it too.
  const ComparisonOptions options{.least_effect = 0, .alpha = 0.2};
  EXPECT_GT(false_alarms(independent(0.05), 300, 40, options), 10);
}

TEST(FalseAlarms, CorrelatedAndDriftingSamplesKeepItWithTheDefaultEffect) {
  const ComparisonOptions options{};
  const std::pair<const char*, Model> models[] = {{"correlated for 9 samples", autoregressive(0.03, 0.8)},
                                                  {"correlated for 19 samples", autoregressive(0.03, 0.9)},
                                                  {"drifting", drifting(0.03)},
                                                  {"disturbed", disturbed(0.03)},
                                                  {"interrupted", interrupted(0.03)}};
  for (const auto& [name, model] : models) {
    EXPECT_LE(false_alarms(model, 150, 200, options), binomial_bound(150, options.alpha)) << name;
  }
}

TEST(FalseAlarms, BlocksAreWhatKeepsTheRateUnderCorrelation) {
  // With the least effect out of the way, correlated samples may pass the rate a little, but not many times over.
  const ComparisonOptions options{.least_effect = 0, .alpha = 0.05};
  EXPECT_LE(false_alarms(autoregressive(0.05, 0.8), 400, 200, options), binomial_bound(400, 2 * options.alpha));
}

TEST(CompareTimes, ATenPercentSlowdownIsFound) {
  const std::pair<const char*, Model> models[] = {{"independent", independent(0.03)},
                                                  {"correlated for 3 samples", autoregressive(0.03, 0.5)},
                                                  {"interrupted", interrupted(0.03)}};
  for (const auto& [name, model] : models) {
    Random random(5);
    int found = 0;
    int found_faster = 0;
    for (int run = 0; run < 20; ++run) {
      for (const TimeComparison& c : compare_cells(model, random, 100, {}, cells, 1.1)) {
        found += c.change == Change::slower ? 1 : 0;
      }
      for (const TimeComparison& c : compare_cells(model, random, 100, {}, cells, 1 / 1.1)) {
        found_faster += c.change == Change::faster ? 1 : 0;
      }
    }
    EXPECT_GE(found, 190) << name << ", of 200";
    EXPECT_GE(found_faster, 190) << name << ", of 200";
  }
}

TEST(CompareTimes, OneSlowCaseAmongManyIsTheOneThatIsFlagged) {
  Random random(9);
  const auto comparisons = compare_cells(independent(0.02), random, 60, {}, 1, 1.1);
  EXPECT_EQ(comparisons.front().change, Change::slower);
  EXPECT_NEAR(comparisons.front().ratio, 1.1, 0.02);
  EXPECT_LE(comparisons.front().adjusted_p, 0.01);
  for (std::size_t i = 1; i < comparisons.size(); ++i) EXPECT_EQ(comparisons[i].change, Change::same) << i;
}

TEST(CompareTimes, ADifferenceBelowTheLeastEffectIsNoneHoweverPrecise) {
  Random random(9);
  for (const double factor : {1.02, 1 / 1.02}) {
    for (const TimeComparison& c : compare_cells(independent(1e-4), random, 200, {}, cells, factor)) {
      EXPECT_EQ(c.change, Change::same);
    }
  }
  for (const TimeComparison& c : compare_cells(independent(1e-4), random, 200, {}, cells, 1.04)) {
    EXPECT_EQ(c.change, Change::slower);
  }
}

TEST(CompareTimes, TooFewSamplesAreUndecidedNotSame) {
  Random random(9);
  for (const TimeComparison& c : compare_cells(independent(0.01), random, 5, {}, cells, 1.5)) {
    EXPECT_EQ(c.change, Change::undecided);  // 2 / C(10, 5) for 10 cases is 0.08
  }
  for (const TimeComparison& c : compare_cells(independent(0.01), random, 5, {}, cells, 1.0)) {
    EXPECT_EQ(c.change, Change::same);
  }
  EXPECT_EQ(compare_times({}, std::array{1.0}, {}).p, 1.0);
}

TEST(CompareTimes, SamplesThatDriftCountAsFew) {
  Series rising;
  for (int i = 0; i < 200; ++i) rising.push_back(1 + 0.001 * i);
  EXPECT_LE(compare_times(rising, rising, {}).old_blocks, 2U);
  Random random(2);
  const Series calm = independent(0.01)(random, 200);
  EXPECT_EQ(compare_times(calm, calm, {}).new_blocks, 10U);
}

}  // namespace
}  // namespace millet
