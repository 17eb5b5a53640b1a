// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>

#include "millet/backends/hopper/tiles/grouped_launch.hpp"
#include "millet/backends/hopper/tiles/kernel_arguments.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::hopper {

/// Any number of rows of every expert in one launch of a thread block an SM: an expert's weights
/// come from memory once, and from L2 again for every 32 tokens more. No operand is converted; the sum of a block of 32
/// k has the width of the e4m3 matrix unit.
struct GroupedGemmWgmmaBlockScale {
  static constexpr std::string_view id = "hopper.grouped_gemm_wgmma_block_scale";
  static constexpr Operation operation = Operation::grouped_gemm;
  static constexpr Determinism determinism = Determinism::run_to_run;
  static constexpr Accumulator accumulator = wgmma_accumulator;
  static constexpr Index weight_alignment = 16;
  using Problem = GroupedProblem;
  using Weights = StripWeights;
  using Policy = GroupedSplit;
  static constexpr Policy policies[] = {{4, 2, 1}, {8, 2, 1}, {8, 1, 1}, {8, 1, 4}, {8, 1, 1, true}, {8, 1, 4, true}};
  static_assert(!policies[0].early_weights);  // those are for tuned rows alone (docs/decisions/0008)
  static constexpr Envelope envelope{.bf16_activations = true, .f32_activations = true};

  static std::string name(const Policy& policy) {
    return fmt::format("{} x {} warps, {} splits{}", policy.row_warps, policy.k_warps, policy.splits,
                       policy.early_weights ? ", early weights" : "");
  }
  static constexpr Verdict supports(const Problem& p) noexcept {
    if (p.padded_slots > largest_grid / largest_splits / tiles_to_cover(p.n, strip_rows))
      return {"n times the routing entries outside the envelope"};
    if (p.slots > largest_grid || p.a_div > largest_grid) return {"slots outside the envelope"};
    if (p.k > largest_k) return {"k outside the envelope"};
    return envelope.contains(p);
  }
  static constexpr Index workspace_bytes(const Problem& p, const Policy& policy) noexcept {
    return grouped_workspace_bytes(policy, grouped_plan(p.n, p.k, p.slots, p.experts, policy));
  }

  /// A rough time, for choosing until a table is tuned: the way to the first product, then the weights of the experts
  /// that an even routing touches, at the rate of memory or of the SM that has most of them, what each item costs
  /// besides, and the exchange of sums. Fitted to an H200 (docs/performance/hopper.md).
  static double estimate_seconds(const Problem& p, const Policy& policy, const DeviceInfo& device) noexcept {
    if (policy.early_weights) return std::numeric_limits<double>::infinity();  // never preferred
    const GroupedPlan plan = grouped_plan(p.n, p.k, p.slots, p.experts, policy);
    const double touched = expected_experts(p);
    const double passes = std::max(1.0, static_cast<double>(p.slots) / touched / plan.pass_tokens);
    const auto blocks = static_cast<double>(std::max<Index>(device.compute_units, 1));
    const double items = std::ceil(touched * passes * plan.row_tiles * plan.splits / blocks) / plan.splits;
    const double item_bytes = policy.row_warps * plan.groups * static_cast<double>(stream_group_bytes);
    const double streaming = std::max(touched * p.expert_bytes() / 4.1e12, items * item_bytes / 43e9);
    return 11e-6 + streaming + items * 0.4e-6 * policy.k_warps + (plan.splits > 1 ? 4e-6 : 0.0);
  }

  static Expected<void> run(const Problem& p, const GroupedOperands<StripWeights>& x, const Policy& policy,
                            Workspace workspace, Stream stream) {
    GroupedWgmmaArguments arguments{};
    arguments.plan = grouped_plan(p.n, p.k, p.slots, p.experts, policy);
    arguments.product.gemm = {weights_arguments(x.b, x.expert_value_stride, x.expert_scale_stride),
                              tokens_arguments(x.a),
                              {x.c.values, x.c.row_stride, p.output == OutputType::bf16},
                              p.slots,
                              {policy.row_warps, policy.k_warps, /*cluster=*/1},
                              /*round_groups=*/0};
    arguments.product.plan.chunk_groups = all_in_one_chunk;
    arguments.workspace = workspace.data;
    arguments.early_weights = policy.early_weights;
    arguments.routing = routing_arguments(p, x.routing);
    return checked(id, launch_grouped_gemm_wgmma(arguments, policy, static_cast<cudaStream_t>(stream.handle)));
  }

 private:
  static constexpr Index largest_k = Index{1} << 30;  // block numbers and shared-memory offsets fit 32 bits
  static constexpr Index largest_splits = 8;
  static constexpr int all_in_one_chunk = 1 << 24;  // more groups than tokens ever stand in shared memory for
};

}  // namespace millet::hopper
