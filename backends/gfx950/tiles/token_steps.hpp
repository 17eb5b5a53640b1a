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

// On the vector units.

/// Rounds in which 16 lanes, one run each, quantize the two runs a step of that many bf16 tokens.
[[nodiscard]] constexpr int vector_quantizing_rounds(int tokens, int steps) noexcept {
  return (2 * tokens * steps + 15) / 16;
}
/// As token_steps; 16 lanes share a token's bf16, so that there is room for all of it.
[[nodiscard]] constexpr int vector_token_steps(int tokens, int steps, bool bf16) noexcept {
  return bf16 ? steps : token_steps(tokens, steps, false);
}
[[nodiscard]] constexpr int vector_token_registers(int tokens, int steps, bool bf16) noexcept {
  return bf16 ? 8 * vector_quantizing_rounds(tokens, steps) : token_registers(tokens, steps, false);
}

}  // namespace millet::gfx950
