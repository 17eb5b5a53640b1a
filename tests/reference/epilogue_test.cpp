// SPDX-License-Identifier: Apache-2.0
#include "millet/reference/epilogue.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "millet/reference/error_bound.hpp"

namespace millet::reference {
namespace {

/// Sums [rows, n] with y of the given values and S twice as large.
Product sums(Index rows, const std::vector<double>& y) {
  Product product;
  product.rows = rows;
  product.n = static_cast<Index>(y.size()) / rows;
  product.k = 64;
  product.y = y;
  for (const double value : y) product.magnitude.push_back(2 * std::abs(value));
  product.written.assign(static_cast<std::size_t>(rows), true);
  return product;
}

double silu(double x) { return x / (1 + std::exp(-x)); }

TEST(SwigluOf, IsHandComputed) {
  const Product c = swiglu_of(sums(2, {1.0, 3.0, -2.0, 0.5, 0.0, 4.0, 30.0, -1.0}), Swiglu{}, {});
  EXPECT_EQ(c.rows, 2);
  EXPECT_EQ(c.n, 2);
  EXPECT_DOUBLE_EQ(c.y[0], silu(1) * 3);
  EXPECT_DOUBLE_EQ(c.y[1], silu(-2) * 0.5);
  EXPECT_EQ(c.y[2], 0.0);
  EXPECT_DOUBLE_EQ(c.y[3], -30.0 / (1 + std::exp(-30.0)));
}

TEST(SwigluOf, HoldsGateAndUpWithinTheirLimits) {
  const Product c = swiglu_of(sums(1, {9.0, 8.0, -9.0, -8.0, 2.0, -1.0}), swiglu_oai, {});
  const double alpha = static_cast<double>(1.702F);
  EXPECT_DOUBLE_EQ(c.y[0], 7 / (1 + std::exp(-alpha * 7)) * 8);   // both held from above
  EXPECT_DOUBLE_EQ(c.y[1], -9 / (1 + std::exp(alpha * 9)) * -6);  // the gate not from below
  EXPECT_EQ(c.y[2], 0.0);
}

TEST(SwigluOf, WeightsTheResult) {
  const std::vector<float> weights{0.5F, -2.0F};
  const Product plain = swiglu_of(sums(2, {1.0, 3.0, 1.0, 3.0}), Swiglu{}, {});
  const Product weighted = swiglu_of(sums(2, {1.0, 3.0, 1.0, 3.0}), Swiglu{}, weights);
  for (std::size_t row = 0; row < 2; ++row) {
    const auto weight = static_cast<double>(weights[row]);
    EXPECT_EQ(weighted.y[row], plain.y[row] * weight);
    EXPECT_EQ(weighted.magnitude[row], plain.magnitude[row] * std::abs(weight));
    EXPECT_EQ(weighted.second_order[row], plain.second_order[row] * std::abs(weight));
    EXPECT_EQ(weighted.evaluation[row], plain.evaluation[row] * std::abs(weight));
  }
}

TEST(SwigluOf, KeepsNanAndUnwrittenRows) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Product s = sums(3, {nan, 1.0, 1.0, nan, 1.0, 1.0});
  s.written[2] = false;
  const Product c = swiglu_of(s, swiglu_oai, {});
  EXPECT_TRUE(std::isnan(c.y[0]));
  EXPECT_TRUE(std::isnan(c.y[1]));
  EXPECT_EQ(c.written, (std::vector<bool>{true, true, false}));
}

TEST(SwigluOf, SaysNothingWhereASumMayOverflow) {
  const Product c = swiglu_of(sums(1, {1e38, 1.0, 1.0, 2e38, 1.0, 1.0}), Swiglu{}, {});
  EXPECT_EQ(c.evaluation[0], std::numeric_limits<double>::infinity());
  EXPECT_EQ(c.evaluation[1], std::numeric_limits<double>::infinity());
  EXPECT_LT(c.evaluation[2], 1e-5);
  const ErrorBound gate{f32_accumulator, OutputType::f32};
  const float right = static_cast<float>(silu(1));
  EXPECT_TRUE(compare(std::vector{std::numeric_limits<float>::infinity(), NAN, right}, c, gate).correct);
  EXPECT_FALSE(compare(std::vector{std::numeric_limits<float>::infinity(), NAN, right * 1.001F}, c, gate).correct);
}

// Sums that are off by as much as their bound allows, in the worst directions, and f32's own roundings stay within what
// is passed on; and it is no more than a few times too wide where the sums' errors dominate.
TEST(SwigluOf, PassesOnTheErrorsOfTheSums) {
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  const ErrorBound gate{{0x1p-13, 32}, OutputType::f32};
  const ErrorBound bare{{0x1p-13, 32}, OutputType::f32};
  for (const Swiglu& s : {Swiglu{}, swiglu_oai, Swiglu{-2.0F, 3.0F, 0.5F}}) {
    double sharpest = 0;
    for (int trial = 0; trial < 20000; ++trial) {
      const double spread = std::ldexp(1.0, static_cast<int>(random() % 12) - 5);
      const Product exact = sums(1, {spread * normal(random), spread * normal(random)});
      const Product c = swiglu_of(exact, s, {});
      const double tolerance = gate(c.y[0], c.magnitude[0], 64, c.second_order[0], c.evaluation[0]);
      for (const double sign_gate : {-1.0, 1.0}) {
        for (const double sign_up : {-1.0, 1.0}) {
          const auto off = [&](std::size_t i, double sign) {
            // The bound of the sum alone, without what a store would add.
            const double allowed = bare(0.0, exact.magnitude[i], 64) / (1 + 0x1p-24);
            return static_cast<float>(exact.y[i] + sign * 0.999 * allowed);
          };
          const float y = swiglu(s, off(0, sign_gate), off(1, sign_up), [](float x) { return std::exp2(x); });
          const double ratio = std::abs(static_cast<double>(y) - c.y[0]) / tolerance;
          EXPECT_LE(ratio, 1.0) << exact.y[0] << ' ' << exact.y[1];
          sharpest = std::max(sharpest, ratio);
        }
      }
    }
    EXPECT_GT(sharpest, 0.8);
  }
}

// The roundings of the evaluation alone: exact sums, arguments up to where the exponential over- and underflows.
TEST(SwigluOf, AllowsForItsOwnRoundings) {
  std::mt19937_64 random(6);
  std::uniform_real_distribution<double> wide(-200, 200);
  for (const Swiglu& s : {Swiglu{}, swiglu_oai, Swiglu{1.0F, 100.0F, 0.0F}}) {
    for (int trial = 0; trial < 20000; ++trial) {
      const auto g = static_cast<float>(wide(random));
      const auto u = static_cast<float>(wide(random));
      Product exact = sums(1, {static_cast<double>(g), static_cast<double>(u)});
      exact.magnitude = {0.0, 0.0};
      const Product c = swiglu_of(exact, s, {});
      const float y = swiglu(s, g, u, [](float x) { return std::exp2(x); });
      const double off = std::abs(static_cast<double>(y) - c.y[0]);
      EXPECT_LE(off, ErrorBound({f32_accumulator, OutputType::f32})(c.y[0], c.magnitude[0], 64, 0, c.evaluation[0]))
          << g << ' ' << u;
    }
  }
}

TEST(Swiglu, NanPassesEveryLimit) {
  const auto exp2 = [](float x) { return std::exp2(x); };
  for (const Swiglu& s : {Swiglu{}, swiglu_oai}) {
    EXPECT_TRUE(std::isnan(swiglu(s, NAN, 1.0F, exp2)));
    EXPECT_TRUE(std::isnan(swiglu(s, 1.0F, NAN, exp2)));
  }
  // The gate's own factor is worked out before the other: far below zero it is zero, whatever the other.
  EXPECT_EQ(swiglu(Swiglu{}, -1e30F, 1e30F, exp2), 0.0F);
}

TEST(TopkSumOf, AddsWhatIsWritten) {
  Product s = sums(6, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  s.written[1] = false;
  s.written[4] = s.written[5] = s.written[3] = false;
  const Product c = topk_sum_of(s, 3);
  EXPECT_EQ(c.rows, 2);
  EXPECT_EQ(c.n, 2);
  EXPECT_EQ(c.y, (std::vector<double>{6, 8, 0, 0}));
  EXPECT_EQ(c.magnitude, (std::vector<double>{12, 16, 0, 0}));
  EXPECT_EQ(c.evaluation, (std::vector<double>{36 * 0x1p-24, 48 * 0x1p-24, 0, 0}));
  EXPECT_EQ(c.written, (std::vector<bool>{true, true}));
}

}  // namespace
}  // namespace millet::reference
