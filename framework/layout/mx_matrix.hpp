// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include "millet/error/expected.hpp"
#include "millet/layout/mx_matrix_view.hpp"

namespace millet {

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
