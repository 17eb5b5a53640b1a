// SPDX-License-Identifier: Apache-2.0
// Compiled once for each instruction set, into a library of its own that hides everything but the one function: Eigen's
// inline functions exist in several versions then, and none of them may be picked for code outside.
#include <Eigen/Core>
#include <algorithm>
#include <cstdio>

#include "baselines/baseline_product.hpp"

namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Rows = Eigen::Map<const Matrix>;

// Columns [first, last) of C.
//
// Eigen's matrix product packs both operands first, which only many rows repay. Below 16 rows the faster way to say it
// in Eigen is a matrix-vector product for each row, over panels of weights that stay in the second-level cache: 4 times
// faster at m = 2, about equal at m = 16 (n = 2304, k = 6144, AVX2). A baseline must not lose by its phrasing.
void multiply(const float* a, const float* b, float* c, std::int64_t m, std::int64_t n, std::int64_t k,
              std::int64_t first, std::int64_t last) {
  constexpr std::int64_t rows_that_repay_packing = 16;
  if (m < rows_that_repay_packing) {
    const std::int64_t panel = m == 1 ? last - first : 8;  // Eigen's kernel takes 8 rows at once
    for (std::int64_t col = first; col < last; col += panel) {
      const std::int64_t width = std::min(panel, last - col);
      const Rows weights(b + col * k, width, k);
      for (std::int64_t row = 0; row < m; ++row) {
        Eigen::Map<Eigen::VectorXf>(c + row * n + col, width).noalias() =
            weights * Eigen::Map<const Eigen::VectorXf>(a + row * k, k);
      }
    }
    return;
  }
  const Rows weights(b + first * k, last - first, k);
  Eigen::Map<Matrix, 0, Eigen::OuterStride<>> product(c + first, m, last - first, Eigen::OuterStride<>(n));
  product.noalias() = Rows(a, m, k) * weights.transpose();
}

struct Product {
  std::int64_t m, n, k, threads;
};

void* create(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t threads, char* why, std::size_t why_size) {
#if !defined(_OPENMP)
  if (threads > 1) {
    std::snprintf(why, why_size, "%lld threads wanted, but it was built without OpenMP",
                  static_cast<long long>(threads));
    return nullptr;
  }
#endif
  static_cast<void>(why);
  static_cast<void>(why_size);
  return new Product{m, n, k, threads};
}

int multiply_all(void* product, const void* a_data, const void* b_data, float* c) {
  const auto& [m, n, k, threads] = *static_cast<const Product*>(product);
  const auto* const a = static_cast<const float*>(a_data);
  const auto* const b = static_cast<const float*>(b_data);
  if (threads <= 1) {
    multiply(a, b, c, m, n, k, 0, n);
    return 0;
  }
  const std::int64_t columns = n, depth = k, rows = m, shares = threads;  // structured bindings cannot be shared
#pragma omp parallel for schedule(static) num_threads(static_cast <int>(shares))
  for (std::int64_t share = 0; share < shares; ++share) {
    const std::int64_t width = (columns + shares - 1) / shares;
    const std::int64_t first = std::min(columns, share * width);
    const std::int64_t last = std::min(columns, first + width);
    if (first < last) multiply(a, b, c, rows, columns, depth, first, last);
  }
  return 0;
}

constexpr millet::BaselineProduct table{
    [] { return MILLET_BASELINE_ISA; },
    sizeof(float),
    create,
    [](void* product) { delete static_cast<Product*>(product); },
    [](const void* product) {
      const auto* const p = static_cast<const Product*>(product);
      return p->n * p->k * static_cast<std::int64_t>(sizeof(float));
    },
    nullptr,
    multiply_all,
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const millet::BaselineProduct* millet_baseline_product() {
  return &table;
}
