// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "millet/layout/mapping.hpp"

namespace millet {

/// How the values of activations are spread.
enum class ActivationSpread {
  gaussian,          ///< N(0, 1)
  heavy_tailed,      ///< Student's t with 4 degrees of freedom
  outlier_channels,  ///< N(0, 1), but one channel (k) in 128, the same in every row, is 50 times as large
};

[[nodiscard]] constexpr std::string_view to_string(ActivationSpread spread) noexcept {
  switch (spread) {
    case ActivationSpread::gaussian:
      return "gaussian";
    case ActivationSpread::heavy_tailed:
      return "heavy-tailed";
    case ActivationSpread::outlier_channels:
      return "outlier channels";
  }
  return "unknown_spread";
}

inline constexpr ActivationSpread activation_spreads[] = {ActivationSpread::gaussian, ActivationSpread::heavy_tailed,
                                                          ActivationSpread::outlier_channels};

/// Activations [m, k], row-major, reproducible by the seed.
[[nodiscard]] std::vector<float> spread_activations(ActivationSpread spread, Index m, Index k, std::uint64_t seed);

}  // namespace millet
