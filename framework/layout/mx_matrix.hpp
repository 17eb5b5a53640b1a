// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include "millet/error/expected.hpp"
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

  [[nodiscard]] MILLET_HD constexpr E4M3 code(Index row, Index k) const noexcept { return values[value_layout(row, k)]; }
  [[nodiscard]] MILLET_HD constexpr E8M0 scale(Index row, Index k) const noexcept { return scales[scale_layout(row, k)]; }

  /// The decoded element as f32; the product may overflow to infinity or be subnormal, as the format allows.
  [[nodiscard]] MILLET_HD constexpr float operator()(Index row, Index k) const noexcept {
    return code(row, k).value() * scale(row, k).value();
  }
};

/// An MX-FP8 matrix that owns its host memory.
template <Mapping2D V = RowMajor, Mapping2D S = RowMajorScales>
class MxMatrix {
 public:
  MxMatrix() = default;

  /// Zero values and scales of code 0; the mappings must have the same extents.
  MxMatrix(V value_layout, S scale_layout)
      : value_layout_(value_layout),
        scale_layout_(scale_layout),
        values_(static_cast<std::size_t>(value_layout.required_span_size()), E4M3{0}),
        scales_(static_cast<std::size_t>(scale_layout.required_span_size()), E8M0{0}) {}

  [[nodiscard]] Index rows() const noexcept { return value_layout_.rows(); }
  [[nodiscard]] Index cols() const noexcept { return value_layout_.cols(); }
  [[nodiscard]] const V& value_layout() const noexcept { return value_layout_; }
  [[nodiscard]] const S& scale_layout() const noexcept { return scale_layout_; }
  [[nodiscard]] std::vector<E4M3>& values() noexcept { return values_; }
  [[nodiscard]] const std::vector<E4M3>& values() const noexcept { return values_; }
  [[nodiscard]] std::vector<E8M0>& scales() noexcept { return scales_; }
  [[nodiscard]] const std::vector<E8M0>& scales() const noexcept { return scales_; }

  [[nodiscard]] MxMatrixView<V, S> view() const noexcept {
    return {values_.data(), scales_.data(), value_layout_, scale_layout_};
  }

 private:
  V value_layout_{};
  S scale_layout_{};
  std::vector<E4M3> values_;
  std::vector<E8M0> scales_;
};

/// Describes existing row-major MX memory: values [rows, cols] with `value_stride` elements between rows, scales
/// [rows, cols / 32] with `scale_stride` bytes between rows.
///
/// Errors: invalid_layout when an extent is < 1, cols is not a multiple of 32, a stride is smaller than its row, or a
/// buffer is shorter than its mapping needs; invalid_argument for a null pointer.
/// \param value_count, scale_count  elements that the buffers hold
[[nodiscard]] Expected<MxMatrixView<>> make_mx_view(const E4M3* values, Index value_count, const E8M0* scales,
                                                    Index scale_count, RowMajor value_layout, RowMajor block_layout);

}  // namespace millet
