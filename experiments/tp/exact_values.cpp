// SPDX-License-Identifier: Apache-2.0
#include "tp/exact_values.hpp"

#include <array>
#include <random>

namespace millet {

MxMatrix<> exact_values(Index rows, Index k, std::uint64_t seed) {
  constexpr std::array values{0.0F, 0.5F, -0.5F, 1.0F, -1.0F, 1.5F, -1.5F, 2.0F, -2.0F};
  std::mt19937_64 random(seed);
  MxMatrix<> matrix(RowMajor(rows, k), row_major_scales(rows, k));
  for (E4M3& value : matrix.values()) value = E4M3::round(values[random() % values.size()]);
  for (E8M0& scale : matrix.scales()) scale = E8M0{static_cast<std::uint8_t>(E8M0::bias - 1 + random() % 3)};
  return matrix;
}

}  // namespace millet
