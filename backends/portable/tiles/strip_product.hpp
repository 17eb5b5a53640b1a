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

/// What all items of a launch have in common.
template <class View>
struct Product {
  View b;
  DecodedActivations a;
  OutputColumns out;
  bool weighted = false;                      ///< whether rows have a factor
  unsigned needed = no_nans | no_subnormals;  ///< what codes decode_normal takes: properties of a block
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

/// The order of every sum, in both products below: within a block of 32, from zero, k = 0 2 1 3, 4 6 5 7 and so on, as
/// decoding gives them; then the scaled block sums, ascending, from zero. It depends on nothing else, so a row of C has
/// the same bits whatever kernel, M or thread count. All products of a weight and an activation are exact, and those of
/// a block sum and a power of two are unless they leave f32's normal range; short of that it makes no difference where
/// the compiler fuses a multiplication with an addition.

/// The part of add_plain_block that comes from two of each dword's four codes.
template <int W, int V, int M, int S, int Pair, class Rows>
MILLET_HD MILLET_INLINE void add_plain_pair(const Rows* b, Index block, int q, const float* const (&x)[M],
                                            typename Lanes<W>::Float (&sums)[S * V][M]) {
  // Vectors decoded at a time: one keeps registers free for the activations, which all vectors need; with many rows the
  // activations come from memory, once for all vectors.
  constexpr int G = M <= 2 ? 1 : S * V;
#pragma GCC unroll 8
  for (int first = 0; first < S * V; first += G) {
    typename Lanes<W>::Float w[G][2];
#pragma GCC unroll 8
    for (int i = 0; i < G; ++i) {
      decode_normal<W>(b[(first + i) / V].template load_pair<W, Pair>((first + i) % V, block, q), w[i]);
    }
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        const float x_j = x[m][4 * q + 2 * Pair + j];
#pragma GCC unroll 8
        for (int i = 0; i < G; ++i) sums[first + i][m] += w[i][j] * x_j;
      }
    }
  }
}

/// Adds to M rows what one block of S strips of V vectors contributes, where its codes are normal or zero and all
/// scales plain. The S * V * M sums are independent: few would wait for the latency of each multiply-add, and each
/// activation is loaded once for all strips.
/// \param x  the block's 32 activations of each row \param total  [S * V][M]
template <int W, int V, int M, int S, class Rows>
MILLET_HD MILLET_INLINE void add_plain_block(const Rows* b, Index block, const float* const (&x)[M],
                                             const std::int32_t (&a_scales)[M], const PrefetchDistance& ahead,
                                             typename Lanes<W>::Float (*total)[M]) {
  typename Lanes<W>::Float sums[S * V][M] = {};
#pragma GCC unroll 1
  for (int q = 0; q < 8; ++q) {
#pragma GCC unroll 4
    for (int s = 0; s < S; ++s) b[s].template prefetch_values<W>(block, q, ahead);
    add_plain_pair<W, V, M, S, 0>(b, block, q, x, sums);
    add_plain_pair<W, V, M, S, 1>(b, block, q, x, sums);
  }
#pragma GCC unroll 8
  for (int i = 0; i < S * V; ++i) {
    const auto b_scale = b[i / V].template load_scales<W>(i % V, block);
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) total[i][m] += sums[i][m] * plain_scale_factor<W>(b_scale, a_scales[m]);
  }
}

/// The same for one strip, any codes and scales. The dwords that need it are decoded exactly.
template <int W, int V, int M, class Rows>
MILLET_HD MILLET_INLINE void add_any_block(const Rows& b, Index block, const float* const (&x)[M],
                                           const std::int32_t (&a_scales)[M], const PrefetchDistance& ahead,
                                           typename Lanes<W>::Float (*total)[M]) {
  using Float = typename Lanes<W>::Float;
  using Word = typename Lanes<W>::Word;
  Float sums[V][M] = {};
#pragma GCC unroll 1
  for (int q = 0; q < 8; ++q) {
    b.template prefetch_values<W>(block, q, ahead);
    Word codes[V];
    Word flags{};
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      codes[v] = b.template load_values<W>(v, block, q);
      flags |= exact_decode_flags<W>(codes[v]);
    }
    const bool exact = any<W>(flags & exact_decode_bits);
    const float x_factor = exact ? exact_decode_factor : 1.0F;
    Float w[V][4];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) decode_four<W>(codes[v], exact, w[v]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        const float x_i = x[m][4 * q + i] * x_factor;
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sums[v][m] += w[v][i] * x_i;
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    const auto b_scale = b.template load_scales<W>(v, block);
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) total[v][m] += scale_block_sum<W>(sums[v][m], b_scale, a_scales[m]);
  }
}

