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
/// count. All products of a weight and an activation are exact, and those of a block sum and a power of two are unless
/// they leave f32's normal range; short of that it makes no difference where the compiler fuses a multiplication with
/// an addition.

/// Notices codes that decode_normal cannot decode, with two or three operations a vector.
/// \tparam Native  subnormals may stand in f32 as subnormals, so only NaN codes matter (native_subnormals)
template <int W, bool Native>
class CodeScan {
 public:
  using Word = typename Lanes<W>::Word;

  MILLET_HD MILLET_INLINE void add(const Word& codes) {
    if constexpr (W > 1) {
      // Twice the code drops its sign. Then NaN is the largest byte; with 16 less, it is among the largest together
      // with the subnormals, and zeros, which are as rare.
      const auto bytes = same_bits<Seen>(codes);
      const Seen shifted = bytes + bytes - wanted_below;
      seen_ = shifted > seen_ ? shifted : seen_;
    } else {
      seen_ |= Native ? nan_flags<W>(codes) : exact_decode_flags<W>(codes);
    }
  }
  [[nodiscard]] MILLET_HD MILLET_INLINE bool suspects() const {
    if constexpr (W > 1) {
      constexpr int largest_normal = 2 * 0x7E - wanted_below;
      return any<W>(same_bits<Word>(seen_ > largest_normal));
    } else {
      return (seen_ & exact_decode_bits) != 0;
    }
  }

 private:
  using Seen = typename Lanes<W>::Byte;
  static constexpr int wanted_below = Native ? 0 : 16;
  Seen seen_{};
};

/// The sums over `Blocks` consecutive blocks, times 2^product_exponent, for M rows times V vectors, as if every code
/// were normal or zero. They are independent chains: one alone would wait for the latency of each multiply-add. \param
/// x  for each block and row of A, its 32 activations
template <int W, int V, int M, int Blocks, bool Native, class View>
MILLET_HD MILLET_INLINE void sum_blocks(const WeightRows<View>& b, const float* const (&x)[Blocks][M], Index block,
                                        CodeScan<W, Native>& scan, typename Lanes<W>::Float (&sums)[Blocks][M][V]) {
#pragma GCC unroll 1
  for (int q = 0; q < 8; ++q) {
#pragma GCC unroll 4
    for (int i = 0; i < Blocks; ++i) {
      b.template prefetch_values<W>(block + i, q);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        const auto codes = b.template load_values<W>(v, block + i, q);
        scan.add(codes);
        typename Lanes<W>::Float w[4];
        decode_normal<W>(codes, w);
#pragma GCC unroll 4
        for (int byte = 0; byte < 4; ++byte) {
#pragma GCC unroll 4
          for (int m = 0; m < M; ++m) sums[i][m][v] += w[byte] * x[i][m][4 * q + byte];
        }
      }
    }
  }
}

/// Whether a CodeScan suspects one block.
template <int W, int V, bool Native, class View>
MILLET_HD MILLET_INLINE bool suspects_block(const WeightRows<View>& b, Index block) {
  CodeScan<W, Native> scan;
#pragma GCC unroll 2
  for (int q = 0; q < 8; ++q) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) scan.add(b.template load_values<W>(v, block, q));
  }
  return scan.suspects();
}

/// The sums over one block, for any codes: the dwords that need it are decoded exactly. Same order, same bits.
template <int W, int V, int M, class View>
MILLET_HD MILLET_INLINE void sum_block_exactly(const WeightRows<View>& b, const float* const (&x)[M], Index block,
                                               typename Lanes<W>::Float (&sums)[M][V]) {
  using Float = typename Lanes<W>::Float;
  using Word = typename Lanes<W>::Word;
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sums[m][v] = Float{};
  }
#pragma GCC unroll 1
  for (int q = 0; q < 8; ++q) {
    Word codes[V];
    Word flags{};
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      codes[v] = b.template load_values<W>(v, block, q);
      flags |= exact_decode_flags<W>(codes[v]);
    }
    Float w[V][4];
    float x_factor = 1.0F;
    if (any<W>(flags & exact_decode_bits)) [[unlikely]] {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) decode_exact<W>(codes[v], w[v]);
      x_factor = exact_decode_factor;
    } else {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) decode_normal<W>(codes[v], w[v]);
    }
