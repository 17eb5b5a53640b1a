// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

/// C[m, n] = A[m, k] * B[n, k]^T in f32, row-major and contiguous, by `threads` threads that each take a share of n.
///
/// Every library millet_eigen_f32_<isa> exports this one function; the code is Eigen's for that instruction set.
/// Returns 0, or 1 when it was built without threads and more than one is asked for.
extern "C" int millet_eigen_f32_product(const float* a, const float* b, float* c, std::int64_t m, std::int64_t n,
                                        std::int64_t k, std::int64_t threads);

using EigenF32Product = decltype(&millet_eigen_f32_product);
