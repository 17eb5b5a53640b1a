// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "millet/host_device.hpp"
#include "millet/numeric/e4m3.hpp"

namespace millet {

/// How E8M0::round chooses between the two neighbouring powers of two.
enum class PowerRounding {
  up,           ///< toward +infinity: the scale covers the value
  toward_zero,  ///< the exponent field alone
};

/// A power of two in one byte: the scale type of the OCP Microscaling Formats (MX) Specification v1.0.
///
/// Value 2^(bits - 127) for 0..254, NaN for 255. There is no zero, no sign and no infinity. Code 0 is 2^-127, which is
/// an f32 subnormal: building it by shifting the byte into the exponent field gives 0 instead.
struct E8M0 {
  std::uint8_t bits;

  static constexpr std::uint8_t nan_bits = 0xFF;
  static constexpr int bias = 127;

  friend constexpr bool operator==(const E8M0&, const E8M0&) = default;

  [[nodiscard]] MILLET_HD constexpr bool is_nan() const noexcept { return bits == nan_bits; }

  /// The power, in [-127, 127]; meaningless for NaN.
  [[nodiscard]] MILLET_HD constexpr int exponent() const noexcept { return static_cast<int>(bits) - bias; }

  /// The exact value as f32.
  [[nodiscard]] MILLET_HD constexpr float value() const noexcept {
    if (bits == nan_bits) return __builtin_bit_cast(float, 0x7FC00000U);
    if (bits == 0) return __builtin_bit_cast(float, 0x00400000U);
    return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 23);
  }

  /// A power of two next to |x|. Zero gives code 0; NaN gives NaN; what lies above 2^127, and infinity, goes by
  /// `overflow`. The sign is dropped. Integer arithmetic: independent of the flush-to-zero mode.
  [[nodiscard]] MILLET_HD static constexpr E8M0 round(float x, PowerRounding rounding,
                                                      Overflow overflow = Overflow::saturate) noexcept {
    const std::uint32_t word = __builtin_bit_cast(std::uint32_t, x) & 0x7FFFFFFFU;
    if (word > 0x7F800000U) return E8M0{nan_bits};
    const auto limit = static_cast<std::uint8_t>(overflow == Overflow::saturate ? 254 : nan_bits);
    if (word == 0x7F800000U) return E8M0{limit};
    std::uint32_t code = word >> 23;
    // Code 0 stands for 2^-127 = 0x00400000, so a subnormal needs code 1 only above that.
    const std::uint32_t exact_fraction = code == 0 ? 0x400000U : 0U;
    if (rounding == PowerRounding::up && (word & 0x7FFFFF) > exact_fraction) ++code;
    return E8M0{code > 254 ? limit : static_cast<std::uint8_t>(code)};
  }
};

}  // namespace millet
