// SPDX-License-Identifier: Apache-2.0
#include "backends/strip_operands.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

namespace millet::conformance {

StripOperands make_strip_operands(Index m, Index n, Index k, Codes codes, int smallest_scale, int largest_scale) {
  std::mt19937 random(static_cast<unsigned>(m * 1000 + n * 10 + k));
  const auto between = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  const auto code = [&] {
    const int sign = between(0, 1) * 0x80;
    if (codes == Codes::any) return sign + between(0, 0x7F);
    if (codes == Codes::any_but_nan) return sign + between(0, 0x7E);
    if (codes == Codes::few_subnormals && between(0, 999) == 0) return sign + between(0, 7);
    if (codes == Codes::few_nans && between(0, 999) == 0) return sign + 0x7F;
    return sign + between(8, 0x7E);
  };
  StripOperands x{m, n, k, {}, {}, {}, {}, {}, {}};
  const Index blocks = MxBlock::count(k);
  for (Index i = 0; i < n * k; ++i) x.b_values.push_back(E4M3{static_cast<std::uint8_t>(i / k == 1 ? 0 : code())});
  for (Index i = 0; i < n * blocks; ++i) {
    x.b_scales.push_back(
        E8M0{static_cast<std::uint8_t>(i / blocks == 1 ? i % 2 * 39 : between(smallest_scale, largest_scale))});
  }
  for (Index i = 0; i < m * k; ++i) {
    x.a_values.push_back(E4M3{static_cast<std::uint8_t>(between(0, 1) * 0x80 + between(0, 0x7E))});
  }
  for (Index i = 0; i < m * blocks; ++i) {
    const int scale = between(std::max(0, 254 - largest_scale), std::min(255, 254 - smallest_scale));
    x.a_scales.push_back(E8M0{static_cast<std::uint8_t>(scale)});
  }
  const LayoutDescriptor& strips = layout_descriptor<StripWeights>;
  x.strip_values.resize(static_cast<std::size_t>(strips.value_count(n, k)));
  x.strip_scales.resize(static_cast<std::size_t>(strips.scale_count(n, k)));
  strips.pack(x.row_major(), x.strip_values.data(), x.strip_scales.data());
  return x;
}

std::vector<float> multiply_in_strip_order(const StripOperands& x) {
  constexpr Index order[] = {0, 2, 1, 3};
  std::vector<float> c;
  const Index blocks = MxBlock::count(x.k);
  for (Index m = 0; m < x.m; ++m) {
    for (Index n = 0; n < x.n; ++n) {
      float total = 0.0F;
      for (Index block = 0; block < blocks; ++block) {
        float sum = 0.0F;
        for (Index i = 0; i < MxBlock::k; ++i) {
          const Index k = block * MxBlock::k + i / 4 * 4 + order[i % 4];
          sum += x.b_values[static_cast<std::size_t>(n * x.k + k)].value() *
                 x.a_values[static_cast<std::size_t>(m * x.k + k)].value();
        }
        const E8M0 b_scale = x.b_scales[static_cast<std::size_t>(n * blocks + block)];
        const E8M0 a_scale = x.a_scales[static_cast<std::size_t>(m * blocks + block)];
        total += b_scale.is_nan() || a_scale.is_nan() ? std::nanf("")
                                                      : std::ldexp(sum, b_scale.exponent() + a_scale.exponent());
      }
      c.push_back(total);
    }
  }
  return c;
}

bool same_bits_or_both_nan(float x, float y) {
  return (std::isnan(x) && std::isnan(y)) || std::memcmp(&x, &y, sizeof(float)) == 0;
}

}  // namespace millet::conformance
