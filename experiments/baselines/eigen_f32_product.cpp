// SPDX-License-Identifier: Apache-2.0
// Compiled once for each instruction set, into a library of its own that hides everything but the one function: Eigen's
// inline functions exist in several versions then, and none of them may be picked for code outside.
#include "baselines/eigen_f32_product.hpp"

#include <Eigen/Core>
#include <algorithm>

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

}  // namespace

extern "C" __attribute__((visibility("default"))) int millet_eigen_f32_product(const float* a, const float* b, float* c,
                                                                               std::int64_t m, std::int64_t n,
                                                                               std::int64_t k, std::int64_t threads) {
  if (threads <= 1) {
    multiply(a, b, c, m, n, k, 0, n);
    return 0;
  }
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) num_threads(static_cast <int>(threads))
  for (std::int64_t share = 0; share < threads; ++share) {
    const std::int64_t width = (n + threads - 1) / threads;
    const std::int64_t first = std::min(n, share * width);
    const std::int64_t last = std::min(n, first + width);
    if (first < last) multiply(a, b, c, m, n, k, first, last);
  }
  return 0;
#else
  return 1;
#endif
}
