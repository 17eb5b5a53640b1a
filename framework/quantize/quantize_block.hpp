// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "millet/layout/scale_block.hpp"
#include "millet/numeric/e4m3.hpp"
#include "millet/numeric/e8m0.hpp"

// What a kernel's prologue needs to quantize; quantize_mx.hpp adds whole matrices on the host.
namespace millet {

/// How the shared scale of a block follows from its largest magnitude `amax`. Kernels only decode, so they work with
/// all.
enum class ScaleMode {
  floor,  ///< 2^(floor(log2 amax) - 8): OCP MX v1.0 section 6.3; clips an amax above 464 * 2^e by up to 12.5 %
  ceil,   ///< 2^(ceil(log2 amax) - 8): never clips, wastes a binade for most amax
  even,   ///< amax rounded to the 3 mantissa bits of e4m3, ties up, then floor; clips (464, 496) * 2^e
  rceil,  ///< the smallest power with amax <= 448 * scale: never clips finite data. The default here
};

[[nodiscard]] constexpr std::string_view to_string(ScaleMode mode) noexcept {
  switch (mode) {
    case ScaleMode::floor:
      return "floor";
    case ScaleMode::ceil:
      return "ceil";
    case ScaleMode::even:
      return "even";
    case ScaleMode::rceil:
      return "rceil";
  }
  return "unknown_scale_mode";
}

inline constexpr ScaleMode scale_modes[] = {ScaleMode::floor, ScaleMode::ceil, ScaleMode::even, ScaleMode::rceil};

[[nodiscard]] constexpr std::optional<ScaleMode> parse_scale_mode(std::string_view name) noexcept {
  for (const ScaleMode mode : scale_modes) {
    if (to_string(mode) == name) return mode;
  }
  return std::nullopt;
}

/// The scale for a block whose largest magnitude has the f32 bits `amax_bits` (sign cleared).
///
/// NaN and infinity give NaN (code 255): a block that held one becomes all NaN. Exponents below the range clamp to code
/// 0, an all-zero block too. No input gives a code above 254 but those. Integer arithmetic: independent of
/// flush-to-zero. RCEIL equals ceil_pow2(f32(amax * (1 / 448))) for every finite f32, so the codes match stacks that
/// compute it so.
[[nodiscard]] MILLET_HD constexpr E8M0 scale_for_amax(std::uint32_t amax_bits, ScaleMode mode) noexcept {
  if (amax_bits >= 0x7F800000U) return E8M0{E8M0::nan_bits};
  if (mode == ScaleMode::even) amax_bits += 0x80000U;  // may carry to exponent field 255, which stays finite below
  const int field = static_cast<int>(amax_bits >> 23);
  const std::uint32_t fraction = amax_bits & 0x7FFFFFU;
  int code = field - 8;  // 2^8 is the largest power of two among the e4m3 values
  if (mode == ScaleMode::ceil && fraction != 0) ++code;
  if (mode == ScaleMode::rceil) {
    // 448 = 1.75 * 2^8, so the power grows where the fraction passes .75. At field 8 the quotient by 448 is an f32
    // subnormal, and f32 rounds the one value just above 448 * 2^-127 down to 2^-127.
    const std::uint32_t last_covered = field == 8 ? 0x600001U : 0x600000U;
    if (fraction > last_covered) ++code;
  }
  return E8M0{static_cast<std::uint8_t>(code < 0 ? 0 : code)};
}

/// Quantizes one block of 32 values, `stride` elements apart.
///
/// Elements are round-to-nearest-even of x / scale, saturated at +-448, in a single rounding; zeros keep their sign.
/// If any value is NaN or infinite the scale is 255 and every element 0x7F.
/// \param codes  receives 32 codes, contiguous
[[nodiscard]] MILLET_HD constexpr E8M0 quantize_block(const float* x, Index stride, ScaleMode mode,
                                                      E4M3* codes) noexcept {
  std::uint32_t amax_bits = 0;
  for (Index i = 0; i < MxBlock::k; ++i) {
    const std::uint32_t magnitude = __builtin_bit_cast(std::uint32_t, x[i * stride]) & 0x7FFFFFFFU;
    amax_bits = magnitude > amax_bits ? magnitude : amax_bits;  // as integers, NaN > infinity > finite
  }
  const E8M0 scale = scale_for_amax(amax_bits, mode);
  for (Index i = 0; i < MxBlock::k; ++i) {
    codes[i] = scale.is_nan() ? E4M3{E4M3::nan_bits} : E4M3::round(x[i * stride], -scale.exponent());
  }
  return scale;
}

}  // namespace millet