/// One block of M rows of A.
template <int M>
struct BlockOfA {
  const float* x[M];  ///< 32 activations of each row
  std::int32_t scales[M];
  bool plain;  ///< whether all scales are

  MILLET_HD MILLET_INLINE BlockOfA(const DecodedActivations& a, Index block, const RowPair* rows) : plain(true) {
    for (int m = 0; m < M; ++m) {
      x[m] = a.block_row(block, rows[m].a);
      scales[m] = a.scale(block, rows[m].a);
      plain = plain && is_plain_scale(scales[m]);
    }
  }
};

/// One block of one strip, by the faster way where it promises what that needs.
template <class Shape, int M, class View, class Rows>
MILLET_HD MILLET_INLINE void add_block_alone(const Product<View>& p, const Rows& b, Index block, Index a_block,
                                             const RowPair* rows, bool first, const PrefetchDistance& ahead,
                                             typename Lanes<Shape::W>::Float (*total)[M]) {
  const BlockOfA<M> a(p.a, a_block, rows);
  const unsigned needed = p.needed | plain_scales;
  if (a.plain && !first && (b.properties(block) & needed) == needed) {
    add_plain_block<Shape::W, Shape::V, M, 1>(&b, block, a.x, a.scales, ahead, total);
  } else {
    add_any_block<Shape::W, Shape::V, M>(b, block, a.x, a.scales, ahead, total);
  }
}

/// M rows times S strips of V vectors of W columns, straight from the codes: for few rows, where decoding costs more
/// than multiplying. All rows share one pass over the weights.
template <class Shape, int M, int S, class View>
MILLET_HD MILLET_INLINE void multiply_strips(const Product<View>& p, const RowPair* rows, Index first_column) {
  constexpr int W = Shape::W;
  using Source = Strips<View, W, S>;
  Source source(p.b, first_column);
  typename Lanes<W>::Float total[S * Shape::V][M] = {};
  const Index blocks = MxBlock::count(p.b.cols());
  const Index step = source.blocks_per_part();
  for (Index first = 0; first < blocks; first += step) {
    const Index count = blocks - first < step ? blocks - first : step;
    typename Source::Rows b[S];
    source.part(first, count, b);
    for (Index block = 0; block < count; ++block) {
      const Index a_block = first + block;
      const bool first_of_all = first_column + a_block == 0;
      const PrefetchDistance ahead = source.prefetch_distance(block);
      const BlockOfA<M> a(p.a, a_block, rows);
      unsigned properties = p.needed | plain_scales;
      for (int s = 0; s < S; ++s) properties &= b[s].properties(block);
      if (a.plain && !first_of_all && properties == (p.needed | plain_scales)) [[likely]] {
        add_plain_block<W, Shape::V, M, S>(b, block, a.x, a.scales, ahead, total);
      } else {
        for (int s = 0; s < S; ++s) {
          Shape::template add_block_alone<M>(p, b[s], block, a_block, rows, first_of_all && s == 0, ahead,
                                             total + s * Shape::V);
        }
      }
    }
  }
  for (int m = 0; m < M; ++m) {
    for (int i = 0; i < S * Shape::V; ++i)
      store_columns<W>(p.out, rows[m], first_column + i * W, total[i][m], p.weighted);
  }
}

/// M rows times the columns [first_column, last_column), which begin with a strip; on a device one column.
template <class Shape, int M, class View>
MILLET_HD MILLET_INLINE void multiply_directly(const Product<View>& p, const RowPair* rows, Index first_column,
                                               Index last_column) {
  constexpr int width = Shape::W * Shape::V;
  constexpr int S = Shape::strips_at_once(M);
  Index column = first_column;
  if constexpr (S > 1) {
    for (; column + S * width <= last_column; column += S * width) multiply_strips<Shape, M, S>(p, rows, column);
  }
  for (; column < last_column; column += width) multiply_strips<Shape, M, 1>(p, rows, column);
}

/// Rows that one pass over the weights serves: their sums stay in L1 (64 rows of 16 floats are 4 KiB).
inline constexpr int rows_per_pass = 64;

/// One decoded block of a strip.
template <int W, int V>
struct DecodedBlock {
  typename Lanes<W>::Float values[MxBlock::k][V];
  typename Lanes<W>::Int scales[V];
  float factor;  ///< what brings its sums to 2^product_exponent
  bool plain;    ///< whether that is 1, and all scales are plain
};

