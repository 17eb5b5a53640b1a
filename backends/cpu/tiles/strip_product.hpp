// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/cpu/tiles/strip_arguments.hpp"
#include "millet/host_device.hpp"

// What the products have in common. They are templates over an instruction set's lanes: isa/<name>.cpp defines these in
// an unnamed namespace and instantiates strip_kernels.hpp with them. So each of these functions exists once for each of
// those files; whatever is no template is always inlined (a linker keeps one of several equal inline functions, and it
// may be the wrong one).
//
// Lanes are W of the 16 rows of a strip, V = 16 / W vectors of them:
//   Codes load_codes(p)                     4 * W bytes, a dword of 4 k for each lane
//   decode_normal<Pair>(codes, Float (&)[2])  k = Pair and Pair + 2 of the four, Pair 0 or 1, times 2^weight_exponent;
//                                           subnormals become f32 subnormals, NaN some number
//   decode_exact<Pair>(codes, Float (&)[2]) the same times 2^exact_weight_exponent; subnormals become normal numbers
//   NanScan                                 add(codes); poison(sum): NaN where a lane's codes held one
//   Float scale_factor(p, offset)           2^(code - 127 + offset) of W scale codes; the result is normal or meets 0
//   zero, broadcast(p), load(p), store(p, x), multiply, multiply_add(a, b, c) = a * b + c

/// The order of every sum: within a block of 32, from zero, k = 0 2 1 3, 4 6 5 7 and so on, as decoding gives them;
/// then the scaled block sums, ascending, from zero. It depends on nothing else, so a row of C has the same bits
/// whatever kernel, instruction set, number of rows or thread count. All products of a weight and an activation are
/// exact, and so are those of a block sum and a power of two unless they leave f32's normal range: so neither does it
/// matter which factor carries a scale.

namespace millet::cpu {

inline constexpr int exact_weight_exponent = -104;
/// What brings products of exactly decoded weights to the scale of the others.
inline constexpr float exact_unit = 0x1p-16F;
/// The smallest normal e4m3, 2^-6, decoded exactly.
inline constexpr float smallest_exact_normal = 0x1p-110F;
inline constexpr float one = 1.0F;
/// The e8m0 code of 2^0.
inline constexpr int code_of_one = 127;
static_assert(weight_exponent == -120 && exact_weight_exponent == -104);

/// What makes a magnitude of e4m3 a number, signed, that is linear in the bits of the bf16 of its value: with the three
/// bits of mantissa of a code, a bf16 is 16 * (number + 128) under exact_weight_exponent. A normal code is its own
/// number; a subnormal is too large by what its leading zeros are worth, and zero is -128. An index with bit 7 set
/// gives no correction, as byte shuffles have it; a subnormal's is correction_index + its magnitude.
struct Corrections {
  alignas(64) std::uint8_t bytes[64];
};
inline constexpr std::int8_t correction_index = 120;
inline constexpr std::int16_t corrected_zero = 128 * 16;

constexpr Corrections make_corrections() noexcept {
  Corrections table{};
  for (int i = 0; i < 64; ++i) {
    constexpr std::uint8_t of_magnitude[] = {128, 17, 10, 7, 4, 3, 2, 1};
    if (i % 16 >= 8) table.bytes[i] = of_magnitude[i % 8];
  }
  return table;
}
inline constexpr Corrections corrections = make_corrections();

/// How weights are decoded: subnormals become f32 subnormals, or normal numbers; NaN becomes some number by both.
enum class Route { normal, exact };

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

/// How far ahead of the codes in use others are asked for, in bytes.
struct PrefetchDistance {
  Index l1;
  Index l2;
};

MILLET_INLINE void prefetch_codes(const std::uint8_t* here, const PrefetchDistance& ahead) noexcept {
  __builtin_prefetch(here + ahead.l1, 0, 3);
  __builtin_prefetch(here + ahead.l2, 0, 2);
}

}  // namespace millet::cpu
