// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "accuracy/activations.hpp"
#include "millet/error/expected.hpp"
#include "millet/quantize/quantize_mx.hpp"

namespace millet {

/// What one scale mode does to a product. Errors are relative Frobenius norms of the whole product C = A * B^T, all
/// products computed in f64, so that nothing but the operands' formats differs.
struct ModeError {
  double against_f32 = 0;    ///< MX times MX, over the product of the f32 operands
  double against_bf16 = 0;   ///< the same over the product of the operands rounded to bf16
  double weights_alone = 0;  ///< f32 activations times MX weights, over the product of the f32 operands
  Index saturated_weights = 0;
  Index saturated_activations = 0;  ///< elements beyond the range of their scale
};

/// One layer under one kind of activations.
struct SpreadError {
  ActivationSpread spread{};
  double bf16 = 0;                                      ///< of the bf16 product, over that of the f32 operands
  std::array<ModeError, std::size(scale_modes)> modes;  ///< as in scale_modes
};

/// Quantizes weights [n, k] and activations [m, k] of every spread in every scale mode and compares the products.
/// Errors: invalid_layout for extents that MX does not have or another number of weights than n * k; unsupported when
/// the weights hold a NaN or an infinity, of which a product has no relative error, or are all zero.
[[nodiscard]] Expected<std::vector<SpreadError>> product_errors(std::span<const float> weights, Index n, Index k,
                                                                Index m, std::uint64_t seed);

}  // namespace millet
