// SPDX-License-Identifier: Apache-2.0
#include "operand_data.hpp"

#include <algorithm>
#include <array>
#include <numeric>

namespace millet::conformance {

namespace {

template <class Array>
auto pick(const Array& values, Random& random) {
  return values[random() % std::size(values)];
}

std::vector<float> gaussian(Index count, Random& random) {
  std::normal_distribution<float> normal(0.0F, 0.5F);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace

MxMatrix<> random_matrix(Data data, Index rows, Index cols, Random& random) {
  if (data == Data::gaussian) return *quantize_mx(gaussian(rows * cols, random), rows, cols);
  MxMatrix<> matrix(RowMajor(rows, cols), row_major_scales(rows, cols));
  constexpr std::array dyadic{0.0F, -0.0F, 0.5F, -0.5F, 1.0F, -1.0F, 1.5F, -1.5F, 2.0F, -2.0F};
  constexpr std::array<std::uint8_t, 7> extremes{0, 1, 120, 127, 134, 253, 254};
  for (E4M3& code : matrix.values()) {
    switch (data) {
      case Data::exact_dyadic:
        code = E4M3::round(pick(dyadic, random));
        break;
      case Data::all_codes:
        do {
          code.bits = static_cast<std::uint8_t>(random());
        } while (code.is_nan());
        break;
      case Data::extreme_scales:
        code.bits = static_cast<std::uint8_t>(8 + random() % (0x7F - 8));
        break;
      default:
        code.bits = static_cast<std::uint8_t>(8 + random() % (0x7F - 8) + 128 * (random() % 2));
        break;
    }
  }
  for (E8M0& scale : matrix.scales()) {
    switch (data) {
      case Data::exact_dyadic:
        scale.bits = static_cast<std::uint8_t>(126 + random() % 3);
        break;
      case Data::all_codes:
        scale.bits = static_cast<std::uint8_t>(124 + random() % 7);
        break;
      case Data::extreme_scales:
        scale.bits = pick(extremes, random);
        break;
      default:
        scale.bits = static_cast<std::uint8_t>(115 + random() % 25);
        break;
    }
  }
  return matrix;
}

HostActivations random_activations(ActivationFormat format, Data data, Index rows, Index k, Random& random) {
  if (format != ActivationFormat::mx) return *make_activations(format, gaussian(rows * k, random), rows, k);
  HostActivations activations;
  activations.mx = random_matrix(data, rows, k, random);
  return activations;
}

std::vector<std::int32_t> random_topk_ids(Index tokens, Index top_k, Index experts, Random& random) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(experts));
  std::iota(all.begin(), all.end(), 0);
  std::vector<std::int32_t> ids;
  for (Index token = 0; token < tokens; ++token) {
    std::shuffle(all.begin(), all.end(), random);
    ids.insert(ids.end(), all.begin(), all.begin() + top_k);
  }
  return ids;
}

}  // namespace millet::conformance
