// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "millet/host_device.hpp"

namespace millet {

/// bfloat16: the upper half of an f32.
struct BF16 {
  std::uint16_t bits;

  friend constexpr bool operator==(const BF16&, const BF16&) = default;

  [[nodiscard]] MILLET_HD constexpr bool is_nan() const noexcept { return (bits & 0x7FFF) > 0x7F80; }

  /// The exact value as f32.
  [[nodiscard]] MILLET_HD constexpr float value() const noexcept {
    return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
  }

  /// Rounds to nearest, ties to even; overflow gives infinity, NaN stays NaN (made quiet, sign kept).
  [[nodiscard]] MILLET_HD static constexpr BF16 round(float x) noexcept {
    const auto word = __builtin_bit_cast(std::uint32_t, x);
    if ((word & 0x7FFFFFFFU) > 0x7F800000U) return BF16{static_cast<std::uint16_t>((word >> 16) | 0x40)};
    return BF16{static_cast<std::uint16_t>((word + 0x7FFF + ((word >> 16) & 1)) >> 16)};
  }
};

}  // namespace millet
