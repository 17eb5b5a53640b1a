// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "millet/dispatch/strip_weights.hpp"

/// Operands of kernels that add in the order in which strips decode, and what that order must give, bit for bit.
namespace millet::conformance {

/// Which codes the weights have beside normal ones.
enum class Codes { normal, few_subnormals, any_but_nan, few_nans, any };

/// A [m, k] and B [n, k] in e4m3 and e8m0, row-major; B as strips too.
struct StripOperands {
  Index m;
  Index n;
  Index k;
  std::vector<E4M3> a_values;
  std::vector<E8M0> a_scales;
  std::vector<E4M3> b_values;
  std::vector<E8M0> b_scales;
  std::vector<E4M3> strip_values;
  std::vector<E8M0> strip_scales;

  [[nodiscard]] RowMajorWeights::View row_major() const {
    return {b_values.data(), b_scales.data(), RowMajor(n, k), row_major_scales(n, k)};
  }
  [[nodiscard]] StripWeights::View strips() const {
    return {strip_values.data(), strip_scales.data(), StripOrder(n, k), ScaleMapping<StripScaleOrder>{scale_order()}};
  }
  [[nodiscard]] StripScaleOrder scale_order() const { return {n, MxBlock::count(k)}; }
};

/// B's scales are in [smallest_scale, largest_scale], A's such that C stays far from overflow, where a fused and an
/// unfused addition differ. A row of zeros under small scales, 2^-127 and 2^-88, is in every B of at least two
/// rows.
[[nodiscard]] StripOperands make_strip_operands(Index m, Index n, Index k, Codes codes, int smallest_scale,
                                                int largest_scale);

/// C [m, n] by a plain loop: within a block of 32, from zero, k = 0 2 1 3, 4 6 5 7 and so on; then the scaled block
/// sums, ascending, from zero. All products are exact.
[[nodiscard]] std::vector<float> multiply_in_strip_order(const StripOperands& x);

[[nodiscard]] bool same_bits_or_both_nan(float x, float y);

}  // namespace millet::conformance
