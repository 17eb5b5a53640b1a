// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/tiles/kernel_arguments.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::hopper {

/// 1 to 64 rows in one launch; the weights are read once for all of them.
template <class Layout>
struct GemmMmaBlockScale {
  static constexpr std::string_view id = is_row_major<Layout> ? "hopper.gemm_mma_block_scale_row_major"
                                                              : "hopper.gemm_mma_block_scale";
  static constexpr Operation operation = Operation::gemm;
  static constexpr Determinism determinism = Determinism::batch_invariant;
  static constexpr Accumulator accumulator = mma_accumulator;
  static constexpr Index weight_alignment = 16;
  using Problem = GemmProblem;
  using Weights = Layout;
  using Policy = KSplit;
  // Eight warps for few, large strips; four where there are strips enough; clusters where there are not.
  static constexpr Policy policies[] = {{8, 1}, {8, 2}, {8, 4}, {4, 1}, {4, 2}, {4, 4}, {6, 1}, {6, 2}, {6, 4}, {2, 1}, {2, 2}};
  static constexpr Envelope envelope{.m_max = 64, .k_max = largest_k};

  static std::string name(const Policy& policy) {
    return fmt::format("{} warps, cluster of {}", policy.warps, policy.cluster);
  }
  static constexpr Verdict supports(const Problem& p) noexcept {
    if (tiles_to_cover(p.n, 16) * 4 > largest_grid) return {"n outside the envelope"};
    return envelope.contains(p);
  }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }
  static double estimate_seconds(const Problem& p, const Policy& policy, const DeviceInfo& device) noexcept {
    const Index blocks = tiles_to_cover(p.n, 16) * policy.cluster;
    return estimate_strips_seconds(p.weight_bytes(), blocks, p.k, policy, device);
  }

  static Expected<void> run(const Problem& p, const GemmOperands<Layout>& x, const Policy& policy, Workspace,
                            Stream stream) {
    const GemmArguments arguments{weights_arguments(x.b, 0, 0), tokens_arguments(x.a),
                                  {x.c.values, x.c.row_stride, p.output == OutputType::bf16}, p.m};
    return checked(id, launch_gemm(arguments, policy, static_cast<cudaStream_t>(stream.handle)));
  }
};

}  // namespace millet::hopper
