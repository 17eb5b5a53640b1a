// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>
#include <optional>
#include <string_view>

#include "millet/host_device.hpp"

namespace millet {

/// What a grouped product does with the sums of its rows before it stores them.
enum class Epilogue {
  none,      ///< stores them
  swiglu,    ///< C[slot, j] = swiglu(row 2j of the weights: the gate, row 2j + 1: the up projection)
  topk_sum,  ///< C[token, n] = the sum over the token's slots, in ascending order
};

[[nodiscard]] constexpr std::string_view to_string(Epilogue epilogue) noexcept {
  switch (epilogue) {
    case Epilogue::none:
      return "none";
    case Epilogue::swiglu:
      return "swiglu";
    case Epilogue::topk_sum:
      return "topk_sum";
  }
  return "unknown_epilogue";
}
[[nodiscard]] std::optional<Epilogue> parse_epilogue(std::string_view name) noexcept;

/// The gated activation swiglu(gate, up) = g / (1 + exp(-alpha g)) * (u + up_offset), where g = min(gate, limit) and
/// u = up held within [-limit, limit].
///
/// The defaults are SwiGLU (Shazeer, "GLU Variants Improve Transformer"): silu(gate) * up. alpha = 1.702, limit = 7 and
/// up_offset = 1 is the variant of OpenAI's gpt-oss, which MiniMax-M3 uses too.
struct Swiglu {
  float alpha = 1.0F;
  float limit = std::numeric_limits<float>::infinity();
  float up_offset = 0.0F;

  friend constexpr bool operator==(const Swiglu&, const Swiglu&) = default;
};

/// The variant of OpenAI's gpt-oss.
inline constexpr Swiglu swiglu_oai{1.702F, 7.0F, 1.0F};

/// swiglu in f32, with `exp2` and a division of whoever computes it. NaN in either argument gives NaN: the comparisons
/// are written so that NaN passes them, which the minimum and maximum instructions of most processors do not do.
template <class Exp2>
[[nodiscard]] MILLET_HD constexpr float swiglu(const Swiglu& s, float gate, float up, Exp2 exp2) {
  constexpr float log2_e = 1.4426950408889634F;
  const float g = gate > s.limit ? s.limit : gate;
  const float below = up > s.limit ? s.limit : up;
  const float u = below < -s.limit ? -s.limit : below;
  return g / (1.0F + exp2(-s.alpha * log2_e * g)) * (u + s.up_offset);
}

}  // namespace millet
