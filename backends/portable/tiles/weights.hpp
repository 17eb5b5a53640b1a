// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/portable/tiles/lanes.hpp"
#include "millet/dispatch/operands.hpp"

namespace millet::portable {

/// Rows of B that a work item computes.
inline constexpr Index strip_rows = 16;

/// Strips of 16 rows: 64 bytes hold 4 k of each row, a dword a row, and the scales stand alike, 4 blocks of each row. A
/// vector load brings a dword of every lane; on a device 16 threads read 64 consecutive bytes.
using StripOrder = FragmentOrder<RowDigit<strip_rows>, ColDigit<4>>;
using StripWeights = WeightLayout<StripOrder, ScaleMapping<StripOrder>>;

/// Blocks whose scale codes fill a dword.
inline constexpr int blocks_per_scale_word = 4;

/// The rows of B from `first_row` on, inside one strip: where their codes stand, worked out once for a work item.
///
/// load_values brings, for the W rows from the v * W-th on, dword q (k = 4 q .. 4 q + 3) of a block; load_scales the
/// scale codes of four blocks from `block`, a multiple of 4, on, one a byte; bytes beyond the last block mean nothing.
template <class View>
class WeightRows;

template <>
class WeightRows<StripWeights::View> {
 public:
  MILLET_HD WeightRows(const StripWeights::View& b, Index first_row) noexcept
      : values_(b.values + b.value_layout.tile_offset(first_row / strip_rows, 0) + first_row % strip_rows * 4),
        scales_(b.scales + b.scale_layout.blocks.tile_offset(first_row / strip_rows, 0) + first_row % strip_rows * 4) {}

  template <int W>
  [[nodiscard]] MILLET_HD MILLET_INLINE typename Lanes<W>::Word load_values(int v, Index block, int q) const {
    return load<typename Lanes<W>::Word>(values_ + (block * dwords_per_block + q) * StripOrder::tile_size + v * W * 4);
  }
  template <int W>
  [[nodiscard]] MILLET_HD MILLET_INLINE typename Lanes<W>::Word load_scales(int v, Index block) const {
    return load<typename Lanes<W>::Word>(scales_ + block / blocks_per_scale_word * StripOrder::tile_size + v * W * 4);
  }

  /// Asks the caches for the strip's codes 2 KB ahead into L1 and 8 KB ahead toward L2, which hides the latency of DRAM
  /// that hardware prefetchers alone leave (docs/performance/portable.md). Past the strip's end the next one begins.
  template <int W>
  MILLET_HD MILLET_INLINE void prefetch_values(Index block, int q) const {
    if constexpr (W > 1) {
      const E4M3* const here = values_ + (block * dwords_per_block + q) * StripOrder::tile_size;
      __builtin_prefetch(here + 2048, 0, 3);
      __builtin_prefetch(here + 8192, 0, 2);
    }
  }

 private:
  static constexpr Index dwords_per_block = MxBlock::k / StripOrder::col_tile;
  const E4M3* values_;
  const E8M0* scales_;
};

template <>
class WeightRows<RowMajorWeights::View> {
 public:
  MILLET_HD WeightRows(const RowMajorWeights::View& b, Index first_row) noexcept : b_(b), first_row_(first_row) {}

  template <int W>
  [[nodiscard]] MILLET_HD MILLET_INLINE typename Lanes<W>::Word load_values(int v, Index block, int q) const {
    typename Lanes<W>::Word words{};
    for (int lane = 0; lane < W; ++lane) {
      const Index offset = b_.value_layout(row(v * W + lane), block * MxBlock::k + 4 * q);
      set_lane(words, lane, load<std::uint32_t>(b_.values + offset));
    }
    return words;
  }
  template <int W>
  [[nodiscard]] MILLET_HD MILLET_INLINE typename Lanes<W>::Word load_scales(int v, Index block) const {
    const Index blocks = b_.scale_layout.blocks.cols();
    typename Lanes<W>::Word words{};
    for (int lane = 0; lane < W; ++lane) {
      const E8M0* const codes = b_.scales + b_.scale_layout.blocks(row(v * W + lane), block);
      std::uint32_t word = 0;
      for (int i = 0; i < blocks_per_scale_word && block + i < blocks; ++i)
        word |= std::uint32_t{codes[i].bits} << 8 * i;
      set_lane(words, lane, word);
    }
    return words;
  }

  /// Nothing: the rows are as many streams, which hardware prefetchers follow well enough.
  template <int W>
  MILLET_HD MILLET_INLINE void prefetch_values(Index, int) const {}

 private:
  /// Lanes beyond the last row read the last row again: in bounds, and never stored.
  [[nodiscard]] MILLET_HD MILLET_INLINE Index row(int lane) const noexcept {
    const Index row = first_row_ + lane;
    return row < b_.rows() ? row : b_.rows() - 1;
  }
  RowMajorWeights::View b_;
  Index first_row_;
};

}  // namespace millet::portable
