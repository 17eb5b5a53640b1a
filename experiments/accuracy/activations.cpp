// SPDX-License-Identifier: Apache-2.0
#include "accuracy/activations.hpp"

#include <algorithm>
#include <cmath>

#include "operands/generate.hpp"

namespace millet {

std::vector<float> spread_activations(ActivationSpread spread, Index m, Index k, std::uint64_t seed) {
  const auto count = static_cast<std::size_t>(m * k);
  std::vector<float> values(count);
  const auto extent = static_cast<std::uint64_t>(k);
  NormalStream(mix_seed(seed, {6, static_cast<std::uint64_t>(spread), extent})).fill(values, 1.0F);
  if (spread == ActivationSpread::heavy_tailed) {
    // t with 4 degrees of freedom: a normal over the root of a quarter of the sum of four squared normals.
    std::vector<float> normals(4 * count);
    NormalStream(mix_seed(seed, {7, extent})).fill(normals, 1.0F);
    for (std::size_t i = 0; i < count; ++i) {
      float squares = 0;
      for (std::size_t j = 0; j < 4; ++j) squares += normals[4 * i + j] * normals[4 * i + j];
      values[i] /= std::sqrt(squares / 4);
    }
  }
  if (spread == ActivationSpread::outlier_channels) {
    constexpr Index channels_apart = 128;
    for (Index group = 0; group < k; group += channels_apart) {
      const auto width = static_cast<std::uint64_t>(std::min(channels_apart, k - group));
      const Index channel = group + static_cast<Index>(mix_seed(seed, {8, static_cast<std::uint64_t>(group)}) % width);
      for (Index row = 0; row < m; ++row) values[static_cast<std::size_t>(row * k + channel)] *= 50;
    }
  }
  return values;
}

}  // namespace millet
