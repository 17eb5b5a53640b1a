// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>

#include "millet/backends/cpu/tiles/strip_arguments.hpp"

// The products, as templates over an instruction set's lanes: isa/<name>.cpp defines them in an unnamed namespace and
// instantiates everything here with them. So each of these functions exists once for each of those files; whatever is
// no template is always inlined (a linker keeps one of several equal inline functions, and it may be the wrong one).
//
// Lanes are W of the 16 rows of a strip, V = 16 / W vectors of them:
//   Codes load_codes(p)                     4 * W bytes, a dword of 4 k for each lane
//   decode_normal<Pair>(codes, Float (&)[2])  k = Pair and Pair + 2 of the four, Pair 0 or 1, times 2^weight_exponent;
//   no
//                                           NaN; subnormals become f32 subnormals
//   decode_exact<Pair>(codes, Float (&)[2]) the same times 2^exact_weight_exponent; every code
//   NanScan                                 add(codes); poison(sum): NaN where a lane's codes held one
//   Float scale_factor(p, offset)           2^(code - 127 + offset) of W scale codes; the result is normal or meets 0
//   zero, broadcast(p), load(p), store(p, x), multiply, multiply_add(a, b, c) = a * b + c

/// The order of every sum: within a block of 32, from zero, k = 0 2 1 3, 4 6 5 7 and so on, as decoding gives them;
/// then the scaled block sums, ascending, from zero. It depends on nothing else, so a row of C has the same bits
/// whatever kernel, instruction set, number of rows or thread count. All products of a weight and an activation are
/// exact, and so are those of a block sum and a power of two unless they leave f32's normal range: so neither does it
/// matter which factor carries a scale.

namespace millet::cpu {

inline constexpr int exact_weight_exponent = -60;
/// What brings products of exactly decoded weights to the scale of the others.
inline constexpr float exact_unit = 0x1p-60F;
inline constexpr float one = 1.0F;
/// The e8m0 code of 2^0.
inline constexpr int code_of_one = 127;
static_assert(weight_exponent == -120 && exact_weight_exponent == -60);

/// How weights are decoded: as if every code were normal or zero; also finding NaN; every code.
enum class Route { normal, scanned, exact };

/// A strip, from some block on.
struct Strip {
  const std::uint8_t* values;
  const std::uint8_t* scales;
  const std::uint8_t* properties;
};

MILLET_INLINE float power_of_two(int exponent_field) noexcept {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(exponent_field) << 23);
}

/// sum * 2^(a_scale + b_scale - 254 - product_exponent), rounded once: what one block adds to C. Any scales.
///
/// The exponent is wider than f32's, so it is applied in two halves, and capped: the smallest nonzero sum is 2^-78,
/// where an activation contains its scale, and infinite from 2^206 on. The halves round once only: where the first
/// leaves the normal range, the second takes the result below half the smallest subnormal. Code 255 makes the result
/// NaN.
MILLET_INLINE float scale_block_sum(float sum, int b_scale, int a_scale) noexcept {
  constexpr int cap = 254 + 210;
  int fields = b_scale + a_scale - product_exponent;
  fields = fields > cap ? cap : fields;
  const int half = fields >> 1;
  const bool nan = a_scale == 255 || b_scale == 255;
  return sum * power_of_two(half) * (nan ? __builtin_nanf("") : power_of_two(fields - half));
}

MILLET_INLINE std::uint16_t round_to_bf16(float x) noexcept {
  const auto word = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t rounded = (word + 0x7FFF + ((word >> 16) & 1)) >> 16;
  const std::uint32_t quiet = (word >> 16) | 0x40;
  return static_cast<std::uint16_t>((word & 0x7FFFFFFFU) > 0x7F800000U ? quiet : rounded);
}

