// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/portable/tiles/activations.hpp"
#include "millet/backends/portable/tiles/lanes.hpp"
#include "millet/backends/portable/tiles/weights.hpp"
#include "millet/numeric/bf16.hpp"
#include "millet/problem/gemm_problem.hpp"

namespace millet::portable {

/// A row of the product: which row of A, which of C, and a factor.
struct RowPair {
  Index a = -1;
  Index c = -1;
  float weight = 1.0F;
};

/// C and how far its columns go.
struct OutputColumns {
  Output c;
  OutputType type = OutputType::bf16;
  Index n = 0;
};

template <int W>
MILLET_HD MILLET_INLINE void store_columns(const OutputColumns& out, const RowPair& row, Index first_column,
                                           const typename Lanes<W>::Float& sum, bool weighted) {
  const Index offset = row.c * out.c.row_stride + first_column;
  for (int lane = 0; lane < W; ++lane) {
    if (first_column + lane >= out.n) break;
    const float y = weighted ? get_lane(sum, lane) * row.weight : get_lane(sum, lane);
    if (out.type == OutputType::bf16) {
      static_cast<BF16*>(out.c.values)[offset + lane] = BF16::round(y);
    } else {
      static_cast<float*>(out.c.values)[offset + lane] = y;
    }
  }
}

/// The order of every sum, in both products below: within a block of 32, k ascending from zero; then the scaled block
/// sums, ascending, from zero. It depends on nothing else, so a row of C has the same bits whatever kernel, M or thread
/// count. All products of a weight and an activation, and of a block sum and a power of two, are exact, so it makes no
/// difference where the compiler fuses a multiplication with an addition.

/// Whether `Blocks` consecutive blocks of V * W rows hold codes that decode_normal cannot decode. A pass of its own:
/// the weights come into L1 here, and holding their 16 vectors a block for the product would spill registers.
template <int W, int V, int Blocks, class View>
MILLET_HD MILLET_INLINE bool need_exact_decode(const View& b, Index first_column, Index first_block) {
  using Word = typename Lanes<W>::Word;
  if constexpr (W > 1) {
    // Twice the code drops its sign; minus 16, zero, the subnormals and NaN are the largest bytes. Three operations a
    // vector find the blocks to look at again, since zeros are no trouble.
    using Byte = typename Lanes<W>::Byte;
    Byte largest{};
#pragma GCC unroll 2
    for (int q = 0; q < 8; ++q) {
#pragma GCC unroll 4
      for (int i = 0; i < Blocks; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          const auto codes = same_bits<Byte>(load_values<W>(b, first_column + v * W, first_block + i, q));
          const Byte shifted = codes + codes - 16;
          largest = shifted > largest ? shifted : largest;
        }
      }
    }
    constexpr int largest_normal = 2 * 0x7E - 16;
    if (!any<W>(same_bits<Word>(largest > largest_normal))) return false;
  }
  Word flags{};
#pragma GCC unroll 1
  for (int q = 0; q < 8 * Blocks; ++q) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      flags |= exact_decode_flags<W>(load_values<W>(b, first_column + v * W, first_block + q / 8, q % 8));
    }
  }
  return any<W>(flags & 0x80808080U);
}

/// The four weights of a dword for V vectors, times 2^-120, or times 2^-60 with Exact.
template <int W, int V, bool Exact, class View>
MILLET_HD MILLET_INLINE void decode_dwords(const View& b, Index first_column, Index block, int q,
                                           typename Lanes<W>::Float (&w)[V][4]) {
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    const auto codes = load_values<W>(b, first_column + v * W, block, q);
    if constexpr (Exact) {
      decode_exact<W>(codes, w[v]);
    } else {
      decode_normal<W>(codes, w[v]);
    }
  }
}

/// What brings sums of exactly decoded weights to the scale of the others.
inline constexpr float exact_decode_factor = 0x1p-60F;

/// The contribution of `Blocks` consecutive blocks to M rows times V vectors. Their sums are independent chains: one
/// alone would wait for the latency of each multiply-add.
template <int W, int V, int M, int Blocks, bool Exact, class View>
MILLET_HD MILLET_INLINE void add_direct_blocks(const View& b, const DecodedActivations& a, const RowPair (&rows)[M],
                                               Index first_column, Index first_block,
                                               typename Lanes<W>::Float (&sums)[M][V]) {
  using Float = typename Lanes<W>::Float;
  Float partial[Blocks][M][V] = {};
#pragma GCC unroll 1
  for (int q = 0; q < 8; ++q) {
#pragma GCC unroll 4
    for (int i = 0; i < Blocks; ++i) {
      Float w[V][4];
      decode_dwords<W, V, Exact>(b, first_column, first_block + i, q, w);
#pragma GCC unroll 4
      for (int byte = 0; byte < 4; ++byte) {
#pragma GCC unroll 4
        for (int m = 0; m < M; ++m) {
          const float x = a.block_row(first_block + i, rows[m].a)[4 * q + byte];
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) partial[i][m][v] += w[v][byte] * x;
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < Blocks; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const auto b_scale = load_scales<W>(b, first_column + v * W, first_block + i);
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        const Float sum = Exact ? partial[i][m][v] * exact_decode_factor : partial[i][m][v];
        sums[m][v] += scale_block_sum<W>(sum, b_scale, a.scale(first_block + i, rows[m].a));
      }
    }
  }
}

