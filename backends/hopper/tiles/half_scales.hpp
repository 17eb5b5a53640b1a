// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "millet/backends/hopper/instructions.hpp"
#include "millet/backends/hopper/tiles/block_scales.hpp"

// Block scales folded into f16 values, exactly. Device code only.
//
// An e4m3 value is an odd multiple of 2^-9 or more, and at most 448. f16 holds multiples of 2^-24 up to 65504. So a row
// whose scale codes differ by at most 21 can be written in f16 with its scales multiplied in: each value times
// 2^(code - base + 7), where `base` is the row's largest code: 448 * 2^7 is the largest, 2^-9 * 2^-14 the smallest. What
// the row's sum lacks is one power of two, 2^(base - 7 - 127). A block with a smaller code than that is exact only if it
// holds zeros alone, as the blocks of padding do.

namespace millet::hopper {

inline constexpr std::uint32_t each_byte = 0x01010101U;
inline constexpr std::uint32_t magnitude_bits = 0x7F7F7F7FU;  ///< of four codes
inline constexpr std::uint32_t half_one = 0x3C003C00U;        ///< two f16

/// How far below its base a code may be.
inline constexpr std::uint32_t reach = 21;
/// A code's step, code - base + reach modulo 256, is 0 to reach if it is within reach. For bases up to largest_base any
/// other step has one of the bits `beyond_reach`.
inline constexpr std::uint32_t beyond_reach = 0xE0U;
inline constexpr std::uint32_t largest_base = 240;
/// The power of ten less than nothing: what f16 values with folded scales are too large by, as a power of two, beside
/// their base.
inline constexpr int headroom = 7;

/// What to add to four codes, as one number, so that each byte becomes its step. A byte that is not within reach may
/// borrow from the next, but is itself seen to be beyond reach if no lower one is.
__device__ __forceinline__ std::uint32_t steps_to(std::uint32_t base) { return each_byte * (reach - base); }

__device__ __forceinline__ bool within_reach(std::uint32_t base, std::uint32_t least) {
  return base <= largest_base && base - least <= reach;
}

/// Four f16 exponents 2 bits too low, one in each byte, of four steps.
__device__ __forceinline__ std::uint32_t half_powers(std::uint32_t steps) { return steps * 4 + each_byte * 4; }
/// Two f16 of 2^(step - reach + headroom) for step i.
__device__ __forceinline__ std::uint32_t half_power(std::uint32_t powers, int i) {
  return __byte_perm(powers, 0, 0x0404 | i << 4 | i << 12);
}

/// Products of two pairs of f16; exact where the scale is a power of two and the result an f16.
__device__ __forceinline__ std::uint32_t times(std::uint32_t pair, std::uint32_t power) {
  std::uint32_t product;
  asm("mul.rn.f16x2 %0, %1, %2;\n" : "=r"(product) : "r"(pair), "r"(power));
  return product;
}

/// The largest and smallest of many codes.
class CodeRange {
 public:
  /// \param codes  four of them
  __device__ __forceinline__ void add(std::uint32_t codes) {
    largest_ = __vmaxu4(largest_, codes);
    smallest_ = __vminu4(smallest_, codes);
  }
  [[nodiscard]] __device__ std::uint32_t largest() const {
    const std::uint32_t two = __vmaxu4(largest_, largest_ >> 16);
    return max(two & 0xFFU, two >> 8 & 0xFFU);
  }
  [[nodiscard]] __device__ std::uint32_t smallest() const {
    const std::uint32_t two = __vminu4(smallest_, smallest_ >> 16);
    return min(two & 0xFFU, two >> 8 & 0xFFU);
  }

 private:
  std::uint32_t largest_ = 0;
  std::uint32_t smallest_ = 0xFFFFFFFFU;
};

/// The codes of four blocks from `block` on; for those from `blocks` on, the last that there is.
__device__ __forceinline__ std::uint32_t codes_one_by_one(const std::uint8_t* from, int block, int blocks) {
  std::uint32_t codes = 0;
#pragma unroll 1
  for (int j = 0; j < 4; ++j) codes |= std::uint32_t{from[min(block + j, blocks - 1)]} << 8 * j;
  return codes;
}

/// sum * 2^(a + b - 2 headroom - 254), where a and b are the bases of a row and a token; 255 makes it NaN.
///
/// A nonzero sum is 2^-48 at least and less than 2^60, so below -225 it is nearer to zero than to the smallest subnormal,
/// and above 180 infinite. The power is applied in halves, since it is wider than f32.
__device__ __forceinline__ float scale_row_sum(float sum, std::uint32_t a, std::uint32_t b) {
  const int power = max(-225, min(180, static_cast<int>(a + b) - 2 * headroom - 254));
  const int half = power >> 1;
  const float scaled = sum * __int_as_float((half + 127) << 23) * __int_as_float((power - half + 127) << 23);
  return a == 255 || b == 255 ? __int_as_float(0x7FC00000) : scaled;
}

}  // namespace millet::hopper
