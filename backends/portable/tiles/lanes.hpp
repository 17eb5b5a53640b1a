// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "millet/host_device.hpp"
#include "millet/layout/block_properties.hpp"
#include "millet/numeric/e4m3.hpp"
#include "millet/numeric/e8m0.hpp"

namespace millet::portable {

/// W lanes of 32 bits: a vector register of the host, or with W = 1 a thread of a device. Written with the compiler's
/// vector types, whose operators also take the scalars of W = 1, so that one body serves both.
template <int W>
struct Lanes {
  typedef float Float __attribute__((vector_size(4 * W)));
  typedef std::int32_t Int __attribute__((vector_size(4 * W)));
  typedef std::uint32_t Word __attribute__((vector_size(4 * W)));
  typedef std::int16_t Half __attribute__((vector_size(4 * W)));
  typedef std::uint64_t Pair __attribute__((vector_size(4 * W)));
};

template <>
struct Lanes<1> {
  using Float = float;
  using Int = std::int32_t;
  using Word = std::uint32_t;
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

/// Two codes of each lane, times 2^-120: integer operations only. \param halves  a code in the upper byte of each of a
/// lane's two 16-bit halves; the lower bytes do not matter
///
/// A code's exponent and mantissa, moved to bits 20..26, are an f32 whose exponent field is e4m3's: its value is 2^-120
/// times the code's, for normal codes and zeros. Subnormal codes become f32 subnormals (a microcode assist of over 100
/// cycles on some CPUs) and NaN a number; weights say which blocks hold one.
template <int W>
MILLET_HD MILLET_INLINE void decode_normal(const typename Lanes<W>::Word& halves, typename Lanes<W>::Float (&w)[2]) {
  using Float = typename Lanes<W>::Float;
  using Word = typename Lanes<W>::Word;
  // An arithmetic shift by 4 copies the sign over the bits above the exponent; the mask leaves the first copy.
  constexpr std::uint32_t sign_exponent_mantissa = 0x87F00000U;
  if constexpr (W == 1) {
    w[0] = same_bits<Float>(same_bits<Word>(same_bits<std::int32_t>(halves << 16) >> 4) & sign_exponent_mantissa);
    w[1] = same_bits<Float>(same_bits<Word>(same_bits<std::int32_t>(halves) >> 4) & sign_exponent_mantissa);
  } else {
    const auto both = same_bits<Word>(same_bits<typename Lanes<W>::Half>(halves) >> 4);
    w[0] = same_bits<Float>((both << 16) & sign_exponent_mantissa);
    w[1] = same_bits<Float>(both & sign_exponent_mantissa);
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

/// The codes of k = Pair and Pair + 2 in each lane's dword, as decode_normal but every code, and times 2^-60, which
/// keeps e4m3's subnormals normal in f32. About three times the operations; for blocks that hold such codes (5 % of the
/// blocks of Gaussian weights).
template <int W, int Pair>
MILLET_HD MILLET_INLINE void decode_exact(const typename Lanes<W>::Word& codes, typename Lanes<W>::Float (&w)[2]) {
  using Int = typename Lanes<W>::Int;
#pragma GCC unroll 2
  for (int j = 0; j < 2; ++j) {
    const Int code = same_bits<Int>(codes >> (8 * (Pair + 2 * j))) & 0xFF;
    const Int magnitude = code & 0x7F;
    const Int normal = (magnitude << 20) + ((120 - 60) << 23);  // rebias 7 to 127, times 2^-60
    const Int subnormal = same_bits<Int>(to_float<W>(magnitude) * 0x1p-69F);
    const Int nan = Int{} + 0x7FC00000;
    const Int finite = magnitude < 8 ? subnormal : normal;
    const Int unsigned_bits = magnitude == E4M3::nan_bits ? nan : finite;
    w[j] = same_bits<typename Lanes<W>::Float>(unsigned_bits | ((code & 0x80) << 24));
  }
}

/// All four codes of each lane's dword, in the order of the sums: k = 0 2 1 3.
template <int W>
MILLET_HD MILLET_INLINE void decode_four(const typename Lanes<W>::Word& codes, bool exact,
                                         typename Lanes<W>::Float (&w)[4]) {
  typename Lanes<W>::Float even[2];
  typename Lanes<W>::Float odd[2];
  if (exact) [[unlikely]] {
    decode_exact<W, 0>(codes, even);
    decode_exact<W, 1>(codes, odd);
  } else {
    decode_normal<W>(codes << 8, even);
    decode_normal<W>(codes, odd);
  }
  w[0] = even[0];
  w[1] = even[1];
  w[2] = odd[0];
  w[3] = odd[1];
}

/// W bytes, one a lane. (Written as an initializer, which GCC 12 turns into one widening load; a conversion of vectors
/// or a loop it does not.)
template <int W, std::size_t... Lane>
MILLET_HD MILLET_INLINE typename Lanes<W>::Int load_bytes(const E8M0* from, std::index_sequence<Lane...>) {
  return typename Lanes<W>::Int{from[Lane].bits...};
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

MILLET_HD MILLET_INLINE bool is_plain_scale(std::int32_t code) {
  return code >= smallest_plain_scale && code <= largest_plain_scale;
}

/// 2^(a_scale + b_scale - 254 - product_exponent), a normal f32, for a plain a_scale and plain or smaller b_scale:
/// rounds as scale_block_sum does.
template <int W>
MILLET_HD MILLET_INLINE typename Lanes<W>::Float plain_scale_factor(const typename Lanes<W>::Int& b_scale,
                                                                    std::int32_t a_scale) {
  return same_bits<typename Lanes<W>::Float>((b_scale + (a_scale - 127 - product_exponent)) << 23);
}
static_assert(smallest_plain_scale - 127 - product_exponent > 0, "the factor's exponent field is at least 1");

}  // namespace millet::portable
