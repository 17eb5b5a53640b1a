// SPDX-License-Identifier: Apache-2.0
#include "millet/reference/epilogue.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace millet::reference {

namespace {

constexpr double f32_roundoff = 0x1p-24;
constexpr double steepest_slope = 1.1;  // of f, at alpha g = 2.4

Product product_of_epilogue(Index rows, Index n, Index k) {
  const auto size = static_cast<std::size_t>(rows * n);
  Product product;
  product.rows = rows;
  product.n = n;
  product.k = k;
  for (std::vector<double>* values : {&product.y, &product.magnitude, &product.second_order, &product.evaluation}) {
    values->assign(size, 0.0);
  }
  product.written.assign(static_cast<std::size_t>(rows), true);
  return product;
}

// A sum and the magnitude that bounds its error.
struct Sum {
  double y;
  double magnitude;
};

void store_swiglu(const Swiglu& s, const Sum& gate, const Sum& up, double weight, Index k, std::size_t at, Product& c) {
  const auto limit = static_cast<double>(s.limit);
  const double g = gate.y > limit ? limit : gate.y;
  const double u = (std::abs(up.y) > limit ? std::copysign(limit, up.y) : up.y) + static_cast<double>(s.up_offset);
  const double z = static_cast<double>(s.alpha) * g;
  const double f = g / (1.0 + std::exp(-z));
  const double y = f * u;
  const double underflow = (static_cast<double>(k) / 32.0 + 1.0) * 0x1p-149;
  const double size = std::abs(weight);
  c.y[at] = y * weight;
  c.magnitude[at] = (steepest_slope * std::abs(u) * gate.magnitude + std::abs(f) * up.magnitude) * size;
  c.second_order[at] = steepest_slope * gate.magnitude * up.magnitude * size;
  c.evaluation[at] = ((8.0 + 3.0 * std::abs(z)) * f32_roundoff * std::abs(y) + 0x1p-126 * std::abs(g * u) +
                      underflow * (steepest_slope * std::abs(u) + std::abs(f))) *
                     size;
  if (std::max(gate.magnitude, up.magnitude) > static_cast<double>(std::numeric_limits<float>::max()) / 2) {
    c.evaluation[at] = std::numeric_limits<double>::infinity();
  }
}

}  // namespace

Product swiglu_of(const Product& sums, const Swiglu& swiglu, std::span<const float> slot_weights) {
  Product c = product_of_epilogue(sums.rows, sums.n / 2, sums.k);
  c.written = sums.written;
  for (Index slot = 0; slot < c.rows; ++slot) {
    const double weight = slot_weights.empty() ? 1.0 : static_cast<double>(slot_weights[slot]);
    for (Index j = 0; j < c.n; ++j) {
      const auto gate = static_cast<std::size_t>(slot * sums.n + 2 * j);
      const std::size_t up = gate + 1;
      store_swiglu(swiglu, {sums.y[gate], sums.magnitude[gate]}, {sums.y[up], sums.magnitude[up]}, weight, sums.k,
                   static_cast<std::size_t>(slot * c.n + j), c);
    }
  }
  return c;
}

Product topk_sum_of(const Product& sums, Index top_k) {
  Product c = product_of_epilogue(sums.rows / top_k, sums.n, sums.k);
  for (Index slot = 0; slot < c.rows * top_k; ++slot) {
    if (!sums.written[static_cast<std::size_t>(slot)]) continue;
    for (Index j = 0; j < c.n; ++j) {
      const auto from = static_cast<std::size_t>(slot * c.n + j);
      const auto to = static_cast<std::size_t>(slot / top_k * c.n + j);
      c.y[to] += sums.y[from];
      c.magnitude[to] += sums.magnitude[from];
      c.evaluation[to] += static_cast<double>(top_k) * f32_roundoff * sums.magnitude[from];
    }
  }
  return c;
}

}  // namespace millet::reference
