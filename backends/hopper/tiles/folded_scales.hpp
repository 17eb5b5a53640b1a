// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "millet/host_device.hpp"

// Block scales folded into f16 values, exactly: the arithmetic on scale codes.
//
// An e4m3 value is a multiple of 2^-9 and at most 448. f16 holds the multiples of 2^-24 up to 65504. So a row whose
// scale codes differ by at most 21 can be written in f16 with its scales multiplied in: each value times
// 2^(code - base + 7), where `base` is the row's largest code: 448 * 2^7 is the largest, 2^-9 * 2^-14 the smallest.
// What the row's sum lacks is one power of two, 2^(base - 7 - 127). A block with a smaller code is exact only if it
// holds zeros alone, as the blocks of padding do.

namespace millet::hopper {

inline constexpr std::uint32_t each_byte = 0x01010101U;

/// How far below its base a code may be.
inline constexpr std::uint32_t fold_reach = 21;
/// What folded values are too large by beside their base, as a power of two.
inline constexpr int fold_headroom = 7;
/// For bases up to this one, the step of a code that is not within reach has one of the bits `beyond_reach`.
inline constexpr std::uint32_t largest_base = 240;
inline constexpr std::uint32_t beyond_reach = 0xE0U;

[[nodiscard]] MILLET_HD constexpr bool within_reach(std::uint32_t base, std::uint32_t least) {
  return base <= largest_base && base - least <= fold_reach;
}

/// A code's step, code - base + fold_reach modulo 256: 0 to fold_reach where it is within reach.
[[nodiscard]] MILLET_HD constexpr std::uint32_t step_of(std::uint32_t code, std::uint32_t base) {
  return (code - base + fold_reach) & 0xFFU;
}

/// The upper byte of the f16 2^(step - fold_reach + fold_headroom), whose lower byte is 0: step + 1 is its exponent.
[[nodiscard]] MILLET_HD constexpr std::uint32_t half_power_byte(std::uint32_t step) { return step * 4 + 4; }

/// What turns four codes, all within reach, to such bytes: 4 * codes + this.
[[nodiscard]] MILLET_HD constexpr std::uint32_t power_bytes_offset(std::uint32_t base) {
  return each_byte * ((fold_reach - base) * 4 + 4);
}

/// Four codes of which the first `existing` (1 to 3) are there, the others made equal to the first.
[[nodiscard]] MILLET_HD constexpr std::uint32_t with_first_repeated(std::uint32_t codes, int existing) {
  const std::uint32_t present = 0xFFFFFFFFU >> (32 - 8 * existing);
  return (codes & present) | ((codes & 0xFFU) * each_byte & ~present);
}

}  // namespace millet::hopper