/// Writes up to 16 columns of a row of C from `column` on.
MILLET_INLINE void store_columns(const OutputArguments& c, const RowPair& row, Index column, float* sums) noexcept {
  if (c.weighted) {
    for (int i = 0; i < strip_rows; ++i) sums[i] *= row.weight;
  }
  const int kept = static_cast<int>(c.n - column < strip_rows ? c.n - column : strip_rows);
  const Index offset = row.c * c.row_stride + column;
  if (c.bf16) {
    std::uint16_t narrow[strip_rows];
    for (int i = 0; i < strip_rows; ++i) narrow[i] = round_to_bf16(sums[i]);
    std::uint16_t* const to = static_cast<std::uint16_t*>(c.values) + offset;
    if (kept == strip_rows) {
      __builtin_memcpy(to, narrow, sizeof(narrow));
    } else {
      for (int i = 0; i < kept; ++i) to[i] = narrow[i];
    }
  } else {
    float* const to = static_cast<float*>(c.values) + offset;
    if (kept == strip_rows) {
      __builtin_memcpy(to, sums, strip_rows * sizeof(float));
    } else {
      for (int i = 0; i < kept; ++i) to[i] = sums[i];
    }
  }
}

template <class L, Route R, int Pair>
MILLET_INLINE void decode_pair(typename L::Codes codes, typename L::Float (&w)[2]) noexcept {
  if constexpr (R == Route::exact) {
    L::template decode_exact<Pair>(codes, w);
  } else {
    L::template decode_normal<Pair>(codes, w);
  }
}

/// All four in the order of the sums.
template <class L, Route R>
MILLET_INLINE void decode_four(typename L::Codes codes, typename L::Float (&w)[4]) noexcept {
  typename L::Float even[2];
  typename L::Float odd[2];
  decode_pair<L, R, 0>(codes, even);
  decode_pair<L, R, 1>(codes, odd);
  w[0] = even[0];
  w[1] = even[1];
  w[2] = odd[0];
  w[3] = odd[1];
}

/// What a block must promise for the fast way.
MILLET_INLINE unsigned needed_properties(const StripProduct& p) noexcept {
  constexpr unsigned no_block_has_it = 0x80;
  return no_nans | plain_scales | (p.native_subnormals ? 0U : no_subnormals) | (p.a.plain ? 0U : no_block_has_it);
}

/// Asks for the codes 2 KB ahead of `here` in L1 and 8 KB ahead in L2: hardware prefetchers alone hide too little of
/// the latency of memory (docs/performance/cpu.md). Past a strip's end the next one begins.
MILLET_INLINE void prefetch_codes(const std::uint8_t* here) noexcept {
  __builtin_prefetch(here + 2048, 0, 3);
  __builtin_prefetch(here + 8192, 0, 2);
}

// --- Packed weights, and row-major ones packed on the way ------------------------------------------------------------

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

// --- Few rows: straight from the codes -------------------------------------------------------------------------------

/// Adds one block of S strips to M rows. \param x  the block's activations of each row
template <class L, int M, int S, Route R>
MILLET_INLINE void add_block(const std::uint8_t* const (&values)[S], const std::uint8_t* const (&scales)[S],
                             const float* const (&x)[M], const std::uint8_t* general_a_scales, const RowPair* rows,
                             typename L::Float (*total)[M]) noexcept {
  using Float = typename L::Float;
  constexpr int V = strip_rows / L::W;
  // As many vectors at once as leave registers for their accumulators, a power of two.
  constexpr int fitting = L::accumulators / M;
  constexpr int wanted = fitting >= 8 ? 8 : fitting >= 4 ? 4 : fitting >= 2 ? 2 : 1;
  constexpr int G = wanted < S * V ? wanted : S * V;
#pragma GCC unroll 16
  for (int first = 0; first < S * V; first += G) {
    Float sums[G][M];
#pragma GCC unroll 8
    for (int i = 0; i < G; ++i) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) sums[i][m] = L::zero();
    }
#pragma GCC unroll 1
    for (int q = 0; q < block_k / 4; ++q) {
#pragma GCC unroll 8
      for (int i = 0; i < G; ++i) {
        if ((first + i) % V == 0) prefetch_codes(values[(first + i) / V] + 64 * q);
      }
      const auto add_pair = [&]<int Pair>(std::integral_constant<int, Pair>) __attribute__((always_inline)) {
#pragma GCC unroll 8
        for (int i = 0; i < G; ++i) {
          const auto codes = L::load_codes(values[(first + i) / V] + 64 * q + (first + i) % V * 4 * L::W);
          Float w[2];
          decode_pair<L, R, Pair>(codes, w);
#pragma GCC unroll 2
          for (int j = 0; j < 2; ++j) {
#pragma GCC unroll 8
            for (int m = 0; m < M; ++m) {
              Float activation = L::broadcast(x[m] + 4 * q + 2 * Pair + j);
              if constexpr (R == Route::exact) activation = L::multiply(activation, L::broadcast(&exact_unit));
              sums[i][m] = L::multiply_add(w[j], activation, sums[i][m]);
            }
          }
        }
      };
      add_pair(std::integral_constant<int, 0>{});
      add_pair(std::integral_constant<int, 1>{});
    }
