// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "millet/layout/mx_matrix.hpp"
#include "millet/numeric/bf16.hpp"
#include "millet/problem/gemm_problem.hpp"
#include "millet/problem/grouped_problem.hpp"
#include "millet/quantize/quantize_mx.hpp"

namespace millet {

/// A in host memory, contiguous. Whatever the format, `mx` holds what a kernel multiplies: for bf16 and f32 it is the
/// RCEIL quantization of `bf16` or `f32`.
struct HostActivations {
  ActivationFormat format = ActivationFormat::mx;
  MxMatrix<> mx;
  std::vector<BF16> bf16;
  std::vector<float> f32;
};

/// Takes f32 [rows, k] into the wanted format. Errors: those of quantize_mx.
[[nodiscard]] Expected<HostActivations> make_activations(ActivationFormat format, std::span<const float> x, Index rows,
                                                         Index k);

/// Operands of a dense product; a holds at least m rows.
struct HostGemm {
  GemmProblem problem;
  const HostActivations* a = nullptr;
  const MxMatrix<>* b = nullptr;  ///< [n, k]
};

/// Operands of a grouped product.
struct HostGrouped {
  GroupedProblem problem;
  const HostActivations* a = nullptr;          ///< [a_rows, k]
  const std::vector<MxMatrix<>>* b = nullptr;  ///< one [n, k] for each expert
  const Routing* routing = nullptr;
  const std::vector<float>* slot_weights = nullptr;  ///< [slots] if the problem is weighted
};

template <class P>
struct HostOperandsOf;
template <>
struct HostOperandsOf<GemmProblem> {
  using type = HostGemm;
};
template <>
struct HostOperandsOf<GroupedProblem> {
  using type = HostGrouped;
};
template <class P>
using HostOperands = typename HostOperandsOf<P>::type;

}  // namespace millet
