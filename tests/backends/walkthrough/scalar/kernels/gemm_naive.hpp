// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <limits>

#include "millet/dispatch/kernel.hpp"
#include "millet/numeric/bf16.hpp"

namespace millet::scalar {

/// One thread, one element of C after the other.
struct GemmNaive {
  static constexpr std::string_view id = "scalar.gemm_naive";
  static constexpr Operation operation = Operation::gemm;
  static constexpr Determinism determinism = Determinism::batch_invariant;
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 1;
  using Problem = GemmProblem;
  using Weights = RowMajorWeights;
  struct Policy {};
  static constexpr Policy policies[] = {{}};
  static constexpr Envelope envelope{};  // any m, n and k; mx activations only

  static std::string name(const Policy&) { return "default"; }
  static constexpr Verdict supports(const Problem& p) noexcept { return envelope.contains(p); }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }

  static Expected<void> run(const Problem& p, const GemmOperands<Weights>& x, const Policy&, Workspace, Stream) {
    const auto* const a = static_cast<const E4M3*>(x.a.values);
    for (Index m = 0; m < p.m; ++m) {
      for (Index n = 0; n < p.n; ++n) {
        float sum = 0;
        for (Index block = 0; block < MxBlock::count(p.k); ++block) {
          float products = 0;
          for (Index k = block * MxBlock::k; k < (block + 1) * MxBlock::k; ++k) {
            products += a[m * x.a.value_stride + k].value() * x.b.code(n, k).value();
          }
          sum += scaled(products, x.a.scales[m * x.a.scale_stride + block], x.b.scale(n, block * MxBlock::k));
        }
        const Index at = m * x.c.row_stride + n;
        if (p.output == OutputType::bf16) {
          static_cast<BF16*>(x.c.values)[at] = BF16::round(sum);
        } else {
          static_cast<float*>(x.c.values)[at] = sum;
        }
      }
    }
    return {};
  }

 private:
  /// The exponents are added as integers: one f32 does not span their sum.
  static float scaled(float products, E8M0 a, E8M0 b) {
    if (a.is_nan() || b.is_nan()) return std::numeric_limits<float>::quiet_NaN();
    return std::ldexp(products, a.exponent() + b.exponent());
  }
};

}  // namespace millet::scalar
