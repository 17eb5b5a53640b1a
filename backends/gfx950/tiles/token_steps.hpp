// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace millet::gfx950 {

/// Steps for which a wave holds tokens at once, beside the weights of all its steps: nine registers of a lane for a
/// tile of codes with scales, in at most 112 of the 256 that a lane has where eight waves make a work-group; or 16 for
/// a tile of bf16, in at most 64, since quantizing takes registers too. All that it holds is one round of loads.
[[nodiscard]] constexpr int token_steps(int tiles, int steps, bool bf16) noexcept {
  int held = steps;
  while (held * tiles * (bf16 ? 16 : 9) > (bf16 ? 64 : 112)) held = (held + 1) / 2;
  return held;
}

/// Registers of a lane that hold them.
[[nodiscard]] constexpr int token_registers(int tiles, int steps, bool bf16) noexcept {
  return token_steps(tiles, steps, bf16) * tiles * (bf16 ? 16 : 9);
}

}  // namespace millet::gfx950
