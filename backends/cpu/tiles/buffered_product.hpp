// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/cpu/tiles/packed_strips.hpp"

// Many rows: through a buffer of decoded weights.

namespace millet::cpu {

/// Blocks of each of T strips that are decoded at a time: 16 KB, so that a first-level cache of 32 or 48 KB has room
/// for the activations that pass by (twice as much took up to 1.2 times as long).
template <int T>
inline constexpr int decoded_blocks = packed_blocks / T;

/// A part of T strips, decoded.
template <int T>
struct DecodedStrips {
  alignas(64) float values[T][decoded_blocks<T> * block_k][strip_rows];
  /// What takes a block's sum to C, where all its scales and those of A are plain.
  alignas(64) float factors[T][decoded_blocks<T>][strip_rows];
  const std::uint8_t* scales[T][decoded_blocks<T>];
  float units[T][decoded_blocks<T>];  ///< what brings a block's sums to 2^product_exponent
  bool general[decoded_blocks<T>];
};

template <class L, int T>
void decode_strips(const StripProduct& p, const Strip (&strips)[T], Index block, int count, Index blocks_left,
                   DecodedStrips<T>& decoded) noexcept {
  using Float = typename L::Float;
  constexpr int V = strip_rows / L::W;
  for (int i = 0; i < count; ++i) {
    const PrefetchDistance ahead = prefetch_distance<T>(p.b, blocks_left - i);
    decoded.general[i] = !p.a.plain;
    for (int t = 0; t < T; ++t) {
      const unsigned properties = strips[t].properties[block + i];
      const std::uint8_t* const values = strips[t].values + (block + i) * strip_block;
      const std::uint8_t* const scales = strips[t].scales + (block + i) * strip_rows;
      const unsigned needed = no_nans | (p.native_subnormals ? 0U : no_subnormals);
      const bool exact = (properties & needed) != needed;
      for (int q = 0; q < block_k / 4; ++q) {
        prefetch_codes(values + 64 * q, ahead);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          const auto codes = L::load_codes(values + 64 * q + v * 4 * L::W);
          Float w[4];
          if (exact) [[unlikely]] {
            decode_four<L, Route::exact>(codes, w);
            // One of the four makes all of its row NaN, and so it does with the row's sum.
            typename L::NanScan scan;
            scan.add(codes);
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) w[j] = scan.poison(w[j]);
          } else {
            decode_four<L, Route::normal>(codes, w);
          }
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) L::store(&decoded.values[t][i * block_k + 4 * q + j][v * L::W], w[j]);
        }
      }
      const int offset = exact ? exact_weight_exponent - weight_exponent : 0;
      for (int v = 0; v < V; ++v) {
        L::store(&decoded.factors[t][i][v * L::W], L::scale_factor(scales + v * L::W, -product_exponent - offset));
      }
      decoded.scales[t][i] = scales;
      decoded.units[t][i] = exact ? exact_unit : one;
      decoded.general[i] = decoded.general[i] || (properties & plain_scales) == 0;
    }
  }
}

/// Multiplies the decoded blocks with R rows. \param total  the rows' sums
template <class L, int T, int R>
void multiply_tile(const StripProduct& p, const DecodedStrips<T>& decoded, Index block, int count, const RowPair* rows,
                   float (*total)[T * strip_rows]) noexcept {
  using Float = typename L::Float;
  constexpr int V = strip_rows / L::W;
  for (int i = 0; i < count; ++i) {
    const float* const a_block = p.a.values + (block + i) * p.a.rows * block_k;
    const float* x[R];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) x[r] = a_block + rows[r].a * block_k;
    Float sums[R][T * V];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < T * V; ++v) sums[r][v] = L::zero();
    }
#pragma GCC unroll 2
    for (int k = 0; k < block_k; ++k) {
      Float w[T * V];
#pragma GCC unroll 4
      for (int v = 0; v < T * V; ++v) w[v] = L::load(&decoded.values[v / V][i * block_k + k][v % V * L::W]);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const Float activation = L::broadcast(x[r] + k);
#pragma GCC unroll 4
        for (int v = 0; v < T * V; ++v) sums[r][v] = L::multiply_add(w[v], activation, sums[r][v]);
      }
    }
    if (!decoded.general[i]) [[likely]] {
#pragma GCC unroll 4
      for (int v = 0; v < T * V; ++v) {
        const Float factor = L::load(&decoded.factors[v / V][i][v % V * L::W]);
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
          float* const to = &total[r][v * L::W];
          L::store(to, L::multiply_add(sums[r][v], factor, L::load(to)));
        }
      }
    } else {
      // By way of memory, and without an index into `sums` that is not a constant: that would keep them all in memory.
      float lanes[R][T * strip_rows];
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < T * V; ++v) L::store(&lanes[r][v * L::W], sums[r][v]);
      }
      for (int r = 0; r < R; ++r) {
        const int a_scale = p.a.scales[(block + i) * p.a.rows + rows[r].a];
        for (int column = 0; column < T * strip_rows; ++column) {
          const int t = column / strip_rows;
          total[r][column] += scale_block_sum(lanes[r][column] * decoded.units[t][i],
                                              decoded.scales[t][i][column % strip_rows], a_scale);
        }
      }
    }
  }
}

/// All rows, in tiles of at most R that differ by one row at most.
template <class L, int T, int R>
MILLET_INLINE void multiply_tile_of(int size, const StripProduct& p, const DecodedStrips<T>& decoded, Index block,
                                    int count, const RowPair* rows, float (*total)[T * strip_rows]) noexcept {
  if constexpr (R > 1) {
    if (size < R) return multiply_tile_of<L, T, R - 1>(size, p, decoded, block, count, rows, total);
  }
  multiply_tile<L, T, R>(p, decoded, block, count, rows, total);
}

template <class L, int T>
void multiply_strips_buffered(const StripProduct& p, Index first_strip) noexcept {
  alignas(64) float total[most_rows][T * strip_rows];
  for (int m = 0; m < p.count; ++m) {
    for (int i = 0; i < T * strip_rows; ++i) total[m][i] = 0.0F;
  }
  const int tiles = (p.count + L::tile_rows - 1) / L::tile_rows;
  DecodedStrips<T> decoded;
  for_parts_of_strips<L, T>(p.b, first_strip, [&](const Strip(&strips)[T], Index first_block, Index blocks) {
    for (Index block = 0; block < blocks; block += decoded_blocks<T>) {
      const int count = static_cast<int>(blocks - block < decoded_blocks<T> ? blocks - block : decoded_blocks<T>);
      decode_strips<L, T>(p, strips, block, count, blocks - block, decoded);
      for (int tile = 0; tile < tiles; ++tile) {
        const int m = tile * p.count / tiles;
        const int size = (tile + 1) * p.count / tiles - m;
        multiply_tile_of<L, T, L::tile_rows>(size, p, decoded, first_block + block, count, p.rows + m, total + m);
      }
    }
  });
  for (int m = 0; m < p.count; ++m) {
    for (int t = 0; t < T; ++t) {
      store_columns(p.c, p.rows[m], (first_strip + t) * strip_rows, total[m] + t * strip_rows);
    }
  }
}

template <class L, int T = L::tile_strips>
void multiply_buffered(const StripProduct& p, Index strip, Index last_strip) noexcept {
  for (; strip + T <= last_strip; strip += T) multiply_strips_buffered<L, T>(p, strip);
  if constexpr (T > 1) multiply_buffered<L, T / 2>(p, strip, last_strip);
}

}  // namespace millet::cpu
