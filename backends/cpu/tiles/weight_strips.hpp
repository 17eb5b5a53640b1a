// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/cpu/tiles/block_properties.hpp"
#include "millet/dispatch/operands.hpp"

namespace millet::cpu {

/// Values in strips of 16 rows: 64 bytes hold 4 k of each row, a dword a row.
using StripOrder = FragmentOrder<RowDigit<strip_rows>, ColDigit<4>>;

/// Scales in strips of 16 rows: 16 bytes a block, one a row; behind a strip's scales, a byte for each of its blocks
/// with what is known about it (strip_arguments.hpp). Strips begin 64 bytes apart, or a multiple of that.
class StripScaleOrder {
 public:
  constexpr StripScaleOrder() = default;
  constexpr StripScaleOrder(Index rows_, Index blocks_) noexcept : row_count_(rows_), block_count_(blocks_) {}

  friend constexpr bool operator==(const StripScaleOrder&, const StripScaleOrder&) = default;

  [[nodiscard]] static constexpr bool is_always_unique() noexcept { return true; }
  [[nodiscard]] constexpr Index rows() const noexcept { return row_count_; }
  [[nodiscard]] constexpr Index cols() const noexcept { return block_count_; }
  [[nodiscard]] constexpr Index required_span_size() const noexcept {
    return tiles_to_cover(row_count_, strip_rows) * strip_stride();
  }
  [[nodiscard]] constexpr Index operator()(Index row, Index block) const noexcept {
    return row / strip_rows * strip_stride() + block * strip_rows + row % strip_rows;
  }

  /// Bytes from a strip to the next.
  [[nodiscard]] constexpr Index strip_stride() const noexcept {
    return round_up_to_tile(block_count_ * (strip_rows + 1), 64);
  }
  /// Where the byte about a strip's block is.
  [[nodiscard]] constexpr Index property_offset(Index strip, Index block) const noexcept {
    return strip * strip_stride() + block_count_ * strip_rows + block;
  }
  [[nodiscard]] static std::string name() { return "strips(r16,properties)"; }

 private:
  Index row_count_ = 0;
  Index block_count_ = 0;
};

struct StripWeights : WeightLayout<StripOrder, ScaleMapping<StripScaleOrder>> {
  /// Fills in what is known about each block of packed weights.
  static void annotate(const View& b, E8M0* scales) noexcept {
    const StripScaleOrder& order = b.scale_layout.blocks;
    for (Index strip = 0; strip < b.value_layout.row_tiles(); ++strip) {
      for (Index block = 0; block < order.cols(); ++block) {
        const E4M3* const codes = b.values + b.value_layout.tile_offset(strip, block * (block_k / 4));
        scales[order.property_offset(strip, block)].bits =
            properties_of_block(&codes->bits, &scales[order(strip * strip_rows, block)].bits);
      }
    }
  }
};

}  // namespace millet::cpu