#pragma GCC unroll 8
    for (int i = 0; i < G; ++i) {
      const std::uint8_t* const codes = scales[(first + i) / V] + (first + i) % V * L::W;
      if constexpr (R == Route::scanned) {
        // By now in L1; in the loop above the scan would take registers from the sums.
        typename L::NanScan scan;
#pragma GCC unroll 8
        for (int q = 0; q < block_k / 4; ++q) {
          scan.add(L::load_codes(values[(first + i) / V] + 64 * q + (first + i) % V * 4 * L::W));
        }
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) sums[i][m] = scan.poison(sums[i][m]);
      }
      if (general_a_scales == nullptr) [[likely]] {
        const Float factor = L::scale_factor(codes, -product_exponent);
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) total[first + i][m] = L::multiply_add(sums[i][m], factor, total[first + i][m]);
      } else {
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          float lanes[L::W];
          L::store(lanes, sums[i][m]);
          for (int lane = 0; lane < L::W; ++lane) {
            lanes[lane] = scale_block_sum(lanes[lane], codes[lane], general_a_scales[rows[m].a]);
          }
          total[first + i][m] = L::multiply_add(L::load(lanes), L::broadcast(&one), total[first + i][m]);
        }
      }
    }
  }
}

/// One block of S strips with any codes and plain scales.
template <class L, int M, int S>
[[gnu::noinline]] void add_exceptional_block(const StripProduct& p, const std::uint8_t* const (&values)[S],
                                             const std::uint8_t* const (&scales)[S], const float* const (&x)[M],
                                             typename L::Float (*total)[M]) noexcept {
  if (p.native_subnormals) {
    add_block<L, M, S, Route::scanned>(values, scales, x, nullptr, p.rows, total);
  } else {
    add_block<L, M, S, Route::exact>(values, scales, x, nullptr, p.rows, total);
  }
}

/// One block of one strip with any codes and scales.
template <class L, int M>
[[gnu::noinline]] void add_any_block(const StripProduct& p, const std::uint8_t* values, const std::uint8_t* scales,
                                     unsigned properties, const float* const (&x)[M], Index block,
                                     typename L::Float (*total)[M]) noexcept {
  const std::uint8_t* const values_of[1] = {values};
  const std::uint8_t* const scales_of[1] = {scales};
  const bool general = (properties & plain_scales) == 0 || !p.a.plain;
  const bool normal = (properties & no_nans) != 0 && ((properties & no_subnormals) != 0 || p.native_subnormals);
  const std::uint8_t* const general_a_scales = general ? p.a.scales + block * p.a.rows : nullptr;
  if (normal) {
    add_block<L, M, 1, Route::normal>(values_of, scales_of, x, general_a_scales, p.rows, total);
  } else if (!general) {
    add_exceptional_block<L, M, 1>(p, values_of, scales_of, x, total);
  } else {
    add_block<L, M, 1, Route::exact>(values_of, scales_of, x, general_a_scales, p.rows, total);
  }
}

