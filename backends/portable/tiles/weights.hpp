// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/portable/tiles/lanes.hpp"
#include "millet/dispatch/strip_weights.hpp"

namespace millet::portable {

inline constexpr int dwords_per_block = static_cast<int>(MxBlock::k) / 4;
inline constexpr int strip_block = dwords_per_block * strip_rows * 4;  ///< bytes of one block of a strip

/// How far ahead codes are asked for, in bytes.
struct PrefetchDistance {
  Index l1 = 0;
  Index l2 = 0;
};

/// Rows of B inside one strip, from some block on: where their codes stand, worked out once.
///
/// load_values brings, for the W rows from the v * W-th on, dword q (k = 4 q .. 4 q + 3) of a block; load_scales their
/// scale codes; properties what is known about the block (block_properties.hpp).
class RowsOfStrip {
 public:
  RowsOfStrip() = default;
  MILLET_HD RowsOfStrip(const E4M3* values, const E8M0* scales, const E8M0* properties) noexcept
      : values_(values), scales_(scales), properties_(properties) {}

  template <int W>
  [[nodiscard]] MILLET_HD MILLET_INLINE typename Lanes<W>::Word load_values(int v, Index block, int q) const {
    return load<typename Lanes<W>::Word>(first_code(block, q) + v * W * 4);
  }
  /// A dword whose upper bytes of 16 bits are the codes of k = 4 q + Pair and 4 q + Pair + 2. What would be a shift by
  /// 8 comes free with a load one byte earlier; the byte before B is not ours, so not for B's first block.
  template <int W, int Pair>
  [[nodiscard]] MILLET_HD MILLET_INLINE typename Lanes<W>::Word load_pair(int v, Index block, int q) const {
    static_assert(Pair == 0 || Pair == 1);
    return load<typename Lanes<W>::Word>(first_code(block, q) + v * W * 4 - 1 + Pair);
  }
  template <int W>
  [[nodiscard]] MILLET_HD MILLET_INLINE typename Lanes<W>::Int load_scales(int v, Index block) const {
    return load_bytes<W>(scales_ + block * strip_rows + v * W, std::make_index_sequence<W>());
  }
  [[nodiscard]] MILLET_HD MILLET_INLINE unsigned properties(Index block) const { return properties_[block].bits; }

  /// Asks the caches for the codes a step further on. \param ahead  how far, in bytes
  template <int W>
  MILLET_HD MILLET_INLINE void prefetch_values(Index block, int q, const PrefetchDistance& ahead) const {
    if constexpr (W > 1) {
      __builtin_prefetch(first_code(block, q) + ahead.l1, 0, 3);
      __builtin_prefetch(first_code(block, q) + ahead.l2, 0, 2);
    }
  }

 private:
  [[nodiscard]] MILLET_HD MILLET_INLINE const E4M3* first_code(Index block, int q) const {
    return values_ + block * strip_block + q * StripOrder::tile_size;
  }

  const E4M3* values_ = nullptr;
  const E8M0* scales_ = nullptr;
  const E8M0* properties_ = nullptr;
};

/// One row of row-major weights, for a device's thread. It promises nothing, so every block takes the way that is right
/// for any codes.
class RowOfMatrix {
 public:
  RowOfMatrix() = default;
  MILLET_HD RowOfMatrix(const E4M3* values, const E8M0* scales) noexcept : values_(values), scales_(scales) {}

  template <int W>
  [[nodiscard]] MILLET_HD MILLET_INLINE std::uint32_t load_values(int, Index block, int q) const {
    static_assert(W == 1);
    return load<std::uint32_t>(values_ + block * MxBlock::k + 4 * q);
  }
  template <int W, int Pair>
  [[nodiscard]] MILLET_HD MILLET_INLINE std::uint32_t load_pair(int v, Index block, int q) const {
    return load_values<W>(v, block, q) << (8 - 8 * Pair);
  }
  template <int W>
  [[nodiscard]] MILLET_HD MILLET_INLINE std::int32_t load_scales(int, Index block) const {
    return scales_[block].bits;
  }
  [[nodiscard]] MILLET_HD MILLET_INLINE unsigned properties(Index) const { return 0; }
  template <int W>
  MILLET_HD MILLET_INLINE void prefetch_values(Index, int, const PrefetchDistance&) const {}

 private:
  const E4M3* values_ = nullptr;
  const E8M0* scales_ = nullptr;
};

/// S strips side by side from `first_row` on, in parts of all their k. With W = 1, one row inside a strip.
///
/// part(block, count, rows) makes `rows` stand for `count` blocks from `block` on; count is at most blocks_per_part().
/// prefetch_distance(block) is for a block of such a part.
template <class View, int W, int S>
class Strips;

template <int W, int S>
class Strips<StripWeights::View, W, S> {
 public:
  using Rows = RowsOfStrip;
  MILLET_HD MILLET_INLINE Strips(const StripWeights::View& b, Index first_row) noexcept
      : b_(b), first_row_(first_row) {}

