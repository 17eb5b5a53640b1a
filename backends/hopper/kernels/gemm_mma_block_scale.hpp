// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/tiles/kernel_arguments.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::hopper {

/// 1 to 64 rows in one launch; the weights are read once for all of them.
template <class Layout>
struct GemmMmaBlockScale {
  static constexpr std::string_view id =
      is_row_major<Layout> ? "hopper.gemm_mma_block_scale_row_major" : "hopper.gemm_mma_block_scale";
  static constexpr Operation operation = Operation::gemm;
  static constexpr Determinism determinism = Determinism::run_to_run;
  static constexpr Accumulator accumulator = mma_accumulator;
  static constexpr Index weight_alignment = 16;
  using Problem = GemmProblem;
  using Weights = Layout;
  using Policy = WorkSplit;
  // Many rows a block save reads of the tokens, many shares of k keep every SM busy.
  static constexpr Policy policies[] = {
      {1, 4, 1},       {1, 8, 2},       {2, 4, 1},       {2, 4, 2},       {2, 4, 4},       {4, 2, 1},
      {4, 2, 2},       {4, 2, 4},       {4, 2, 8},       {8, 1, 2},       {8, 1, 4},       {8, 1, 8},
      {1, 4, 1, true}, {1, 8, 2, true}, {2, 4, 1, true}, {2, 4, 2, true}, {2, 4, 4, true}, {4, 2, 1, true},
      {4, 2, 2, true}, {4, 2, 4, true}, {4, 2, 8, true}, {8, 1, 2, true}, {8, 1, 4, true}, {8, 1, 8, true}};
  static constexpr Envelope envelope{.m_max = 64};

  static std::string name(const Policy& policy) { return split_name(policy); }
  static constexpr Verdict supports(const Problem& p) noexcept { return dense_verdict(envelope, p); }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }
  static double estimate_seconds(const Problem& p, const Policy& policy, const DeviceInfo& device) noexcept {
    return estimate_seconds_of_split(p, policy, device);
  }

  static Expected<void> run(const Problem& p, const GemmOperands<Layout>& x, const Policy& policy, Workspace,
                            Stream stream) {
    return checked(id, launch_gemm_mma(dense_arguments(p, x, policy, round_groups_for(p.m, p.k, policy)),
                                       static_cast<cudaStream_t>(stream.handle)));
  }
};

}  // namespace millet::hopper
