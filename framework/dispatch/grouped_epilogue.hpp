// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "millet/dispatch/operands.hpp"
#include "millet/numeric/bf16.hpp"

// Epilogues of grouped products as a second pass, for backends that do not fuse them into the product: the product
// leaves its sums [slots, n] as f32 in the workspace, the pass reads them from the cache. A call is
//   if topk_sum: zero the sums (slots that nobody routes add nothing)
//   the product of sums_problem(p), whose C is sums_output(p, workspace)
//   SecondPass{p, routing, sums, c}(item) for every item in [0, items())

namespace millet {

/// The product whose C the second pass takes: f32 sums of slots, weighted already where they are going to be added.
[[nodiscard]] constexpr GroupedProblem sums_problem(const GroupedProblem& p) noexcept {
  GroupedProblem sums = p;
  sums.epilogue = Epilogue::none;
  sums.output = OutputType::f32;
  sums.weighted = p.weighted && p.epilogue == Epilogue::topk_sum;
  return sums;
}

/// Where in a workspace the sums stand: behind `product_bytes` of the product's own.
[[nodiscard]] constexpr Index sums_offset(Index product_bytes) noexcept {
  return tiles_to_cover(product_bytes, workspace_alignment) * workspace_alignment;
}
/// Bytes of a workspace with room for the sums, if the problem has an epilogue.
[[nodiscard]] constexpr Index workspace_with_sums(Index product_bytes, const GroupedProblem& p) noexcept {
  return p.epilogue == Epilogue::none ? product_bytes : sums_offset(product_bytes) + p.slots * p.n * 4;
}
[[nodiscard]] inline Output sums_output(const GroupedProblem& p, Workspace workspace, Index product_bytes) noexcept {
  return {static_cast<std::byte*>(workspace.data) + sums_offset(product_bytes), p.n};
}

/// Turns sums into C, an item at a time; items are independent.
struct SecondPass {
  GroupedProblem p;
  RoutingView routing;
  const float* sums;  ///< [slots, n]
  Output c;

  /// Routing entries for swiglu, since only their rows are written; tokens for topk_sum.
  [[nodiscard]] MILLET_HD constexpr Index items() const noexcept {
    return p.epilogue == Epilogue::swiglu ? p.padded_slots : p.c_rows();
  }

  MILLET_HD void operator()(Index item) const noexcept {
    if (p.epilogue == Epilogue::topk_sum) return add_slots(item);
    if (item >= *routing.num_tokens_post_padded) return;
    const Index expert = routing.expert_ids[item / p.block_m];
    const Index slot = routing.sorted_token_ids[item];
    if (expert >= 0 && expert < p.experts && slot >= 0 && slot < p.slots) gate(slot);
  }

 private:
  MILLET_HD void gate(Index slot) const noexcept {
    const float weight = p.weighted ? routing.slot_weights[slot] : 1.0F;
    const float* const row = sums + slot * p.n;
    for (Index j = 0; j < p.c_cols(); ++j) {
      store(slot, j, swiglu(p.swiglu, row[2 * j], row[2 * j + 1], [](float x) { return exp2f(x); }) * weight);
    }
  }
  MILLET_HD void add_slots(Index token) const noexcept {
    const float* const first = sums + token * p.top_k * p.n;
    for (Index j = 0; j < p.n; ++j) {
      float sum = first[j];
      for (Index choice = 1; choice < p.top_k; ++choice) sum += first[choice * p.n + j];
      store(token, j, sum);
    }
  }
  MILLET_HD void store(Index row, Index column, float y) const noexcept {
    const Index at = row * c.row_stride + column;
    if (p.output == OutputType::bf16) {
      static_cast<BF16*>(c.values)[at] = BF16::round(y);
    } else {
      static_cast<float*>(c.values)[at] = y;
    }
  }
};

}  // namespace millet
