// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "millet/host_device.hpp"

namespace millet {

/// What a conversion does with a magnitude beyond the largest finite value of its target.
enum class Overflow {
  saturate,  ///< to the largest finite value; the infinities too
  to_nan,    ///< to NaN
};

/// An 8-bit float with 4 exponent and 3 mantissa bits: the OCP 8-bit Floating Point Specification's E4M3 ("fn").
///
/// Layout S.EEEE.MMM, bias 7. Largest finite 448 (0x7E), smallest normal 2^-6, smallest subnormal 2^-9. There is no
/// infinity; NaN is 0x7F and 0xFF only. Not the "fnuz" variant of gfx942, whose bias is 8.
struct E4M3 {
  std::uint8_t bits;

  static constexpr float max_finite = 448.0F;
  static constexpr std::uint8_t nan_bits = 0x7F;

  friend constexpr bool operator==(const E4M3&, const E4M3&) = default;

  [[nodiscard]] MILLET_HD constexpr bool is_nan() const noexcept { return (bits & 0x7F) == nan_bits; }

  /// The exact value, by arithmetic on the fields; every finite e4m3 value is a normal f32 or zero.
  [[nodiscard]] MILLET_HD constexpr float value() const noexcept {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x80) << 24;
    const std::uint32_t magnitude = bits & 0x7F;
    if (magnitude == nan_bits) return __builtin_bit_cast(float, sign | 0x7FC00000U);
    if (magnitude < 8) {  // subnormal: magnitude * 2^-9, both factors exact
      const float unsigned_value = static_cast<float>(magnitude) * 0x1p-9F;
      return __builtin_bit_cast(float, sign | __builtin_bit_cast(std::uint32_t, unsigned_value));
    }
    return __builtin_bit_cast(float, sign | ((magnitude << 20) + (120U << 23)));  // rebias 7 to 127
  }

  /// Rounds x * 2^exponent to the nearest code, ties to even, in one rounding.
  ///
  /// The scaled value is never formed in f32 and all arithmetic is on integers, so f32 subnormals are exact and the
  /// result does not depend on the flush-to-zero or rounding mode of the caller. NaN gives NaN with x's sign. Since
  /// 464 is the tie between 448 and the missing 480, magnitudes up to 464 give 448 in both overflow modes.
  /// \param exponent  in [-1024, 1024]
  [[nodiscard]] MILLET_HD static constexpr E4M3 round(float x, int exponent = 0,
                                                      Overflow overflow = Overflow::saturate) noexcept {
    const auto word = __builtin_bit_cast(std::uint32_t, x);
    const auto sign = static_cast<std::uint32_t>((word >> 24) & 0x80);
    const std::uint32_t biased = (word >> 23) & 0xFF;
    std::uint32_t significand = word & 0x7FFFFF;
    if (biased == 255) {
      const bool saturated_infinity = significand == 0 && overflow == Overflow::saturate;
      return with_sign(sign, saturated_infinity ? 0x7E : nan_bits);
    }
    if (biased == 0 && significand == 0) return with_sign(sign, 0);

    // |x| * 2^exponent = significand * 2^(log2 - 23) with 2^23 <= significand < 2^24
    int log2 = static_cast<int>(biased) - 127 + exponent;
    if (biased == 0) {
      for (log2 += 1; (significand & 0x800000) == 0; --log2) significand <<= 1;
    } else {
      significand |= 0x800000;
    }

    std::uint32_t code = 0x7F;
    if (log2 <= 8) {
      const bool normal = log2 >= -6;
      const int dropped = normal ? 20 : 14 - log2;  // bits below the code's last place, which is 2^-9 for subnormals
      const std::uint32_t kept = dropped > 25 ? 0 : round_to_even(significand, dropped);
      code = normal ? (static_cast<std::uint32_t>(log2 + 6) << 3) + kept : kept;  // kept = 8..16 carries by itself
    }
    if (code >= 0x7F) code = overflow == Overflow::saturate ? 0x7E : nan_bits;
    return with_sign(sign, code);
  }

 private:
  [[nodiscard]] MILLET_HD static constexpr E4M3 with_sign(std::uint32_t sign, std::uint32_t magnitude) noexcept {
    return E4M3{static_cast<std::uint8_t>(sign | magnitude)};
  }

  [[nodiscard]] MILLET_HD static constexpr std::uint32_t round_to_even(std::uint32_t x, int dropped) noexcept {
    const std::uint32_t kept = x >> dropped;
    const std::uint32_t rest = x & ((1U << dropped) - 1);
    const std::uint32_t half = 1U << (dropped - 1);
    return kept + ((rest > half || (rest == half && (kept & 1) != 0)) ? 1 : 0);
  }
};

/// The value of every code, for decoding by look-up; equal to E4M3::value() bit for bit.
struct E4M3Table {
  float value[256];
};

[[nodiscard]] constexpr E4M3Table make_e4m3_table() noexcept {
  E4M3Table table{};
  for (int code = 0; code < 256; ++code) table.value[code] = E4M3{static_cast<std::uint8_t>(code)}.value();
  return table;
}

inline constexpr E4M3Table e4m3_table = make_e4m3_table();

}  // namespace millet
