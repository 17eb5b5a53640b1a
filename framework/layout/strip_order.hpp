// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/layout/block_properties.hpp"
#include "millet/layout/fragment_order.hpp"

namespace millet {

/// Values in strips of 16 rows: 64 bytes hold 4 k of each row, a dword a row. A vector load brings a dword of every
/// lane; on a device 16 threads read 64 consecutive bytes.
using StripOrder = FragmentOrder<RowDigit<strip_rows>, ColDigit<4>>;

/// Scales in strips of 16 rows: 16 bytes a block, one a row; behind a strip's scales, a byte for each of its blocks
/// with what is known about it (block_properties.hpp). Strips begin 64 bytes apart, or a multiple of that.
class StripScaleOrder {
 public:
  constexpr StripScaleOrder() = default;
  MILLET_HD constexpr StripScaleOrder(Index rows_, Index blocks_) noexcept : row_count_(rows_), block_count_(blocks_) {}

  friend constexpr bool operator==(const StripScaleOrder&, const StripScaleOrder&) = default;

  [[nodiscard]] MILLET_HD static constexpr bool is_always_unique() noexcept { return true; }
  [[nodiscard]] MILLET_HD constexpr Index rows() const noexcept { return row_count_; }
  [[nodiscard]] MILLET_HD constexpr Index cols() const noexcept { return block_count_; }
  [[nodiscard]] MILLET_HD constexpr Index required_span_size() const noexcept {
    return tiles_to_cover(row_count_, strip_rows) * strip_stride();
  }
  [[nodiscard]] MILLET_HD constexpr Index operator()(Index row, Index block) const noexcept {
    return row / strip_rows * strip_stride() + block * strip_rows + row % strip_rows;
  }

  /// Bytes from a strip to the next.
  [[nodiscard]] MILLET_HD constexpr Index strip_stride() const noexcept {
    return round_up_to_tile(block_count_ * (strip_rows + 1), 64);
  }
  /// Where the byte about a strip's block is.
  [[nodiscard]] MILLET_HD constexpr Index property_offset(Index strip, Index block) const noexcept {
    return strip * strip_stride() + block_count_ * strip_rows + block;
  }
  [[nodiscard]] static std::string name() { return "strips(r16,properties)"; }

 private:
  Index row_count_ = 0;
  Index block_count_ = 0;
};

}  // namespace millet