template <class L, int M, int S>
void multiply_strips_directly(const StripProduct& p, Index first_strip) noexcept {
  using Float = typename L::Float;
  constexpr int V = strip_rows / L::W;
  Float total[S * V][M];
  for (int i = 0; i < S * V; ++i) {
    for (int m = 0; m < M; ++m) total[i][m] = L::zero();
  }
  const unsigned needed = needed_properties(p);
  const Index block_stride = p.a.rows * block_k;
  for_parts_of_strips<L, S>(p.b, first_strip, [&](const Strip(&strips)[S], Index first_block, Index count) {
    for (Index block = 0; block < count; ++block) {
      const std::uint8_t* values[S];
      const std::uint8_t* scales[S];
      unsigned in_all = 0xFF;
      unsigned in_any = 0;
      for (int s = 0; s < S; ++s) {
        values[s] = strips[s].values + block * strip_block;
        scales[s] = strips[s].scales + block * strip_rows;
        in_all &= strips[s].properties[block];
        in_any |= strips[s].properties[block];
      }
      const float* x[M];
      for (int m = 0; m < M; ++m) x[m] = p.a.values + (first_block + block) * block_stride + p.rows[m].a * block_k;
      if ((in_all & needed) == needed) [[likely]] {
        add_block<L, M, S, Route::normal>(values, scales, x, nullptr, p.rows, total);
      } else if ((in_any & needed) != needed && (in_all & plain_scales) != 0 && p.a.plain) {
        add_exceptional_block<L, M, S>(p, values, scales, x, total);
      } else {
        for (int s = 0; s < S; ++s) {
          add_any_block<L, M>(p, values[s], scales[s], strips[s].properties[block], x, first_block + block,
                              total + s * V);
        }
      }
    }
  });
  for (int s = 0; s < S; ++s) {
    for (int m = 0; m < M; ++m) {
      alignas(64) float sums[strip_rows];
      for (int v = 0; v < V; ++v) L::store(sums + v * L::W, total[s * V + v][m]);
      store_columns(p.c, p.rows[m], (first_strip + s) * strip_rows, sums);
    }
  }
}

template <class L, int M>
void multiply_rows_directly(const StripProduct& p, Index strip, Index last_strip) noexcept {
  if constexpr (L::strips_at_once(M) >= 4) {
    for (; p.strips_at_once >= 4 && strip + 4 <= last_strip; strip += 4) multiply_strips_directly<L, M, 4>(p, strip);
  }
  if constexpr (L::strips_at_once(M) >= 2) {
    for (; p.strips_at_once >= 2 && strip + 2 <= last_strip; strip += 2) multiply_strips_directly<L, M, 2>(p, strip);
  }
  for (; strip < last_strip; ++strip) multiply_strips_directly<L, M, 1>(p, strip);
}

template <class L>
void multiply_directly(const StripProduct& p, Index first_strip, Index last_strip) noexcept {
  switch (p.count) {
    case 1:
      return multiply_rows_directly<L, 1>(p, first_strip, last_strip);
    case 2:
      return multiply_rows_directly<L, 2>(p, first_strip, last_strip);
    case 3:
      return multiply_rows_directly<L, 3>(p, first_strip, last_strip);
    case 4:
      return multiply_rows_directly<L, 4>(p, first_strip, last_strip);
    case 5:
      return multiply_rows_directly<L, 5>(p, first_strip, last_strip);
    case 6:
      return multiply_rows_directly<L, 6>(p, first_strip, last_strip);
    case 7:
      return multiply_rows_directly<L, 7>(p, first_strip, last_strip);
    default:
      static_assert(most_direct_rows == 8);
      return multiply_rows_directly<L, 8>(p, first_strip, last_strip);
  }
}

// --- Many rows: through a buffer of decoded weights
// -------------------------------------------------------------------

/// 256 k of T strips, decoded.
template <int T>
struct DecodedStrips {
  alignas(64) float values[T][packed_blocks * block_k][strip_rows];
  /// What takes a block's sum to C, where all its scales and those of A are plain.
  alignas(64) float factors[T][packed_blocks][strip_rows];
  const std::uint8_t* scales[T][packed_blocks];
  float units[T][packed_blocks];  ///< what brings a block's sums to 2^product_exponent
  bool general[packed_blocks];
};

