// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>

#include "millet/host_device.hpp"
#include "millet/numeric/e4m3.hpp"

namespace millet::portable {

/// W lanes of 32 bits: a vector register of the host, or with W = 1 a thread of a device. Written with the compiler's
/// vector types, whose operators also take the scalars of W = 1, so that one body serves both.
template <int W>
struct Lanes {
  typedef float Float __attribute__((vector_size(4 * W)));
  typedef std::int32_t Int __attribute__((vector_size(4 * W)));
  typedef std::uint32_t Word __attribute__((vector_size(4 * W)));
  typedef std::int16_t Half __attribute__((vector_size(4 * W)));
  typedef std::uint8_t Byte __attribute__((vector_size(4 * W)));
  typedef std::uint64_t Pair __attribute__((vector_size(4 * W)));
};

template <>
struct Lanes<1> {
  using Float = float;
  using Int = std::int32_t;
  using Word = std::uint32_t;
  using Byte = std::uint32_t;
};

template <class Vector, class Scalar>
MILLET_HD MILLET_INLINE void set_lane(Vector& v, int lane, Scalar x) {
  if constexpr (std::is_arithmetic_v<Vector>) {
    v = x;
  } else {
    v[lane] = x;
  }
}

template <class Vector>
MILLET_HD MILLET_INLINE auto get_lane(const Vector& v, int lane) {
  if constexpr (std::is_arithmetic_v<Vector>) {
    return v;
  } else {
    return +v[lane];
  }
}

/// The same bits as another type of the same size. (A cast between vector types keeps the bits; GCC 12 sends a
/// __builtin_bit_cast of vectors through memory.)
template <class To, class From>
MILLET_HD MILLET_INLINE To same_bits(const From& from) {
  if constexpr (std::is_arithmetic_v<To>) {
    return __builtin_bit_cast(To, from);
  } else {
    return reinterpret_cast<To>(from);
  }
}

/// Reads one vector from memory of any alignment.
template <class Vector>
MILLET_HD MILLET_INLINE Vector load(const void* from) {
  Vector v;
  __builtin_memcpy(&v, from, sizeof(v));
  return v;
}

/// Any lane nonzero?
template <int W>
MILLET_HD MILLET_INLINE bool any(const typename Lanes<W>::Word& v) {
  if constexpr (W == 1) {
    return v != 0;
  } else {
    const auto pairs = same_bits<typename Lanes<W>::Pair>(v);
    std::uint64_t all = 0;
    for (int i = 0; i < W / 2; ++i) all |= pairs[i];
    return all != 0;
  }
}

// Products of an activation and a weight are carried times 2^product_exponent, which keeps every value of the inner
// loop a normal f32: weights decode to w * 2^-120, activations to a * 2^60.
inline constexpr int weight_exponent = -120;
inline constexpr int activation_exponent = 60;
inline constexpr int product_exponent = weight_exponent + activation_exponent;

/// Four decoded weights of each lane, times 2^-120, from a dword of four codes: integer operations only.
///
/// A code's exponent and mantissa, moved to bits 20..26, are an f32 whose exponent field is e4m3's: its value is 2^-120
/// times the code's, for normal codes and zeros. Subnormal codes would become f32 subnormals (a microcode assist of
/// over 100 cycles on some CPUs, zero where the host set DAZ) and NaN a number; CodeScan finds the blocks that
/// hold one.
template <int W>
MILLET_HD MILLET_INLINE void decode_normal(const typename Lanes<W>::Word& codes, typename Lanes<W>::Float (&w)[4]) {
  using Float = typename Lanes<W>::Float;
  using Word = typename Lanes<W>::Word;
  // An arithmetic shift by 4 copies the sign over the bits above the exponent; the mask leaves the first copy.
  constexpr std::uint32_t sign_exponent_mantissa = 0x87F00000U;
  if constexpr (W == 1) {
    for (int byte = 0; byte < 4; ++byte) {
      const auto shifted = same_bits<std::int32_t>(codes << (24 - 8 * byte)) >> 4;
      w[byte] = same_bits<Float>(same_bits<Word>(shifted) & sign_exponent_mantissa);
    }
  } else {
    // Two codes a shift, in 16-bit lanes: 9 operations for 4 codes, 11 with 32-bit shifts.
    using Half = typename Lanes<W>::Half;
    const Word odd = same_bits<Word>(same_bits<Half>(codes) >> 4);
    const Word even = same_bits<Word>((same_bits<Half>(codes) << 8) >> 4);
    w[0] = same_bits<Float>((even << 16) & sign_exponent_mantissa);
    w[1] = same_bits<Float>((odd << 16) & sign_exponent_mantissa);
    w[2] = same_bits<Float>(even & sign_exponent_mantissa);
    w[3] = same_bits<Float>(odd & sign_exponent_mantissa);
  }
}

/// Where a byte is a nonzero subnormal or a NaN code, its bit of exact_decode_bits is set; the other bits mean nothing.
/// No carry crosses a byte: the largest sum is 0x7F + 0x7F.
inline constexpr std::uint32_t exact_decode_bits = 0x80808080U;
template <int W>
MILLET_HD MILLET_INLINE typename Lanes<W>::Word exact_decode_flags(const typename Lanes<W>::Word& codes) {
  const typename Lanes<W>::Word magnitude = codes & 0x7F7F7F7FU;
  const typename Lanes<W>::Word nonzero = magnitude + 0x7F7F7F7FU;
  const typename Lanes<W>::Word normal = magnitude + 0x78787878U;
  const typename Lanes<W>::Word nan = magnitude + 0x01010101U;
  return (nonzero & ~normal) | nan;
}

/// The same for NaN codes alone.
template <int W>
MILLET_HD MILLET_INLINE typename Lanes<W>::Word nan_flags(const typename Lanes<W>::Word& codes) {
  return (codes & 0x7F7F7F7FU) + 0x01010101U;
}

/// Each lane's integer as f32.
template <int W>
MILLET_HD MILLET_INLINE typename Lanes<W>::Float to_float(const typename Lanes<W>::Int& v) {
  if constexpr (W == 1) {
    return static_cast<float>(v);
  } else {
    return __builtin_convertvector(v, typename Lanes<W>::Float);
  }
}

/// What brings products of exactly decoded weights to the scale of the others.
inline constexpr float exact_decode_factor = 0x1p-60F;

/// As decode_normal, but for every code, and times 2^-60, which keeps e4m3's subnormals normal in f32. About three
/// times the operations; for blocks that hold such codes (5 % of the blocks of Gaussian weights).
template <int W>
MILLET_HD MILLET_INLINE void decode_exact(const typename Lanes<W>::Word& codes, typename Lanes<W>::Float (&w)[4]) {
  using L = Lanes<W>;
  using Int = typename L::Int;
#pragma GCC unroll 4
  for (int byte = 0; byte < 4; ++byte) {
    const Int code = same_bits<Int>(codes >> (8 * byte)) & 0xFF;
    const Int magnitude = code & 0x7F;
    const Int normal = (magnitude << 20) + ((120 - 60) << 23);  // rebias 7 to 127, times 2^-60
    const Int subnormal = same_bits<Int>(to_float<W>(magnitude) * 0x1p-69F);
    const Int nan = Int{} + 0x7FC00000;
    const Int finite = magnitude < 8 ? subnormal : normal;
    const Int unsigned_bits = magnitude == E4M3::nan_bits ? nan : finite;
    w[byte] = same_bits<typename L::Float>(unsigned_bits | ((code & 0x80) << 24));
  }
}

/// Code `byte` (0 is the lowest) of each lane's four scale codes.
template <int W>
MILLET_HD MILLET_INLINE typename Lanes<W>::Int scale_code(const typename Lanes<W>::Word& codes, int byte) {
  return same_bits<typename Lanes<W>::Int>((codes >> (8 * byte)) & 0xFFU);
}

/// sum * 2^(a_scale + b_scale - 254 - product_exponent), rounded once: what one block adds to C.
///
/// The exponent spans [-194, 314], wider than f32, so it is applied in two halves, and capped: the smallest nonzero
/// block sum, 2^-18, is infinite from 2^146 on. The halves round once only: where the first leaves the normal range,
/// the second takes the result below half the smallest subnormal. Code 255 makes the result NaN.
template <int W>
MILLET_HD MILLET_INLINE typename Lanes<W>::Float scale_block_sum(const typename Lanes<W>::Float& sum,
                                                                 const typename Lanes<W>::Int& b_scale,
                                                                 std::int32_t a_scale) {
  using Int = typename Lanes<W>::Int;
  using Float = typename Lanes<W>::Float;
  constexpr std::int32_t quiet_nan = 0x7FC00000;
  // The exponent plus twice the bias: its halves are exponent fields.
  constexpr std::int32_t cap = 150 - product_exponent + 254;
  const Int fields = b_scale + (a_scale - product_exponent);
  const Int capped = fields > cap ? Int{} + cap : fields;
  const Int half = capped >> 1;
  const Int poison = (b_scale == 255 ? Int{} + quiet_nan : Int{}) | (a_scale == 255 ? quiet_nan : 0);
  return sum * same_bits<Float>(half << 23) * same_bits<Float>(((capped - half) << 23) | poison);
}

// Scale codes in the middle of their range, 2^-47 to 2^33, need none of this: for a pair of them the power of two that
// brings a block sum to C is one normal f32, and so is every nonzero product with it. Rounds as scale_block_sum does.
inline constexpr int smallest_plain_scale = 80;
inline constexpr int largest_plain_scale = 160;

MILLET_HD MILLET_INLINE bool is_plain_scale(std::int32_t code) {
  return code >= smallest_plain_scale && code <= largest_plain_scale;
}

/// All four codes of every lane?
template <int W>
MILLET_HD MILLET_INLINE bool are_plain_scales(const typename Lanes<W>::Word& codes) {
  if constexpr (W > 1) {
    const auto above = same_bits<typename Lanes<W>::Byte>(codes) - smallest_plain_scale;
    return !any<W>(same_bits<typename Lanes<W>::Word>(above > largest_plain_scale - smallest_plain_scale));
  } else {
    return is_plain_scale(scale_code<W>(codes, 0)) && is_plain_scale(scale_code<W>(codes, 1)) &&
           is_plain_scale(scale_code<W>(codes, 2)) && is_plain_scale(scale_code<W>(codes, 3));
  }
}

/// 2^(a_scale + b_scale - 254 - product_exponent) for code `byte` of each lane and a_scale, plain ones.
template <int W>
MILLET_HD MILLET_INLINE typename Lanes<W>::Float plain_scale_factor(const typename Lanes<W>::Word& codes, int byte,
                                                                    std::int32_t a_scale) {
  constexpr std::uint32_t exponent_field = 0x7F800000U;
  const int left = 23 - 8 * byte;
  const typename Lanes<W>::Word field = (left > 0 ? codes << left : codes >> -left) & exponent_field;
  const auto offset = static_cast<std::uint32_t>(a_scale - 127 - product_exponent) << 23;
  return same_bits<typename Lanes<W>::Float>(field + offset);
}

}  // namespace millet::portable
