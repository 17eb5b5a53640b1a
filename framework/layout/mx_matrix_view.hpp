// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/layout/row_major.hpp"
#include "millet/layout/scale_block.hpp"
#include "millet/numeric/e4m3.hpp"
#include "millet/numeric/e8m0.hpp"

namespace millet {

/// An MX-FP8 matrix in somebody else's memory: E4M3 values and one E8M0 scale per 32 consecutive k of a row.
///
/// The mappings are part of the type, so a preshuffled matrix cannot be passed where a row-major one is wanted.
template <Mapping2D V = RowMajor, Mapping2D S = RowMajorScales>
struct MxMatrixView {
  using ValueMapping = V;
  using ScalesMapping = S;

  const E4M3* values = nullptr;
  const E8M0* scales = nullptr;
  V value_layout{};
  S scale_layout{};

  [[nodiscard]] MILLET_HD constexpr Index rows() const noexcept { return value_layout.rows(); }
  [[nodiscard]] MILLET_HD constexpr Index cols() const noexcept { return value_layout.cols(); }

  [[nodiscard]] MILLET_HD constexpr E4M3 code(Index row, Index k) const noexcept {
    return values[value_layout(row, k)];
  }
  [[nodiscard]] MILLET_HD constexpr E8M0 scale(Index row, Index k) const noexcept {
    return scales[scale_layout(row, k)];
  }

  /// The decoded element as f32; the product may overflow to infinity or be subnormal, as the format allows.
  [[nodiscard]] MILLET_HD constexpr float operator()(Index row, Index k) const noexcept {
    return code(row, k).value() * scale(row, k).value();
  }
};

}  // namespace millet