template <class L, int T>
void decode_strips(const StripProduct& p, const Strip (&strips)[T], Index block, int count,
                   DecodedStrips<T>& decoded) noexcept {
  using Float = typename L::Float;
  constexpr int V = strip_rows / L::W;
  for (int i = 0; i < count; ++i) {
    decoded.general[i] = !p.a.plain;
    for (int t = 0; t < T; ++t) {
      const unsigned properties = strips[t].properties[block + i];
      const std::uint8_t* const values = strips[t].values + (block + i) * strip_block;
      const std::uint8_t* const scales = strips[t].scales + (block + i) * strip_rows;
      const unsigned needed = no_nans | (p.native_subnormals ? 0U : no_subnormals);
      const bool exact = (properties & needed) != needed;
      for (int q = 0; q < block_k / 4; ++q) {
        prefetch_codes(values + 64 * q);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          const auto codes = L::load_codes(values + 64 * q + v * 4 * L::W);
          Float w[4];
          if (exact) [[unlikely]] {
            decode_four<L, Route::exact>(codes, w);
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
    for (Index block = 0; block < blocks; block += packed_blocks) {
      const int count = static_cast<int>(blocks - block < packed_blocks ? blocks - block : packed_blocks);
      decode_strips<L, T>(p, strips, block, count, decoded);
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

template <class L>
void multiply_buffered(const StripProduct& p, Index strip, Index last_strip) noexcept {
  constexpr int T = L::tile_strips;
  for (; strip + T <= last_strip; strip += T) multiply_strips_buffered<L, T>(p, strip);
  if constexpr (T > 1) {
    for (; strip < last_strip; ++strip) multiply_strips_buffered<L, 1>(p, strip);
  }
}

// --- Activations -----------------------------------------------------------------------------------------------------

template <class L>
bool decode_activations(const std::uint8_t* codes, const std::uint8_t* scales, Index blocks,
                        const DecodedActivations& a, Index first, Index row) noexcept {
  bool all_plain = true;
  for (Index block = 0; block < blocks; ++block) {
    const std::uint8_t* const from = codes + block * block_k;
    float* const to = a.values + ((first + block) * a.rows + row) * block_k;
    const int scale = scales[block];
    unsigned magnitudes = 0;
    for (int i = 0; i < block_k; ++i) magnitudes |= from[i] & 0x7FU;
    const bool plain = scale <= largest_plain_scale && (scale >= smallest_plain_scale || magnitudes == 0);
    // A block of zeros has any of the small scales.
    const int field =
        activation_exponent + (plain ? (scale < smallest_plain_scale ? code_of_one : scale) : code_of_one);
    const float factor = power_of_two(field);
    // In the order of the sums: the middle two of each four change places.
    std::uint8_t ordered[block_k];
    for (int q = 0; q < block_k / 4; ++q) {
      std::uint32_t four;
      __builtin_memcpy(&four, from + 4 * q, 4);
      four = (four & 0xFF0000FFU) | (four & 0xFF00U) << 8 | (four & 0xFF0000U) >> 8;
      __builtin_memcpy(ordered + 4 * q, &four, 4);
    }
    for (int i = 0; i < block_k; ++i) {
      const std::uint32_t code = ordered[i];
      const std::uint32_t magnitude = code & 0x7FU;
      const std::uint32_t normal = (magnitude << 20) + (120U << 23);
      const auto subnormal =
          __builtin_bit_cast(std::uint32_t, static_cast<float>(static_cast<int>(magnitude)) * 0x1p-9F);
      const std::uint32_t finite = magnitude < 8 ? subnormal : normal;
      const std::uint32_t bits = (magnitude == 0x7F ? 0x7FC00000U : finite) | (code & 0x80U) << 24;
      to[i] = __builtin_bit_cast(float, bits) * factor;
    }
    a.scales[(first + block) * a.rows + row] = static_cast<std::uint8_t>(plain ? code_of_one : scale);
    all_plain = all_plain && plain;
  }
  return all_plain;
}

// --- The table -------------------------------------------------------------------------------------------------------

template <class L, bool Exact>
void decode_weights(const std::uint8_t* codes, float* values) noexcept {
  for (int v = 0; v < strip_rows / L::W; ++v) {
    typename L::Float w[4];
    decode_four<L, Exact ? Route::exact : Route::normal>(L::load_codes(codes + v * 4 * L::W), w);
    for (int j = 0; j < 4; ++j) L::store(values + j * strip_rows + v * L::W, w[j]);
  }
}

template <class L>
inline constexpr StripKernels kernels_of{multiply_directly<L>,
                                         multiply_buffered<L>,
                                         decode_activations<L>,
                                         {decode_weights<L, false>, 0x1p120F, false, false},
                                         {decode_weights<L, true>, 0x1p60F, true, true}};

}  // namespace millet::cpu
