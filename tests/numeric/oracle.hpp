// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "millet/numeric/e4m3.hpp"

/// The number formats said a second time, from the specifications' formulas and in double: slow, obvious and sharing no
/// code with what they check.
namespace millet::oracle {

inline std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
inline float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }

/// |value| of an e4m3 code in [0, 0x7E]: 2^-6 (M/8) or 2^(E-7) (1 + M/8). 0x7F gives 480, the value that the NaN
/// displaced.
inline double e4m3_magnitude(int code) {
  const int exponent = code >> 3;
  const int mantissa = code & 7;
  return exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
}

/// Halfway between code and code + 1; exact.
inline double e4m3_midpoint(int code) { return (e4m3_magnitude(code) + e4m3_magnitude(code + 1)) / 2; }

/// The code nearest to x, found by looking at all of them.
inline std::uint8_t nearest_e4m3(double x, Overflow overflow) {
  const int sign = std::signbit(x) ? 0x80 : 0;
  if (std::isnan(x)) return static_cast<std::uint8_t>(sign | 0x7F);
  static const auto magnitudes = [] {
    std::array<double, 128> all{};
    for (int code = 0; code < 128; ++code) all[code] = e4m3_magnitude(code);
    return all;
  }();
  const double magnitude = std::abs(x);
  int best = 0;
  for (int code = 1; code <= 0x7F; ++code) {
    const double gain = std::abs(magnitude - magnitudes[best]) - std::abs(magnitude - magnitudes[code]);
    if (gain > 0 || (gain == 0 && code % 2 == 0)) best = code;
  }
  if (magnitude >= 480) best = 0x7F;
  if (best == 0x7F && overflow == Overflow::saturate) best = 0x7E;
  return static_cast<std::uint8_t>(sign | best);
}

}  // namespace millet::oracle
