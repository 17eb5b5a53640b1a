// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/cpu/tiles/strip_arguments.hpp"
#include "millet/backends/cpu/tiles/strip_product.hpp"

// Parts of strips: of packed weights as they lie, of row-major ones packed on the way.

namespace millet::cpu {

/// Blocks of row-major weights that are packed at a time; 256 k of four strips are 16 KB.
inline constexpr int packed_blocks = 8;

/// Room for a part of a strip of row-major weights.
struct PackedStrip {
  alignas(64) std::uint8_t values[packed_blocks * strip_block];
  std::uint8_t scales[packed_blocks * strip_rows];
  std::uint8_t properties[packed_blocks];
};

typedef std::uint32_t FourDwords __attribute__((vector_size(16)));

/// Four rows of four dwords become four columns.
MILLET_INLINE void transpose(FourDwords (&x)[4]) noexcept {
  const FourDwords low01 = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5);
  const FourDwords low23 = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
  const FourDwords high01 = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
  const FourDwords high23 = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
  x[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
  x[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
  x[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
  x[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

/// Packs `count` blocks of a strip of row-major weights. Rows beyond the last read the last one again: they are in
/// bounds, and never stored.
template <class L>
void pack_strip(const WeightsArguments& b, Index strip, Index block, int count, PackedStrip& packed) noexcept {
  for (int row = 0; row < strip_rows; row += 4) {
    const std::uint8_t* codes[4];
    for (int r = 0; r < 4; ++r) {
      const Index wanted = strip * strip_rows + row + r;
      const Index b_row = wanted < b.n ? wanted : b.n - 1;
      codes[r] = b.values + b_row * b.k + block * block_k;
      for (int line = 0; line < packed_blocks * block_k; line += 64) {
        __builtin_prefetch(codes[r] + packed_blocks * block_k + line, 0, 3);
      }
      const std::uint8_t* const scales = b.scales + b_row * b.scale_stride + block;
      for (int i = 0; i < count; ++i) packed.scales[i * strip_rows + row + r] = scales[i];
    }
    for (int part = 0; part < 2 * count; ++part) {
      FourDwords x[4];
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) __builtin_memcpy(&x[r], codes[r] + 16 * part, sizeof(x[r]));
      transpose(x);
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) __builtin_memcpy(packed.values + 256 * part + 64 * q + 4 * row, &x[q], sizeof(x[q]));
    }
  }
  for (int i = 0; i < count; ++i) {
    packed.properties[i] = properties_of_block(packed.values + i * strip_block, packed.scales + i * strip_rows);
  }
}

/// For codes of one of S strips of which `blocks_left` more blocks are to be read, the one in use included. Hardware
/// prefetchers alone hide too little of the latency of memory (docs/performance/cpu.md). Behind a strip's end stands
/// the next one, which is being read already where several are; so it goes on behind them. Row-major weights are asked
/// for when they are packed.
template <int S>
MILLET_INLINE PrefetchDistance prefetch_distance(const WeightsArguments& b, Index blocks_left) noexcept {
  constexpr Index l1 = 2048;
  constexpr Index l2 = 8192;
  if (b.row_major) return {0, 0};
  const Index left = blocks_left * strip_block;
  const Index other_strips = (S - 1) * (b.k / block_k) * strip_block;
  return {left > l1 ? l1 : l1 + other_strips, left > l2 ? l2 : l2 + other_strips};
}

/// Calls body(strips, first block, count) for all of k: once for packed weights, else for what fits PackedStrip.
template <class L, int S, class Body>
MILLET_INLINE void for_parts_of_strips(const WeightsArguments& b, Index first_strip, const Body& body) noexcept {
  const Index blocks = b.k / block_k;
  Strip strips[S];
  if (!b.row_major) {
    for (int s = 0; s < S; ++s) {
      const std::uint8_t* const scales = b.scales + (first_strip + s) * b.scale_stride;
      strips[s] = {b.values + (first_strip + s) * blocks * strip_block, scales, scales + blocks * strip_rows};
    }
    body(strips, Index{0}, blocks);
  } else {
    PackedStrip packed[S];
    for (Index block = 0; block < blocks; block += packed_blocks) {
      const int count = static_cast<int>(blocks - block < packed_blocks ? blocks - block : packed_blocks);
      for (int s = 0; s < S; ++s) {
        pack_strip<L>(b, first_strip + s, block, count, packed[s]);
        strips[s] = {packed[s].values, packed[s].scales, packed[s].properties};
      }
      body(strips, block, static_cast<Index>(count));
    }
  }
}

}  // namespace millet::cpu
