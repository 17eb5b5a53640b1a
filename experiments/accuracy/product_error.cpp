// SPDX-License-Identifier: Apache-2.0
#include "accuracy/product_error.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <optional>

#include "millet/numeric/bf16.hpp"

namespace millet {

namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
constexpr std::size_t mode_count = std::size(scale_modes);

/// One f32 matrix in every format that is compared, as f64.
struct Formats {
  Matrix f32;
  Matrix bf16;
  std::array<Matrix, mode_count> mx;
  std::array<Index, mode_count> saturated{};
};

Expected<Formats> formats_of(std::span<const float> x, Index rows, Index cols) {
  Formats formats;
  formats.f32 =
      Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(x.data(), rows, cols)
          .cast<double>();
  formats.bf16 = formats.f32.unaryExpr(
      [](double value) { return static_cast<double>(BF16::round(static_cast<float>(value)).value()); });
  for (std::size_t i = 0; i < mode_count; ++i) {
    const auto quantized = quantize_mx(x, rows, cols, scale_modes[i]);
    if (!quantized) return tl::unexpected(quantized.error());
    const MxMatrixView<> view = quantized->view();
    const auto error = quantization_error(x, view);
    if (!error) return tl::unexpected(error.error());
    formats.saturated[i] = error->saturated;
    formats.mx[i].resize(rows, cols);
    for (Index row = 0; row < rows; ++row) {
      for (Index col = 0; col < cols; ++col) formats.mx[i](row, col) = static_cast<double>(view(row, col));
    }
  }
  return formats;
}

/// Sums of squares from which relative errors follow.
struct Sums {
  double f32 = 0, bf16 = 0;  ///< of the two reference products
  double bf16_difference = 0;
  struct Mode {
    double against_f32 = 0, against_bf16 = 0, weights_alone = 0;
  };
  std::array<Mode, mode_count> modes;
};

void add_rows(Sums& sums, const Formats& b, const Formats& a) {
  const Matrix exact = b.f32 * a.f32.transpose();
  const Matrix bf16 = b.bf16 * a.bf16.transpose();
  sums.f32 += exact.squaredNorm();
  sums.bf16 += bf16.squaredNorm();
  sums.bf16_difference += (bf16 - exact).squaredNorm();
  for (std::size_t i = 0; i < mode_count; ++i) {
    const Matrix mx = b.mx[i] * a.mx[i].transpose();
    sums.modes[i].against_f32 += (mx - exact).squaredNorm();
    sums.modes[i].against_bf16 += (mx - bf16).squaredNorm();
    sums.modes[i].weights_alone += (b.mx[i] * a.f32.transpose() - exact).squaredNorm();
  }
}

}  // namespace

Expected<std::vector<SpreadError>> product_errors(std::span<const float> weights, Index n, Index k, Index m,
                                                  std::uint64_t seed) {
  if (n < 1 || k < 1 || k % MxBlock::k != 0 || m < 1 || static_cast<Index>(weights.size()) != n * k) {
    return fail(
        ErrorCode::invalid_layout,
        "product_errors: {} weights as [{}, {}] with {} activation rows; wanted n * k of them, k a multiple of {}",
        weights.size(), n, k, m, MxBlock::k);
  }
  if (!std::all_of(weights.begin(), weights.end(), [](float x) { return std::isfinite(x); })) {
    return fail(ErrorCode::unsupported, "a weight is NaN or infinite, so a product has no relative error");
  }
  std::vector<Formats> activations;
  std::vector<Sums> sums(std::size(activation_spreads));
  for (const ActivationSpread spread : activation_spreads) {
    auto formats = formats_of(spread_activations(spread, m, k, seed), m, k);
    if (!formats) return fail(std::move(formats));
    activations.push_back(*std::move(formats));
  }
  std::array<Index, mode_count> saturated_weights{};
  constexpr Index rows_at_once = 64;  // six copies of a whole layer in f64 would be many times the model
  for (Index row = 0; row < n; row += rows_at_once) {
    const Index rows = std::min(rows_at_once, n - row);
    const auto b =
        formats_of(weights.subspan(static_cast<std::size_t>(row * k), static_cast<std::size_t>(rows * k)), rows, k);
    if (!b) return tl::unexpected(b.error());
    for (std::size_t i = 0; i < mode_count; ++i) saturated_weights[i] += b->saturated[i];
    for (std::size_t i = 0; i < sums.size(); ++i) add_rows(sums[i], *b, activations[i]);
  }
  std::vector<SpreadError> errors;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (sums[i].f32 == 0) return fail(ErrorCode::unsupported, "the product is zero, so it has no relative error");
    SpreadError error;
    error.spread = activation_spreads[i];
    error.bf16 = std::sqrt(sums[i].bf16_difference / sums[i].f32);
    for (std::size_t mode = 0; mode < mode_count; ++mode) {
      const Sums::Mode& of_mode = sums[i].modes[mode];
      error.modes[mode] = {std::sqrt(of_mode.against_f32 / sums[i].f32), std::sqrt(of_mode.against_bf16 / sums[i].bf16),
                           std::sqrt(of_mode.weights_alone / sums[i].f32), saturated_weights[mode],
                           activations[i].saturated[mode]};
    }
    errors.push_back(error);
  }
  return errors;
}

}  // namespace millet
