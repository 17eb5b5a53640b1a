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
void multiply(const float* a, const float* b, float* c, std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t first,
              std::int64_t last) {
  const Rows weights(b + first * k, last - first, k);
  if (m == 1) {  // Eigen's gemv: a row-major matrix times a vector
    Eigen::Map<Eigen::VectorXf>(c + first, last - first).noalias() = weights * Eigen::Map<const Eigen::VectorXf>(a, k);
    return;
  }
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
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(threads))
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
