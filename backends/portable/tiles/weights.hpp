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

// Where the weights of W rows from `row` on stand; the row count is the caller's business. A `load_values` brings dword
// q (k = 4 q .. 4 q + 3) of a block for each row, a `load_scales` the scale codes of a block.

template <int W>
MILLET_HD MILLET_INLINE typename Lanes<W>::Word load_values(const StripWeights::View& b, Index row, Index block,
                                                            int q) {
  const Index offset =
      b.value_layout.tile_offset(row / strip_rows, block * (MxBlock::k / 4) + q) + row % strip_rows * 4;
  return load<typename Lanes<W>::Word>(b.values + offset);
}

template <int W>
MILLET_HD MILLET_INLINE typename Lanes<W>::Int load_scales(const StripWeights::View& b, Index row, Index block) {
  const Index offset = b.scale_layout.blocks.tile_offset(row / strip_rows, block / 4) + row % strip_rows * 4;
  const auto four_blocks = load<typename Lanes<W>::Int>(b.scales + offset);
  return (four_blocks >> static_cast<int>(8 * (block % 4))) & 0xFF;
}

// Lanes beyond the last row read the last row again: in bounds, and never stored.
template <int W>
MILLET_HD MILLET_INLINE typename Lanes<W>::Word load_values(const RowMajorWeights::View& b, Index row, Index block,
                                                            int q) {
  typename Lanes<W>::Word words{};
  for (int lane = 0; lane < W; ++lane) {
    const Index clamped = row + lane < b.rows() ? row + lane : b.rows() - 1;
    set_lane(words, lane, load<std::uint32_t>(b.values + b.value_layout(clamped, block * MxBlock::k + 4 * q)));
  }
  return words;
}

template <int W>
MILLET_HD MILLET_INLINE typename Lanes<W>::Int load_scales(const RowMajorWeights::View& b, Index row, Index block) {
  typename Lanes<W>::Int codes{};
  for (int lane = 0; lane < W; ++lane) {
    const Index clamped = row + lane < b.rows() ? row + lane : b.rows() - 1;
    set_lane(codes, lane, static_cast<std::int32_t>(b.scales[b.scale_layout.blocks(clamped, block)].bits));
  }
  return codes;
}

/// Asks the caches for weights that this item will want soon: 2 KB ahead into L1, 8 KB ahead toward L2, which hides the
/// latency of DRAM that hardware prefetchers alone leave (docs/performance/portable.md). Rows of row-major weights are
/// as many streams, which those prefetchers follow well enough.
template <int W>
MILLET_HD MILLET_INLINE void prefetch_values(const StripWeights::View& b, Index row, Index block) {
  if constexpr (W > 1) {
    const E4M3* here = b.values + b.value_layout.tile_offset(row / strip_rows, block * (MxBlock::k / 4));
    for (int line = 0; line < 8; ++line) {
      __builtin_prefetch(here + 2048 + 64 * line, 0, 3);
      __builtin_prefetch(here + 8192 + 64 * line, 0, 2);
    }
  }
}
template <int W>
MILLET_HD MILLET_INLINE void prefetch_values(const RowMajorWeights::View&, Index, Index) {}

}  // namespace millet::portable
