// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/arguments.hpp"
#include "millet/backends/gfx950/tiles/strip_product.hpp"

namespace millet::gfx950 {

/// The framework's swiglu within five units in the last place and the rounding of alpha times the gate, by operations
/// that IEEE 754 rounds, so that every machine gives the same bits. (The hardware's exp2 and reciprocal promise a
/// unit.)
MILLET_GPU float swiglu(const Swiglu& s, float gate, float up) {
  const float g = gate > s.limit ? s.limit : gate;  // NaN passes
  const float below = up > s.limit ? s.limit : up;
  const float u = (below < -s.limit ? -s.limit : below) + s.up_offset;

  // exp(-magnitude) = 2^-n * exp(r), |r| <= ln(2) / 2: by n rounded in the last place of a large number.
  constexpr float negligible = 256.0F;  // exp(-256) times any f32 is zero
  const float z = s.alpha * g;
  const float absolute = z < 0.0F ? -z : z;
  const float magnitude = absolute < negligible ? absolute : negligible;
  constexpr float log2_e = 0x1.715476p+0F;
  constexpr float rounder = 0x1.8p+23F;
  constexpr float ln2_high = 0x1.62e4p-1F;  // its products with n are exact
  constexpr float ln2_low = 0x1.7f7d1cp-20F;
  const float shifted = fma_f32(magnitude, log2_e, rounder);
  const int n = __builtin_bit_cast(int, shifted) - __builtin_bit_cast(int, rounder);
  const float rounded = shifted - rounder;
  const float r = fma_f32(rounded, ln2_low, fma_f32(rounded, ln2_high, -magnitude));
  constexpr float taylor[] = {1.0F / 5040, 1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F, 1.0F, 1.0F};
  float power = taylor[0];
  for (int i = 1; i < 8; ++i) power = fma_f32(power, r, taylor[i]);

  // 1 / d for d from 1 to 2, by Newton's iteration: off by 2^-4, 2^-8, 2^-16, 2^-32 of it.
  const float d = 1.0F + ldexp_f32(power, -n);
  float reciprocal = fma_f32(d, -8.0F / 17, 24.0F / 17);
  for (int i = 0; i < 3; ++i) reciprocal = fma_f32(fma_f32(-d, reciprocal, 1.0F), reciprocal, reciprocal);

  // For a negative z exp(z) / (1 + exp(z)); its power of two last, where it can no longer take bits away.
  const float numerator = z < 0.0F ? g * power : g;
  return ldexp_f32(numerator * u * reciprocal, z < 0.0F ? -n : 0);
}

/// Stores what SwiGLU makes of rows [row, row + 4) of B, gates and up projections by turns: columns row / 2 and
/// row / 2 + 1 of C, as far as there are any.
MILLET_GPU void store_gated(const GroupedArguments& x, Index to, std::uint32_t row, Vec4f sums, float weight) {
  const float first = swiglu(x.gate, +sums[0], +sums[1]) * weight;
  const float second = swiglu(x.gate, +sums[2], +sums[3]) * weight;
  const Index at = to * x.c.row_stride + row / 2;
  const bool both = row + 4 <= x.b.n;
  if (x.c.bf16 != 0) {
    auto* const values = static_cast<BF16*>(x.c.values) + at;
    const BF16 rounded[2] = {BF16::round(first), BF16::round(second)};
    if (both && reinterpret_cast<std::uintptr_t>(values) % 4 == 0) {
      store(reinterpret_cast<std::uint32_t*>(values), rounded[0].bits | static_cast<std::uint32_t>(rounded[1].bits)
                                                                            << 16);
      return;
    }
    store(values, rounded[0]);
    if (both) store(values + 1, rounded[1]);
    return;
  }
  auto* const values = static_cast<float*>(x.c.values) + at;
  store(values, first);
  if (both) store(values + 1, second);
}

}  // namespace millet::gfx950