#pragma GCC unroll 4
    for (int byte = 0; byte < 4; ++byte) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        const float x_byte = x[m][4 * q + byte] * x_factor;
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sums[m][v] += w[v][byte] * x_byte;
      }
    }
  }
}

/// Adds to M rows times V vectors what `Blocks` blocks, from `block` on, contribute.
/// \param scales  for each vector, the scale codes of the group of blocks from block - first_byte on
template <int W, int V, int M, int Blocks, bool Native, class View>
MILLET_HD MILLET_INLINE void add_blocks(const WeightRows<View>& b, const DecodedActivations& a,
                                        const RowPair (&rows)[M], Index block, int first_byte,
                                        const typename Lanes<W>::Word (&scales)[V], bool plain_scales,
                                        typename Lanes<W>::Float (&total)[M][V]) {
  using Float = typename Lanes<W>::Float;
  const float* x[Blocks][M];
  std::int32_t a_scales[Blocks][M];
#pragma GCC unroll 4
  for (int i = 0; i < Blocks; ++i) {
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      x[i][m] = a.block_row(block + i, rows[m].a);
      a_scales[i][m] = a.scale(block + i, rows[m].a);
      plain_scales = plain_scales && is_plain_scale(a_scales[i][m]);
    }
  }

  Float sums[Blocks][M][V] = {};
  CodeScan<W, Native> scan;
  sum_blocks<W, V, M, Blocks, Native>(b, x, block, scan, sums);
  if (scan.suspects()) [[unlikely]] {
#pragma GCC unroll 4
    for (int i = 0; i < Blocks; ++i) {
      if (Blocks == 1 || suspects_block<W, V, Native>(b, block + i))
        sum_block_exactly<W, V, M>(b, x[i], block + i, sums[i]);
    }
  }

#pragma GCC unroll 4
  for (int i = 0; i < Blocks; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        if (plain_scales) [[likely]] {
          total[m][v] += sums[i][m][v] * plain_scale_factor<W>(scales[v], first_byte + i, a_scales[i][m]);
        } else {
          total[m][v] += scale_block_sum<W>(sums[i][m][v], scale_code<W>(scales[v], first_byte + i), a_scales[i][m]);
        }
      }
    }
  }
}

/// M rows times V vectors of W columns, straight from the codes: for few rows, where decoding costs more than
/// multiplying. Handles columns first_column .. first_column + V * W - 1; all rows share one pass over the weights.
template <class Shape, int M, class View>
MILLET_HD MILLET_INLINE void direct_product(const View& weights, const DecodedActivations& a, const RowPair (&rows)[M],
                                            Index first_column, bool weighted, const OutputColumns& out) {
  constexpr int W = Shape::W;
  constexpr int V = Shape::V;
  // With 8 accumulators, g++ 12 makes 15 % slower code of the version without the check for subnormals.
  constexpr bool Native = Shape::native_subnormals && V * M < 8;
  // Two blocks make V * M * 2 independent chains where V * M alone would wait for the multiply-adds' latency.
  constexpr int blocks_at_once = V * M >= 8 ? 1 : 2;
  const WeightRows<View> b(weights, first_column);
  typename Lanes<W>::Float total[M][V] = {};
  const Index blocks = MxBlock::count(weights.cols());
  for (Index group = 0; group < blocks; group += blocks_per_scale_word) {
    typename Lanes<W>::Word scales[V];
    bool plain_scales = true;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      scales[v] = b.template load_scales<W>(v, group);
      plain_scales = plain_scales && are_plain_scales<W>(scales[v]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < blocks_per_scale_word; i += blocks_at_once) {
      if (group + i + blocks_at_once <= blocks) {
        add_blocks<W, V, M, blocks_at_once, Native>(b, a, rows, group + i, i, scales, plain_scales, total);
      } else if (group + i < blocks) {
        add_blocks<W, V, M, 1, Native>(b, a, rows, group + i, i, scales, plain_scales, total);
      }
    }
  }
  for (int m = 0; m < M; ++m) {
    for (int v = 0; v < V; ++v) store_columns<W>(out, rows[m], first_column + v * W, total[m][v], weighted);
  }
}

/// Rows that one pass over the weights serves: their sums stay in L1 (64 rows of 16 floats are 4 KiB).
inline constexpr int rows_per_pass = 64;

