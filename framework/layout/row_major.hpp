// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "millet/layout/mapping.hpp"
#include "millet/layout/scale_block.hpp"

namespace millet {

/// Rows one after another, `row_stride` elements apart (at least cols): the order of checkpoints.
struct RowMajor {
  Index row_count = 0;
  Index col_count = 0;
  Index row_stride = 0;

  constexpr RowMajor() = default;
  MILLET_HD constexpr RowMajor(Index rows_, Index cols_) noexcept : RowMajor(rows_, cols_, cols_) {}
  MILLET_HD constexpr RowMajor(Index rows_, Index cols_, Index row_stride_) noexcept
      : row_count(rows_), col_count(cols_), row_stride(row_stride_) {}

  friend constexpr bool operator==(const RowMajor&, const RowMajor&) = default;

  [[nodiscard]] MILLET_HD static constexpr bool is_always_unique() noexcept { return true; }
  [[nodiscard]] MILLET_HD constexpr Index rows() const noexcept { return row_count; }
  [[nodiscard]] MILLET_HD constexpr Index cols() const noexcept { return col_count; }
  [[nodiscard]] MILLET_HD constexpr Index required_span_size() const noexcept {
    return row_count == 0 || col_count == 0 ? 0 : (row_count - 1) * row_stride + col_count;
  }
  [[nodiscard]] MILLET_HD constexpr Index operator()(Index row, Index col) const noexcept {
    return row * row_stride + col;
  }
  [[nodiscard]] static std::string name() { return "row_major"; }
};

/// One e8m0 byte per 32 k, rows one after another: [rows, cols / 32].
using RowMajorScales = ScaleMapping<RowMajor>;

[[nodiscard]] MILLET_HD constexpr RowMajorScales row_major_scales(Index rows, Index cols) noexcept {
  return RowMajorScales{RowMajor(rows, MxBlock::count(cols))};
}

}  // namespace millet
