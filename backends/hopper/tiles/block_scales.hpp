// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// What two e8m0 scales make of the sum of a block. Device code only.

namespace millet::hopper {

// Scale codes for which the product of two powers of two is a normal f32 and no product with a block sum leaves f32
// before its true value does: 2^-63 to 2^63.
inline constexpr std::uint32_t smallest_plain_scale = 64;
inline constexpr std::uint32_t largest_plain_scale = 190;

__device__ __forceinline__ bool are_plain(std::uint32_t four_codes) {
  constexpr std::uint32_t each = 0x01010101U;
  return __vcmpgtu4(__vsub4(four_codes, each * smallest_plain_scale),
                    each * (largest_plain_scale - smallest_plain_scale)) == 0;
}

/// Whether eight codes of weights are plain or one more, 64 to 191: exactly those have different top bits. Beside a
/// plain code of a token, 191 does no harm: 2^64 * 2^63 is an f32.
__device__ __forceinline__ bool are_plain_weights(uint2 codes) {
  constexpr std::uint32_t tops = 0x80808080U;
  return ((codes.x ^ codes.x << 1) & (codes.y ^ codes.y << 1) & tops) == tops;
}

/// Code i of four, where an f32 has its exponent: 2^(code - 127) for a plain code.
__device__ __forceinline__ std::uint32_t exponent_of(std::uint32_t codes, int i) {
  return __byte_perm(codes, 0, 0x0444 | i << 12) >> 1;
}

/// 2^(code - 127) for a plain code.
__device__ __forceinline__ float plain_power(std::uint32_t code) { return __uint_as_float(code << 23); }

/// sum * 2^(a + b - 254), rounded once, for any codes: 255 makes it NaN.
///
/// The power spans [-254, 254], wider than f32, so it is applied in halves. Below -200 every nonzero block sum (at most
/// 2^23) is nearer to zero than to the smallest subnormal; above 150 every one (at least 2^-18) is infinite.
__device__ __forceinline__ float scale_block_sum(float sum, std::uint32_t a, std::uint32_t b) {
  const int power = max(-200, min(150, static_cast<int>(a + b) - 254));
  const int half = power >> 1;
  const float scaled = sum * __int_as_float((half + 127) << 23) * __int_as_float((power - half + 127) << 23);
  return a == 255 || b == 255 ? __int_as_float(0x7FC00000) : scaled;
}

}  // namespace millet::hopper