/// One block's contribution to `Tile` rows from m on, `kept` of which exist (the others repeat the last one).
template <int W, int V, int Tile>
MILLET_HD MILLET_INLINE void add_buffered_tile(const typename Lanes<W>::Float (&decoded)[MxBlock::k][V],
                                               const typename Lanes<W>::Int (&b_scale)[V], float factor,
                                               const DecodedActivations& a, const RowPair* rows, int kept, Index block,
                                               typename Lanes<W>::Float (*total)[V]) {
  using Float = typename Lanes<W>::Float;
  const float* a_rows[Tile];
#pragma GCC unroll 12
  for (int i = 0; i < Tile; ++i) a_rows[i] = a.block_row(block, rows[i < kept ? i : kept - 1].a);
  Float sums[Tile][V] = {};
#pragma GCC unroll 2
  for (int k = 0; k < MxBlock::k; ++k) {
#pragma GCC unroll 12
    for (int i = 0; i < Tile; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[i][v] += decoded[k][v] * a_rows[i][k];
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < Tile; ++i) {
    if (i >= kept) break;
    const std::int32_t a_scale = a.scale(block, rows[i].a);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) total[i][v] += scale_block_sum<W>(sums[i][v] * factor, b_scale[v], a_scale);
  }
}

/// Decodes one block into a buffer. \return false where Exact would have been needed
template <int W, int V, bool Exact, bool Native, class View>
MILLET_HD MILLET_INLINE bool decode_block(const WeightRows<View>& b, Index block,
                                          typename Lanes<W>::Float (&decoded)[MxBlock::k][V]) {
  CodeScan<W, Native> scan;
#pragma GCC unroll 1
  for (int q = 0; q < 8; ++q) {
    b.template prefetch_values<W>(block, q);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const auto codes = b.template load_values<W>(v, block, q);
      typename Lanes<W>::Float w[4];
      if constexpr (Exact) {
        decode_exact<W>(codes, w);
      } else {
        scan.add(codes);
        decode_normal<W>(codes, w);
      }
#pragma GCC unroll 4
      for (int byte = 0; byte < 4; ++byte) decoded[4 * q + byte][v] = w[byte];
    }
  }
  return !scan.suspects();
}

/// Up to 64 rows times V vectors of W columns: each block of weights is decoded once, into a buffer of 2 KiB on the
/// host, and multiplied with all rows, `Tile` rows at a time in registers. \param count  rows in use, at least 1
template <class Shape, class View>
MILLET_HD MILLET_INLINE void buffered_product(const View& weights, const DecodedActivations& a, const RowPair* rows,
                                              int count, Index first_column, bool weighted, const OutputColumns& out) {
  constexpr int W = Shape::W;
  constexpr int V = Shape::V;
  constexpr int Tile = Shape::tile;
  constexpr bool Native = Shape::native_subnormals;
  using Float = typename Lanes<W>::Float;
  const WeightRows<View> b(weights, first_column);
  Float total[rows_per_pass][V];
  for (int m = 0; m < count; ++m) {
    for (int v = 0; v < V; ++v) total[m][v] = Float{};
  }
  const Index blocks = MxBlock::count(weights.cols());
  for (Index block = 0; block < blocks; ++block) {
    Float decoded[MxBlock::k][V];
    float factor = 1.0F;
    if (!decode_block<W, V, false, Native>(b, block, decoded)) [[unlikely]] {
      decode_block<W, V, true, Native>(b, block, decoded);
      factor = exact_decode_factor;
    }
    const int byte = static_cast<int>(block % blocks_per_scale_word);
    typename Lanes<W>::Int b_scale[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) b_scale[v] = scale_code<W>(b.template load_scales<W>(v, block - byte), byte);
    int m = 0;
    for (; m + Tile <= count; m += Tile) {
      add_buffered_tile<W, V, Tile>(decoded, b_scale, factor, a, rows + m, Tile, block, total + m);
    }
    if (m < count) add_buffered_tile<W, V, Tile>(decoded, b_scale, factor, a, rows + m, count - m, block, total + m);
  }
  for (int m = 0; m < count; ++m) {
    for (int v = 0; v < V; ++v) store_columns<W>(out, rows[m], first_column + v * W, total[m][v], weighted);
  }
}

}  // namespace millet::portable