  [[nodiscard]] MILLET_HD MILLET_INLINE Index blocks_per_part() const { return MxBlock::count(b_.cols()); }
  MILLET_HD MILLET_INLINE void part(Index block, Index, Rows (&rows)[S]) {
    const StripScaleOrder& order = b_.scale_layout.blocks;
    for (int s = 0; s < S; ++s) {
      const Index row = first_row_ + s * strip_rows;
      const Index strip = row / strip_rows;
      rows[s] = Rows(b_.values + b_.value_layout.tile_offset(strip, block * dwords_per_block) + row % strip_rows * 4,
                     b_.scales + order(row, block), b_.scales + order.property_offset(strip, block));
    }
  }

  /// 2 KB and 8 KB hide the latency of DRAM that hardware prefetchers alone leave (docs/performance/portable.md).
  /// Behind the end of a strip stands the next one, which is being read already where several are; so it goes on behind
  /// them.
  [[nodiscard]] MILLET_HD MILLET_INLINE PrefetchDistance prefetch_distance(Index block) const {
    constexpr Index l1 = 2048;
    constexpr Index l2 = 8192;
    const Index blocks = blocks_per_part();
    const Index left = (blocks - block) * strip_block;
    const Index other_strips = (S - 1) * blocks * strip_block;
    return {left > l1 ? l1 : l1 + other_strips, left > l2 ? l2 : l2 + other_strips};
  }

 private:
  const StripWeights::View& b_;
  Index first_row_;
};

template <int S>
class Strips<RowMajorWeights::View, 1, S> {
 public:
  using Rows = RowOfMatrix;
  MILLET_HD MILLET_INLINE Strips(const RowMajorWeights::View& b, Index row) noexcept
      : row_(b.values + b.value_layout(row, 0), b.scales + b.scale_layout.blocks(row, 0)),
        blocks_(MxBlock::count(b.cols())) {}

  [[nodiscard]] MILLET_HD MILLET_INLINE Index blocks_per_part() const { return blocks_; }
  MILLET_HD MILLET_INLINE void part(Index, Index, Rows (&rows)[S]) { rows[0] = row_; }
  [[nodiscard]] MILLET_HD MILLET_INLINE PrefetchDistance prefetch_distance(Index) const { return {}; }

 private:
  Rows row_;
  Index blocks_;
};

/// On vectors row-major weights are packed on the way, 256 k at a time.
template <int W, int S>
class Strips<RowMajorWeights::View, W, S> {
 public:
  using Rows = RowsOfStrip;
  MILLET_INLINE Strips(const RowMajorWeights::View& b, Index first_row) noexcept : b_(b), first_row_(first_row) {}

  [[nodiscard]] MILLET_INLINE Index blocks_per_part() const { return packed_blocks; }
  MILLET_INLINE void part(Index block, Index count, Rows (&rows)[S]) {
#pragma GCC unroll 1
    for (int s = 0; s < S; ++s) {
      Packed& packed = packed_[s];
      pack(first_row_ + s * strip_rows, block, static_cast<int>(count), packed);
      rows[s] = Rows(packed.values + before, packed.scales, packed.properties);
    }
  }

  /// What was packed is in L1.
  [[nodiscard]] MILLET_INLINE PrefetchDistance prefetch_distance(Index) const { return {}; }

 private:
  static constexpr int packed_blocks = 8;
  static constexpr int before = 64;  ///< bytes, for load_pair
  struct Packed {
    alignas(64) E4M3 values[before + packed_blocks * strip_block];
    E8M0 scales[packed_blocks * strip_rows];
    E8M0 properties[packed_blocks];
  };

  /// Rows beyond the last read the last one again: in bounds, and never stored.
  MILLET_INLINE void pack(Index first_row, Index block, int count, Packed& to) const {
#pragma GCC unroll 1
    for (int i = 0; i < strip_rows; ++i) {
      const Index row = first_row + i < b_.rows() ? first_row + i : b_.rows() - 1;
      const E4M3* const codes = b_.values + b_.value_layout(row, block * MxBlock::k);
      const E8M0* const scales = b_.scales + b_.scale_layout.blocks(row, block);
      for (int line = 0; line < packed_blocks * MxBlock::k; line += 64) {
        __builtin_prefetch(codes + packed_blocks * MxBlock::k + line, 0, 3);
      }
      for (int q = 0; q < count * dwords_per_block; ++q) {
        __builtin_memcpy(to.values + before + q * StripOrder::tile_size + 4 * i, codes + 4 * q, 4);
      }
      for (int j = 0; j < count; ++j) to.scales[j * strip_rows + i] = scales[j];
    }
    for (int j = 0; j < count; ++j) {
      to.properties[j].bits =
          properties_of_block(&to.values[before + j * strip_block].bits, &to.scales[j * strip_rows].bits);
    }
  }

  const RowMajorWeights::View& b_;
  Index first_row_;
  Packed packed_[S];
};

}  // namespace millet::portable
