// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "accuracy/product_error.hpp"
#include "millet/numeric/bf16.hpp"
#include "operands/generate.hpp"

namespace millet {
namespace {

constexpr Index spread_rows = 64;
constexpr Index spread_cols = 512;

double kurtosis(const std::vector<float>& values) {
  double second = 0;
  double fourth = 0;
  for (const float x : values) {
    second += std::pow(x, 2);
    fourth += std::pow(x, 4);
  }
  return fourth / second * static_cast<double>(values.size()) / second;
}

TEST(SpreadActivations, HaveTheShapesThatTheyAreNamedFor) {
  const auto gaussian = spread_activations(ActivationSpread::gaussian, spread_rows, spread_cols, 1);
  ASSERT_EQ(gaussian.size(), std::size_t{spread_rows * spread_cols});
  const double variance =
      std::inner_product(gaussian.begin(), gaussian.end(), gaussian.begin(), 0.0) / (spread_rows * spread_cols);
  EXPECT_NEAR(variance, 1.0, 0.05);
  EXPECT_NEAR(kurtosis(gaussian), 3.0, 0.2);
  EXPECT_GT(kurtosis(spread_activations(ActivationSpread::heavy_tailed, spread_rows, spread_cols, 1)), 6.0);
}

TEST(SpreadActivations, OutlierChannelsAreTheSameInEveryRow) {
  const auto values = spread_activations(ActivationSpread::outlier_channels, spread_rows, spread_cols, 1);
  std::vector<Index> outliers;
  for (Index channel = 0; channel < spread_cols; ++channel) {
    double squares = 0;
    for (Index row = 0; row < spread_rows; ++row)
      squares += std::pow(values[static_cast<std::size_t>(row * spread_cols + channel)], 2);
    const double deviation = std::sqrt(squares / spread_rows);
    EXPECT_TRUE(deviation < 2 || (deviation > 25 && deviation < 100)) << deviation;
    if (deviation > 25) outliers.push_back(channel / 128);
  }
  EXPECT_THAT(outliers, testing::ElementsAre(0, 1, 2, 3)) << "one in each 128";
}

TEST(SpreadActivations, FollowTheSeed) {
  for (const ActivationSpread spread : activation_spreads) {
    EXPECT_EQ(spread_activations(spread, 2, 64, 5), spread_activations(spread, 2, 64, 5));
    EXPECT_NE(spread_activations(spread, 2, 64, 5), spread_activations(spread, 2, 64, 6));
  }
}

/// Relative distance of two products, written out.
double relative(const std::vector<double>& x, const std::vector<double>& y) {
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    difference += (x[i] - y[i]) * (x[i] - y[i]);
    norm += y[i] * y[i];
  }
  return std::sqrt(difference / norm);
}

template <class A, class B>
std::vector<double> product(Index rows, Index n, Index depth, A a, B b) {
  std::vector<double> c;
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < n; ++j) {
      double sum = 0;
      for (Index l = 0; l < depth; ++l) sum += static_cast<double>(a(i, l)) * static_cast<double>(b(j, l));
      c.push_back(sum);
    }
  }
  return c;
}

TEST(ProductErrors, AreThoseOfProductsWrittenOut) {
  constexpr Index n = 70;  // more than the rows that are taken at once
  constexpr Index depth = 64;
  constexpr Index rows = 3;
  std::vector<float> weights(std::size_t{n * depth});
  NormalStream(4).fill(weights, 0.1F);
  const auto errors = product_errors(weights, n, depth, rows, 9);
  ASSERT_TRUE(errors) << errors.error().message;
  ASSERT_EQ(errors->size(), std::size(activation_spreads));
  for (const SpreadError& error : *errors) {
    const auto x = spread_activations(error.spread, rows, depth, 9);
    const auto a = [&](Index i, Index l) { return x[static_cast<std::size_t>(i * depth + l)]; };
    const auto b = [&](Index j, Index l) { return weights[static_cast<std::size_t>(j * depth + l)]; };
    const auto exact = product(rows, n, depth, a, b);
    const auto bf16 = product(
        rows, n, depth, [&](Index i, Index l) { return BF16::round(a(i, l)).value(); },
        [&](Index j, Index l) { return BF16::round(b(j, l)).value(); });
    EXPECT_NEAR(error.bf16 / relative(bf16, exact), 1, 1e-9);
    EXPECT_LT(error.bf16, 0.01);
    for (std::size_t i = 0; i < std::size(scale_modes); ++i) {
      const auto aq = quantize_mx(x, rows, depth, scale_modes[i]).value();
      const auto bq = quantize_mx(weights, n, depth, scale_modes[i]).value();
      const MxMatrixView<> av = aq.view();
      const MxMatrixView<> bv = bq.view();
      const auto mx = product(rows, n, depth, av, bv);
      EXPECT_NEAR(error.modes[i].against_f32 / relative(mx, exact), 1, 1e-9);
      EXPECT_NEAR(error.modes[i].against_bf16 / relative(mx, bf16), 1, 1e-9);
      EXPECT_NEAR(error.modes[i].weights_alone / relative(product(rows, n, depth, a, bv), exact), 1, 1e-9);
      EXPECT_EQ(error.modes[i].saturated_weights, quantization_error(weights, bv).value().saturated);
      EXPECT_EQ(error.modes[i].saturated_activations, quantization_error(x, av).value().saturated);
      EXPECT_GT(error.modes[i].against_f32, error.bf16);
    }
    // Floor cuts the largest values of a block off; ceil and rceil do not.
    EXPECT_GT(error.modes[0].saturated_weights, 0);
    EXPECT_EQ(error.modes[1].saturated_weights + error.modes[3].saturated_weights, 0);
  }
}

TEST(ProductErrors, WeightsThatMxHoldsExactlyCostNothing) {
  std::vector<float> weights(std::size_t{8 * 32});
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i % 7 + 8) * (i % 3 == 0 ? -1 : 1);
  const auto errors = product_errors(weights, 8, 32, 2, 1);
  ASSERT_TRUE(errors);
  for (const SpreadError& error : *errors) {
    for (const ModeError& mode : error.modes) {
      EXPECT_EQ(mode.weights_alone, 0.0);
      EXPECT_GT(mode.against_f32, 0.0);
    }
  }
}

TEST(ProductErrors, RefusesWhatHasNoError) {
  std::vector<float> weights(64, 1.0F);
  EXPECT_EQ(product_errors(weights, 2, 33, 1, 1).error().code, ErrorCode::invalid_layout);
  EXPECT_EQ(product_errors(weights, 3, 32, 1, 1).error().code, ErrorCode::invalid_layout);
  EXPECT_EQ(product_errors(weights, 2, 32, 0, 1).error().code, ErrorCode::invalid_layout);
  weights[5] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(product_errors(weights, 2, 32, 1, 1).error().code, ErrorCode::unsupported);
  weights.assign(64, 0.0F);
  EXPECT_EQ(product_errors(weights, 2, 32, 1, 1).error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace millet