/// M rows times V vectors of W columns, straight from the codes: for few rows, where decoding costs more than
/// multiplying. Handles columns first_column .. first_column + V * W - 1; all rows share one pass over the weights.
template <int W, int V, int M, class View>
MILLET_HD MILLET_INLINE void direct_product(const View& b, const DecodedActivations& a, const RowPair (&rows)[M],
                                            Index first_column, bool weighted, const OutputColumns& out) {
  // Two blocks make V * M * 2 independent chains where V * M alone would wait for the multiply-adds' latency.
  constexpr int blocks_at_once = V * M >= 8 ? 1 : 2;
  typename Lanes<W>::Float sums[M][V] = {};
  const Index blocks = MxBlock::count(b.cols());
  for (Index first = 0; first < blocks; first += blocks_at_once) {
    const Index end = first + blocks_at_once < blocks ? first + blocks_at_once : blocks;
    for (Index block = first; block < end; ++block) prefetch_values<W>(b, first_column, block);
    if (end - first == blocks_at_once && !need_exact_decode<W, V, blocks_at_once>(b, first_column, first)) {
      add_direct_blocks<W, V, M, blocks_at_once, false>(b, a, rows, first_column, first, sums);
      continue;
    }
    for (Index block = first; block < end; ++block) {
      if (need_exact_decode<W, V, 1>(b, first_column, block)) {
        add_direct_blocks<W, V, M, 1, true>(b, a, rows, first_column, block, sums);
      } else {
        add_direct_blocks<W, V, M, 1, false>(b, a, rows, first_column, block, sums);
      }
    }
  }
  for (int m = 0; m < M; ++m) {
    for (int v = 0; v < V; ++v) store_columns<W>(out, rows[m], first_column + v * W, sums[m][v], weighted);
  }
}

/// Rows that one pass over the weights serves: their sums stay in L1 (64 rows of 16 floats are 4 KiB).
inline constexpr int rows_per_pass = 64;

/// One block's contribution to `Tile` rows from m on, `kept` of which exist (the others repeat the last one).
template <int W, int V, int Tile>
MILLET_HD MILLET_INLINE void add_buffered_tile(const typename Lanes<W>::Float (&decoded)[MxBlock::k][V],
                                               const typename Lanes<W>::Int (&b_scale)[V], float factor,
                                               const DecodedActivations& a, const RowPair* rows, int kept, Index block,
                                               typename Lanes<W>::Float (*sums)[V]) {
  using Float = typename Lanes<W>::Float;
  const float* a_rows[Tile];
#pragma GCC unroll 12
  for (int i = 0; i < Tile; ++i) a_rows[i] = a.block_row(block, rows[i < kept ? i : kept - 1].a);
  Float partial[Tile][V] = {};
#pragma GCC unroll 2
  for (int k = 0; k < MxBlock::k; ++k) {
#pragma GCC unroll 12
    for (int i = 0; i < Tile; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) partial[i][v] += decoded[k][v] * a_rows[i][k];
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < Tile; ++i) {
    if (i >= kept) break;
    const std::int32_t a_scale = a.scale(block, rows[i].a);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sums[i][v] += scale_block_sum<W>(partial[i][v] * factor, b_scale[v], a_scale);
  }
}

/// Decodes one block into a buffer.
template <int W, int V, bool Exact, class View>
MILLET_HD MILLET_INLINE void decode_block(const View& b, Index first_column, Index block,
                                          typename Lanes<W>::Float (&decoded)[MxBlock::k][V]) {
#pragma GCC unroll 1
  for (int q = 0; q < 8; ++q) {
    typename Lanes<W>::Float w[V][4];
    decode_dwords<W, V, Exact>(b, first_column, block, q, w);
#pragma GCC unroll 4
    for (int byte = 0; byte < 4; ++byte) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) decoded[4 * q + byte][v] = w[v][byte];
    }
  }
}

/// Up to 64 rows times V vectors of W columns: each block of weights is decoded once, into a buffer of 2 KiB on the
/// host, and multiplied with all rows, `Tile` rows at a time in registers. \param count  rows in use, at least 1
template <int W, int V, int Tile, class View>
MILLET_HD MILLET_INLINE void buffered_product(const View& b, const DecodedActivations& a, const RowPair* rows,
                                              int count, Index first_column, bool weighted, const OutputColumns& out) {
  using Float = typename Lanes<W>::Float;
  Float sums[rows_per_pass][V];
  for (int m = 0; m < count; ++m) {
    for (int v = 0; v < V; ++v) sums[m][v] = Float{};
  }
  const Index blocks = MxBlock::count(b.cols());
  for (Index block = 0; block < blocks; ++block) {
    prefetch_values<W>(b, first_column, block);
    Float decoded[MxBlock::k][V];
    typename Lanes<W>::Int b_scale[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) b_scale[v] = load_scales<W>(b, first_column + v * W, block);
    const bool exact = need_exact_decode<W, V, 1>(b, first_column, block);
    if (exact) {
      decode_block<W, V, true>(b, first_column, block, decoded);
    } else {
      decode_block<W, V, false>(b, first_column, block, decoded);
    }
    const float factor = exact ? exact_decode_factor : 1.0F;
    int m = 0;
    for (; m + Tile <= count; m += Tile) {
      add_buffered_tile<W, V, Tile>(decoded, b_scale, factor, a, rows + m, Tile, block, sums + m);
    }
    if (m < count) add_buffered_tile<W, V, Tile>(decoded, b_scale, factor, a, rows + m, count - m, block, sums + m);
  }
  for (int m = 0; m < count; ++m) {
    for (int v = 0; v < V; ++v) store_columns<W>(out, rows[m], first_column + v * W, sums[m][v], weighted);
  }
}

}  // namespace millet::portable
