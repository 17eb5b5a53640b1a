// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/tiles/kernel_arguments.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::hopper {

/// 1 to 64 rows in one launch; the weights are read once for all of them. No operand is converted; the sum of a block
/// of 32 k has the width of the e4m3 matrix unit.
struct GemmWgmmaBlockScale {
  static constexpr std::string_view id = "hopper.gemm_wgmma_block_scale";
  static constexpr Operation operation = Operation::gemm;
  static constexpr Determinism determinism = Determinism::run_to_run;
  static constexpr Accumulator accumulator = wgmma_accumulator;
  static constexpr Index weight_alignment = 16;
  using Problem = GemmProblem;
  using Weights = StripWeights;
  using Policy = WorkSplit;
  // The best of a sweep over rows of 4 and 8, k of 1, 2 and 4 and clusters of 1 to 8, for one or more cells each. Many
  // rows a block save reads of the tokens, many shares of k keep every SM busy. Those that start early are for tuned
  // rows alone (docs/decisions/0008).
  static constexpr Policy policies[] = {
      {4, 2, 2},       {4, 2, 6},       {8, 1, 2},       {8, 1, 4},       {8, 1, 8},       {4, 1, 1, true},
      {4, 1, 3, true}, {4, 1, 4, true}, {4, 1, 8, true}, {4, 2, 1, true}, {4, 2, 2, true}, {4, 2, 3, true},
      {4, 2, 4, true}, {4, 2, 6, true}, {4, 2, 8, true}, {8, 1, 1, true}, {8, 1, 2, true}, {8, 1, 3, true},
      {8, 1, 4, true}, {8, 1, 5, true}, {8, 1, 8, true}};
  static_assert(!policies[0].early_weights);
  static constexpr Envelope envelope{.m_max = 64, .bf16_activations = true, .f32_activations = true};

  static std::string name(const Policy& policy) { return split_name(policy); }
  static constexpr Verdict supports(const Problem& p) noexcept { return dense_verdict(envelope, p); }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }
  /// A rough time, for choosing until a table is tuned: constants fitted to the dense cells measured on an H200.
  static double estimate_seconds(const Problem& p, const Policy& policy, const DeviceInfo& device) noexcept {
    const WarpgroupPlan plan = warpgroup_plan(p.m, p.k, policy);
    const Index threads = Index{policy.row_warps} * policy.k_warps * token_halves(p.m) * 32;
    const Index blocks = tiles_to_cover(p.n, policy.row_warps * strip_rows) * policy.cluster;
    const Index fitting =
        std::min(2048 / threads / 2, (max_shared_bytes + 3072) / warpgroup_shared_bytes(p.m, policy, plan));
    const Index slots = std::max<Index>(device.compute_units, 1) * std::max<Index>(fitting, 1);
    const double groups = plan.share + (plan.larger_shares > 0 ? 1 : 0);
    const double tiles = std::min(token_tiles_for(p.m), 4);
    const double tokens = static_cast<double>(p.m) * groups * blocks_per_group * MxBlock::k * policy.k_warps;
    const double waves = std::ceil(static_cast<double>(blocks) / static_cast<double>(slots));
    const auto m = static_cast<double>(p.m);
    double block = tokens / 22e9 + groups * (0.05e-6 + 0.18e-6 * tiles) + m * 0.04e-6;
    if (tiles > 1) {
      // The thread blocks of an SM have no issue slots to lend each other, and many sums to receive.
      block += 0.5e-9 * m * static_cast<double>(policy.row_warps * strip_rows / policy.cluster);
      block *=
          std::max(1.0, std::ceil(static_cast<double>(blocks) / waves / static_cast<double>(device.compute_units)));
    }
    const double seconds = 2.7e-6 + std::max(p.weight_bytes() / 4e12, waves * (1.6e-6 + block));
    return policy.early_weights ? seconds + 1.0 : seconds;  // never preferred
  }

  static Expected<void> run(const Problem& p, const GemmOperands<StripWeights>& x, const Policy& policy, Workspace,
                            Stream stream) {
    return checked(id, launch_gemm_wgmma(dense_arguments(p, x, policy), static_cast<cudaStream_t>(stream.handle)));
  }
};

}  // namespace millet::hopper
