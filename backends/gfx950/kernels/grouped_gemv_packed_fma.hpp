// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/grouped_launch.hpp"
#include "millet/backends/gfx950/tiles/instances.hpp"

namespace millet::gfx950 {

/// Mixture of experts on the vector units: for experts with a row or a few, any number being right. An expert's weights
/// are read once for all of its rows where k_waves * steps * 128 covers k, else once for each two. \tparam Target  what
/// launches: HIP or emulator
template <class Layout, class Target>
struct GroupedGemvPackedFma : GroupedStripKernel<Layout> {
  static constexpr std::string_view id =
      is_row_major<Layout> ? Target::grouped_gemv_row_major_id : Target::grouped_gemv_id;
  static constexpr Operation operation = Operation::grouped_gemv;
  static constexpr Accumulator accumulator = f32_accumulator;
  // They cover k = 6144, 3072, 768, 384, 3072 and 768 in one pass.
  static constexpr GroupedPolicy policies[] = {{8, 8, 6}, {8, 8, 3}, {4, 2, 3}, {4, 1, 3}, {8, 4, 6}, {8, 2, 3}};

  /// Modelled, not measured.
  static double estimate_seconds(const GroupedProblem& p, const GroupedPolicy& policy,
                                 const DeviceInfo& device) noexcept {
    const GroupedCost cost = grouped_cost(p, policy);
    const int tokens = cost.rows <= 1 ? 1 : most_tokens;
    const double chunks = std::ceil(cost.rows / tokens);
    const bool bf16 = p.activation == ActivationFormat::bf16;
    const int held = vector_token_steps(tokens, policy.steps, bf16);
    const double reads = cost.passes > 1 ? chunks : 1;
    const double instructions = cost.groups * policy.waves * gemv_instructions_a_wave +
                                cost.experts * cost.strips * static_cast<double>(steps_of(p.k)) * chunks *
                                    gemv_step_instructions(tokens, policy.steps, bf16);
    const double token_bytes =
        activation_bytes(p.activation, p.a_rows(), p.k) / static_cast<double>(p.a_rows()) * cost.rows;
    return Machine::launch_seconds + Machine::reduction_seconds + cost.epilogue_seconds +
           cost.experts * cost.strips * token_bytes / Machine::cache_bytes_per_second +
           streaming_seconds(
               cost.groups, policy.waves,
               estimated_registers(most_tokens, policy.steps, vector_token_registers(most_tokens, policy.steps, bf16)),
               cost.passes * reads, std::ceil(static_cast<double>(policy.steps) / held) * chunks / reads,
               cost.bytes_a_wave, cost.experts * p.expert_bytes() * reads,
               static_cast<double>(std::max<Index>(device.compute_units, 1))) +
           issue_seconds(instructions, device);
  }

  static Expected<void> run(const GroupedProblem& p, const GroupedOperands<Layout>& x, const GroupedPolicy& policy,
                            Workspace workspace, Stream stream) {
    return launch_grouped<Target>(id, compiled_kernel(p, policy), p, x, policy, workspace, stream);
  }

  /// Index into compiled_kernels().
  static constexpr int compiled_kernel(const GroupedProblem& p, const GroupedPolicy& policy) noexcept {
    int at = first_grouped_gemv;
    const int variant = (is_row_major<Layout> ? MILLET_GROUPED_GEMV_KERNELS_A_LAYOUT : 0) +
                        (p.activation == ActivationFormat::bf16 ? 1 : 0);
#define MILLET_FIND(waves_, steps_)                                          \
  if (policy.waves == waves_ && policy.steps == steps_) return at + variant; \
  at += 2 * MILLET_GROUPED_GEMV_KERNELS_A_LAYOUT;
    MILLET_GROUPED_GEMV_SHAPES(MILLET_FIND)
#undef MILLET_FIND
    return -1;
  }

 private:
  /// Tokens for which the kernel has registers.
  static constexpr int most_tokens = 2;
};

}  // namespace millet::gfx950
