// SPDX-License-Identifier: Apache-2.0
// The baseline openblas_f32: OpenBLAS's f32 products on weights decoded beforehand. OpenBLAS chooses its code for the
// CPU at run time; describe() says which.
#include <cblas.h>

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <string>

#include "baselines/baseline_product.hpp"

namespace {

struct Product {
  blasint m, n, k;
  int threads;
};

void* create(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t threads, char* why, std::size_t why_size) {
  constexpr std::int64_t largest = 0x7FFFFFFF;
  if (std::max({m, n, k}) > largest) {
    std::snprintf(why, why_size, "its extents are 32-bit integers");
    return nullptr;
  }
  if (threads > 1 && openblas_get_parallel() == 0) {
    std::snprintf(why, why_size, "%lld threads wanted, but this OpenBLAS has one", static_cast<long long>(threads));
    return nullptr;
  }
  return new Product{static_cast<blasint>(m), static_cast<blasint>(n), static_cast<blasint>(k),
                     static_cast<int>(threads)};
}

// The matrix product packs both operands first, which few rows do not repay. Below 8 rows the faster way to say it is a
// matrix-vector product for each row over panels of weights that stay in the second-level cache: 2.4 times faster at
// m = 2, 1.1 at m = 4, 0.9 at m = 8 (n = 2304, k = 6144, AVX2). A baseline must not lose by its phrasing.
int multiply(void* product, const void* a_data, const void* b_data, float* c) {
  constexpr blasint rows_that_repay_packing = 8;
  constexpr blasint panel_of_several_rows = 64;
  const Product& p = *static_cast<const Product*>(product);
  const auto* const a = static_cast<const float*>(a_data);
  const auto* const b = static_cast<const float*>(b_data);
  if (openblas_get_num_threads() != p.threads) openblas_set_num_threads(p.threads);
  if (p.m >= rows_that_repay_packing) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, p.m, p.n, p.k, 1.0F, a, p.k, b, p.k, 0.0F, c, p.n);
    return 0;
  }
  const blasint panel = p.m == 1 ? p.n : panel_of_several_rows * p.threads;
  for (blasint col = 0; col < p.n; col += panel) {
    const blasint width = std::min(panel, p.n - col);
    for (blasint row = 0; row < p.m; ++row) {
      cblas_sgemv(CblasRowMajor, CblasNoTrans, width, p.k, 1.0F, b + std::int64_t{col} * p.k, p.k,
                  a + std::int64_t{row} * p.k, 1, 0.0F, c + std::int64_t{row} * p.n + col, 1);
    }
  }
  return 0;
}

// "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..." in short, with the code chosen.
const char* describe() {
  static const std::string text = [] {
    std::istringstream words(openblas_get_config());
    std::string library, version;
    words >> library >> version;
    const char* const threading[] = {"serial", "pthreads", "OpenMP"};
    return library + " " + version + " " + openblas_get_corename() + " " + threading[openblas_get_parallel()];
  }();
  return text.c_str();
}

constexpr millet::BaselineProduct table{
    describe,
    sizeof(float),
    create,
    [](void* product) { delete static_cast<Product*>(product); },
    [](const void* product) {
      const auto* const p = static_cast<const Product*>(product);
      return std::int64_t{p->n} * p->k * static_cast<std::int64_t>(sizeof(float));
    },
    nullptr,
    multiply,
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const millet::BaselineProduct* millet_baseline_product() {
  return &table;
}
