// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace millet {

/// How a baseline's library multiplies: C[m, n] = A[m, k] * B[n, k]^T, row-major and contiguous, C in f32.
///
/// Every library libmillet_<baseline>.so exports one function, millet_baseline_product(), that returns this table. No
/// exception leaves its functions.
struct BaselineProduct {
  /// Library, version and the code that it chose for this machine, for tables: "OpenBLAS 0.3.21 Zen".
  const char* (*describe)();

  /// Bytes of an element of A and B: 4 for f32, 2 for bf16.
  std::int64_t element_bytes;

  /// Makes ready for products of these extents by `threads` threads. Null if it cannot; `why` then holds one line.
  void* (*create)(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t threads, char* why,
                  std::size_t why_size);
  void (*destroy)(void* product);

  /// Bytes of B as multiply() wants it.
  std::int64_t (*weight_bytes)(const void* product);
  /// Brings B [n, k] into that form, before anything is timed; null where it is B itself. Returns 0 on success.
  int (*pack)(void* product, const void* b, void* packed);

  /// The product; returns 0 on success.
  int (*multiply)(void* product, const void* a, const void* weights, float* c);
};

}  // namespace millet

extern "C" const millet::BaselineProduct* millet_baseline_product();
