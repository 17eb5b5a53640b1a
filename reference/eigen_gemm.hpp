// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "millet/dispatch/host_operands.hpp"

namespace millet::reference {

/// The oracle's answer: what C would be in f64, and the magnitude that bounds a kernel's rounding errors.
struct Product {
  Index rows = 0;
  Index n = 0;
  Index k = 0;
  std::vector<double> y;          ///< [rows, n]: sum of a * b over decoded operands, times the slot's weight
  std::vector<double> magnitude;  ///< [rows, n]: sum of |a| * |b|, likewise; NaN where y is
  std::vector<bool> written;      ///< [rows]: false for rows that no routing entry names
  /// [rows, n], or empty for products stored as they are: how an epilogue passes errors on. If c S bounds the error of
  /// a sum, that of C before its store is at most c magnitude + c^2 second_order + evaluation.
  std::vector<double> second_order;
  std::vector<double> evaluation;
};

/// C = A * B^T in f64 with Eigen, over exactly decoded operands: every product of two decoded elements is exact in f64,
/// sums have a relative error below k * 2^-53.
///
/// Rows are independent: the first m rows are the answer for a problem with m rows of the same A.
[[nodiscard]] Product eigen_gemm(const HostGemm& operands);

/// The grouped product with its epilogue, following the routing's own rules: entries and blocks out of range are
/// skipped.
[[nodiscard]] Product eigen_grouped_gemm(const HostGrouped& operands);

}  // namespace millet::reference
