// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/host_device.hpp"
#include "millet/layout/scale_block.hpp"

namespace millet {

/// Rows of B that share a strip, columns of C.
inline constexpr int strip_rows = 16;

// What is known about a block of a strip, a byte for it. A byte of zero promises nothing.
inline constexpr std::uint8_t no_subnormals = 1;  ///< no code is a nonzero subnormal
inline constexpr std::uint8_t no_nans = 2;        ///< no code is NaN
inline constexpr std::uint8_t plain_scales = 4;   ///< every scale is plain, or below that with a row of zeros

/// Scale codes from 2^-40 to 2^16. For a pair of them every product and sum of a block, and what it adds to C, is a
/// normal f32 or zero, so that scales can be multiplied with whichever factor is convenient.
inline constexpr int smallest_plain_scale = 87;
inline constexpr int largest_plain_scale = 143;

/// What is known about one block of a strip. \param codes  512: 8 times 16 rows of 4 k \param scales  16
///
/// Always inlined: files of different instruction sets use it, and must not share a copy.
MILLET_INLINE std::uint8_t properties_of_block(const std::uint8_t* codes, const std::uint8_t* scales) noexcept {
  // In bytes, so that compilers make vectors of it: twice a code drops its sign, and then NaN is the largest; nonzero
  // subnormals are the smallest magnitudes less one, zero being the largest.
  constexpr int dwords = static_cast<int>(MxBlock::k) / 4;
  std::uint8_t largest = 0;
  std::uint8_t smallest = 0xFF;
  for (int i = 0; i < dwords * strip_rows * 4; ++i) {
    const auto doubled = static_cast<std::uint8_t>(codes[i] << 1);
    const auto less_one = static_cast<std::uint8_t>((codes[i] & 0x7F) - 1);
    largest = doubled > largest ? doubled : largest;
    smallest = less_one < smallest ? less_one : smallest;
  }
  bool plain = true;
  for (int row = 0; row < strip_rows; ++row) {
    if (scales[row] >= smallest_plain_scale && scales[row] <= largest_plain_scale) continue;
    // Quantizers give a block of zeros the smallest scale.
    unsigned magnitudes = 0;
    for (int q = 0; q < dwords; ++q) {
      for (int i = 0; i < 4; ++i) magnitudes |= codes[4 * strip_rows * q + 4 * row + i] & 0x7FU;
    }
    plain = plain && magnitudes == 0 && scales[row] < smallest_plain_scale;
  }
  return static_cast<std::uint8_t>((smallest > 6 ? no_subnormals : 0) | (largest < 0xFE ? no_nans : 0) |
                                   (plain ? plain_scales : 0));
}

}  // namespace millet
