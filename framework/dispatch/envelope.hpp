// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>
#include <string_view>

#include "millet/problem/gemm_problem.hpp"
#include "millet/problem/grouped_problem.hpp"

namespace millet {

/// Yes, or no with the reason.
struct Verdict {
  std::string_view reason;  ///< empty means yes; otherwise a string literal

  explicit constexpr operator bool() const noexcept { return reason.empty(); }
};

/// The set of problems that a kernel computes. The same predicate serves the dispatcher, the tests and the tuner.
struct Envelope {
  Index m_min = 1;
  Index m_max = std::numeric_limits<Index>::max();
  Index n_multiple = 1;
  Index k_multiple = MxBlock::k;
  Index k_max = std::numeric_limits<Index>::max();
  bool bf16_activations = false;  ///< quantizes bf16 activations itself
  bool f32_activations = false;   ///< quantizes f32 activations itself
  bool swiglu = false;            ///< computes Epilogue::swiglu
  bool topk_sum = false;          ///< computes Epilogue::topk_sum

  [[nodiscard]] constexpr Verdict contains(const GemmProblem& p) const noexcept {
    if (p.m < m_min || p.m > m_max) return {"m outside the envelope"};
    return contains(p.n, p.k, p.activation);
  }
  /// The limits on m do not apply: how many rows an expert gets is known only on the device.
  [[nodiscard]] constexpr Verdict contains(const GroupedProblem& p) const noexcept {
    if (p.epilogue == Epilogue::swiglu && !swiglu) return {"the swiglu epilogue is unsupported"};
    if (p.epilogue == Epilogue::topk_sum && !topk_sum) return {"the topk_sum epilogue is unsupported"};
    return contains(p.n, p.k, p.activation);
  }

 private:
  [[nodiscard]] constexpr Verdict contains(Index n, Index k, ActivationFormat activation) const noexcept {
    if (n % n_multiple != 0) return {"n not a multiple of the n tile"};
    if (k % k_multiple != 0) return {"k not a multiple of the k tile"};
    if (k > k_max) return {"k outside the envelope"};
    if (activation == ActivationFormat::bf16 && !bf16_activations) return {"bf16 activations unsupported"};
    if (activation == ActivationFormat::f32 && !f32_activations) return {"f32 activations unsupported"};
    return {};
  }
};

}  // namespace millet
