// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>

#include "millet/backends/hopper/tiles/kernel_arguments.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::hopper {

/// Any number of rows of every expert in one launch: an expert's weights come from memory once, and from L2 again for
/// every 16 tokens more.
template <class Layout>
struct GroupedGemmMmaBlockScale {
  static constexpr std::string_view id =
      is_row_major<Layout> ? "hopper.grouped_gemm_mma_block_scale_row_major" : "hopper.grouped_gemm_mma_block_scale";
  static constexpr Operation operation = Operation::grouped_gemm;
  static constexpr Determinism determinism = Determinism::run_to_run;
  static constexpr Accumulator accumulator = mma_accumulator;
  static constexpr Index weight_alignment = 16;
  using Problem = GroupedProblem;
  using Weights = Layout;
  using Policy = WorkSplit;
  static constexpr Policy policies[] = {{2, 4, 1}, {4, 2, 1}, {4, 1, 1}};
  static constexpr Envelope envelope{};

  static std::string name(const Policy& policy) { return split_name(policy); }
  static constexpr Verdict supports(const Problem& p) noexcept {
    if (p.blocks() > largest_grid / tiles_to_cover(p.n, strip_rows))
      return {"n times the routing blocks outside the envelope"};
    if (p.slots > largest_grid) return {"slots outside the envelope"};
    return envelope.contains(p);
  }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }

  /// A rough time, for choosing until a table is tuned: memory's part, and for each wave of thread blocks its start and
  /// a latency for each group of a warp. Fitted to an H200 (docs/performance/hopper.md). Row-major weights were not
  /// timed.
  static double estimate_seconds(const Problem& p, const Policy& policy, const DeviceInfo& device) noexcept {
    if (is_row_major<Layout>) return std::numeric_limits<double>::infinity();
    const double touched = expected_experts(p);
    const int warps = policy.row_warps * policy.k_warps;
    const Index room =
        max_shared_bytes / shared_bytes(grouped_tokens, round_groups_for(grouped_tokens, p.k, policy), policy);
    const double blocks_an_sm = static_cast<double>(std::min<Index>(16 / warps, room));
    const double blocks = touched * static_cast<double>(tiles_to_cover(p.n, policy.row_warps * strip_rows));
    const double waves = std::max(1.0, blocks / (blocks_an_sm * static_cast<double>(device.compute_units)));
    const double counted = (waves + std::ceil(waves)) / 2;  // the last one is faster where it is not full
    const Index groups = tiles_to_cover(p.k, MxBlock::k * blocks_per_group);
    const double rounds = static_cast<double>(tiles_to_cover(groups, policy.k_warps));
    return 4e-6 + touched * p.expert_bytes() / 6e12 + counted * (1.8e-6 + 0.7e-6 * rounds);
  }

  static Expected<void> run(const Problem& p, const GroupedOperands<Layout>& x, const Policy& policy, Workspace,
                            Stream stream) {
    const GroupedArguments arguments{weights_arguments(x.b, x.expert_value_stride, x.expert_scale_stride),
                                     tokens_arguments(x.a),
                                     {x.c.values, x.c.row_stride, p.output == OutputType::bf16},
                                     routing_arguments(p, x.routing),
                                     policy,
                                     round_groups_for(grouped_tokens, p.k, policy)};
    return checked(id, launch_grouped_gemm(arguments, static_cast<cudaStream_t>(stream.handle)));
  }
};

}  // namespace millet::hopper