template <int W, int V, class Rows>
MILLET_HD MILLET_INLINE void decode_block(const Rows& b, Index block, unsigned needed, const PrefetchDistance& ahead,
                                          DecodedBlock<W, V>& decoded) {
  const unsigned properties = b.properties(block);
  const bool exact = (properties & needed) != needed;
#pragma GCC unroll 1
  for (int q = 0; q < 8; ++q) {
    b.template prefetch_values<W>(block, q, ahead);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      typename Lanes<W>::Float w[4];
      decode_four<W>(b.template load_values<W>(v, block, q), exact, w);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) decoded.values[4 * q + i][v] = w[i];
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) decoded.scales[v] = b.template load_scales<W>(v, block);
  decoded.factor = exact ? exact_decode_factor : 1.0F;
  decoded.plain = !exact && (properties & plain_scales) != 0;
}

/// One block's contribution to `Tile` rows, `kept` of which exist (the others repeat the last one).
template <int W, int V, int Tile>
MILLET_HD MILLET_INLINE void add_buffered_tile(const DecodedBlock<W, V>& decoded, const DecodedActivations& a,
                                               const RowPair* rows, int kept, Index block,
                                               typename Lanes<W>::Float (*total)[V]) {
  const float* x[Tile];
#pragma GCC unroll 12
  for (int i = 0; i < Tile; ++i) x[i] = a.block_row(block, rows[i < kept ? i : kept - 1].a);
  typename Lanes<W>::Float sums[Tile][V] = {};
#pragma GCC unroll 2
  for (int k = 0; k < MxBlock::k; ++k) {
#pragma GCC unroll 12
    for (int i = 0; i < Tile; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[i][v] += decoded.values[k][v] * x[i][k];
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < Tile; ++i) {
    if (i >= kept) break;
    const std::int32_t a_scale = a.scale(block, rows[i].a);
    const bool plain = decoded.plain && is_plain_scale(a_scale);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      if (plain) [[likely]] {
        total[i][v] += sums[i][v] * plain_scale_factor<W>(decoded.scales[v], a_scale);
      } else {
        total[i][v] += scale_block_sum<W>(sums[i][v] * decoded.factor, decoded.scales[v], a_scale);
      }
    }
  }
}

/// Up to 64 rows times a strip of V vectors of W columns: each block of weights is decoded once, into a buffer of 2 KiB
/// on the host, and multiplied with all rows, `Tile` rows at a time in registers. \param count  rows in use, at least 1
template <class Shape, class View>
MILLET_HD MILLET_INLINE void multiply_buffered_strip(const Product<View>& p, const RowPair* rows, int count,
                                                     Index first_column) {
  constexpr int W = Shape::W;
  constexpr int V = Shape::V;
  constexpr int Tile = Shape::tile;
  using Source = Strips<View, W, 1>;
  Source source(p.b, first_column);
  typename Lanes<W>::Float total[rows_per_pass][V];
  for (int m = 0; m < count; ++m) {
    for (int v = 0; v < V; ++v) total[m][v] = typename Lanes<W>::Float{};
  }
  const Index blocks = MxBlock::count(p.b.cols());
  const Index step = source.blocks_per_part();
  for (Index first = 0; first < blocks; first += step) {
    const Index part = blocks - first < step ? blocks - first : step;
    typename Source::Rows b[1];
    source.part(first, part, b);
    for (Index block = 0; block < part; ++block) {
      DecodedBlock<W, V> decoded;
      decode_block<W, V>(b[0], block, p.needed, source.prefetch_distance(block), decoded);
      const Index a_block = first + block;
      int m = 0;
      for (; m + Tile <= count; m += Tile) {
        add_buffered_tile<W, V, Tile>(decoded, p.a, rows + m, Tile, a_block, total + m);
      }
      if (m < count) add_buffered_tile<W, V, Tile>(decoded, p.a, rows + m, count - m, a_block, total + m);
    }
  }
  for (int m = 0; m < count; ++m) {
    for (int v = 0; v < V; ++v) store_columns<W>(p.out, rows[m], first_column + v * W, total[m][v], p.weighted);
  }
}

/// Up to 64 rows times the columns [first_column, last_column).
template <class Shape, class View>
MILLET_HD MILLET_INLINE void multiply_buffered(const Product<View>& p, const RowPair* rows, int count,
                                               Index first_column, Index last_column) {
  for (Index column = first_column; column < last_column; column += Shape::W * Shape::V) {
    multiply_buffered_strip<Shape>(p, rows, count, column);
  }
}

}  // namespace millet::portable
