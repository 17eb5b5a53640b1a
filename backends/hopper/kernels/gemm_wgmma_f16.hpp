// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>

#include "millet/backends/hopper/tiles/kernel_arguments.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::hopper {

/// 1 to 64 rows of MX tokens in one launch; the weights are read once for all of them. Values become f16 with their
/// block scales folded in, exactly; where a row's scales are too far apart for that, its blocks' sums are scaled.
struct GemmWgmmaF16 {
  static constexpr std::string_view id = "hopper.gemm_wgmma_f16";
  static constexpr Operation operation = Operation::gemm;
  static constexpr Determinism determinism = Determinism::run_to_run;
  static constexpr Accumulator accumulator = wgmma_f16_accumulator;
  static constexpr Index weight_alignment = 16;
  using Problem = GemmProblem;
  using Weights = StripWeights;
  using Policy = WorkSplit;
  // The best of a sweep over rows of 4, 8 and 12, k of 1 to 3 and clusters of 1 to 8, for one or more cells each; 4
  // rows were never more than 1 % ahead. The first is for shapes of many rows. Those that start early are for tuned
  // rows alone (docs/decisions/0008).
  static constexpr Policy policies[] = {
      {8, 1, 1},       {8, 1, 2},       {8, 1, 4},       {8, 1, 5},       {8, 1, 8},        {12, 1, 3},      {12, 1, 8},
      {8, 1, 2, true}, {8, 1, 4, true}, {8, 1, 5, true}, {8, 1, 8, true}, {12, 1, 3, true}, {12, 1, 8, true}};
  static_assert(!policies[0].early_weights);
  static constexpr Envelope envelope{.m_max = 64};

  static std::string name(const Policy& policy) { return split_name(policy); }
  static constexpr Verdict supports(const Problem& p) noexcept { return dense_verdict(envelope, p); }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }

  /// A rough time, for choosing until a table is tuned: constants fitted to the dense cells of 16, 32 and 64 rows
  /// measured on an H200; it is off by 16 % in the root of the mean square. Fewer rows are left to the other kernels.
  static double estimate_seconds(const Problem& p, const Policy& policy, const DeviceInfo& device) noexcept {
    if (p.m < 16 || policy.early_weights) return std::numeric_limits<double>::infinity();
    // A thread block takes an SM, and a cluster is within a part of the GPU: of 132 SMs there is room for 66, 39, 30,
    // 22, 17 and 15 clusters of 2, 3, 4, 5, 6 and 8 at once, about as 7.5 parts of 16 SMs would have.
    const Index clusters = std::max<Index>(16 / policy.cluster * device.compute_units * 2 / 35, 1);
    const Index slots = clusters * policy.cluster;
    const Index blocks = tiles_to_cover(p.n, policy.row_warps * strip_rows) * policy.cluster;
    const auto groups = static_cast<double>(tiles_to_cover(p.k, 128 * policy.k_warps * policy.cluster));
    const auto waves = static_cast<double>(tiles_to_cover(blocks, slots));
    const auto m = static_cast<double>(p.m);
    const double block =
        2.5e-6 + groups * (56e-9 * policy.row_warps + 10.8e-9 * m * policy.k_warps) + 9.6e-9 * m * policy.row_warps;
    return 0.9e-6 + std::max(p.weight_bytes() / 4e12, waves * block);
  }

  static Expected<void> run(const Problem& p, const GemmOperands<StripWeights>& x, const Policy& policy, Workspace,
                            Stream stream) {
    return checked(id, launch_gemm_wgmma_f16(dense_arguments(p, x, policy), static_cast<cudaStream_t>(stream.handle)));
  }
};

}  // namespace millet::hopper
