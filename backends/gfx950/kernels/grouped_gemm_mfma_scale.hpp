// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/grouped_launch.hpp"
#include "millet/backends/gfx950/tiles/instances.hpp"

namespace millet::gfx950 {

/// Mixture of experts: the weights of an expert are read once for up to 64 of its rows. \tparam Target  what launches:
/// HIP or emulator
template <class Layout, class Target>
struct GroupedGemmMfmaScale : GroupedStripKernel<Layout> {
  static constexpr std::string_view id =
      is_row_major<Layout> ? Target::grouped_gemm_row_major_id : Target::grouped_gemm_id;
  static constexpr Operation operation = Operation::grouped_gemm;
  static constexpr Accumulator accumulator = mfma_accumulator;
  static constexpr GroupedPolicy policies[] = {{8, 8, 3}, {8, 8, 6}, {4, 4, 2}, {4, 2, 2},
                                               {4, 4, 1}, {8, 2, 3}, {8, 4, 6}};

  /// Modelled, not measured.
  static double estimate_seconds(const GroupedProblem& p, const GroupedPolicy& policy,
                                 const DeviceInfo& device) noexcept {
    const GroupedCost cost = grouped_cost(p, policy);
    const bool bf16 = p.activation == ActivationFormat::bf16;
    constexpr int most = 4;  // tiles that the kernel has registers for
    const int held = token_steps(p.slots <= 16 ? 1 : most, policy.steps, bf16);
    return Machine::launch_seconds + Machine::reduction_seconds + cost.epilogue_seconds +
           streaming_seconds(cost.groups, policy.waves,
                             estimated_registers(most, policy.steps, token_registers(most, policy.steps, bf16)),
                             cost.passes, std::ceil(static_cast<double>(policy.steps) / held), cost.bytes_a_wave,
                             cost.experts * p.expert_bytes(),
                             static_cast<double>(std::max<Index>(device.compute_units, 1)));
  }

  static Expected<void> run(const GroupedProblem& p, const GroupedOperands<Layout>& x, const GroupedPolicy& policy,
                            Workspace workspace, Stream stream) {
    return launch_grouped<Target>(id, compiled_kernel(p, policy), p, x, policy, workspace, stream);
  }

  /// Index into compiled_kernels().
  static constexpr int compiled_kernel(const GroupedProblem& p, const GroupedPolicy& policy) noexcept {
    int at = first_grouped_gemm;
    const int variant =
        (is_row_major<Layout> ? MILLET_GROUPED_KERNELS_A_LAYOUT : 0) + (p.activation == ActivationFormat::bf16 ? 1 : 0);
#define MILLET_FIND(waves_, steps_)                                          \
  if (policy.waves == waves_ && policy.steps == steps_) return at + variant; \
  at += 2 * MILLET_GROUPED_KERNELS_A_LAYOUT;
    MILLET_GROUPED_SHAPES(MILLET_FIND)
#undef MILLET_FIND
    return -1;
  }
};

}  // namespace millet::gfx950
