// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/instances.hpp"
#include "millet/backends/gfx950/tiles/kernel_arguments.hpp"
#include "millet/backends/gfx950/tiles/token_steps.hpp"

namespace millet::gfx950 {

/// As GemmPolicy, without splits: experts fill the grid.
struct GroupedPolicy {
  int waves;
  int k_waves;
  int steps;
};

/// Mixture of experts: the weights of an expert are read once for up to 64 of its rows.
template <class Layout, class Target>
struct GroupedGemmMfmaScale {
  static constexpr std::string_view id =
      is_row_major<Layout> ? Target::grouped_gemm_row_major_id : Target::grouped_gemm_id;
  static constexpr Operation operation = Operation::grouped_gemm;
  static constexpr Determinism determinism = Determinism::run_to_run;
  static constexpr Accumulator accumulator = mfma_accumulator;
  static constexpr Index weight_alignment = 16;
  using Problem = GroupedProblem;
  using Weights = Layout;
  using Policy = GroupedPolicy;
  static constexpr Policy policies[] = {{8, 8, 3}, {8, 8, 6}, {4, 4, 2}, {4, 2, 2}, {4, 4, 1}, {8, 2, 3}, {8, 4, 6}};
  static constexpr Envelope envelope{.bf16_activations = true};

  static std::string name(const Policy& policy) {
    return fmt::format("{} waves, {} to a strip, {} steps", policy.waves, policy.k_waves, policy.steps);
  }
  static constexpr Verdict supports(const Problem& p) noexcept {
    if (const Verdict verdict = supports_routing(p); !verdict) return verdict;
    return envelope.contains(p);
  }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }

  /// Modelled, not measured. Routing is known on the device only: as many experts are taken to have rows as can.
  static double estimate_seconds(const Problem& p, const Policy& policy, const DeviceInfo& device) noexcept {
    const auto touched = static_cast<double>(std::min({p.experts, p.slots, p.blocks()}));
    const bool bf16 = p.activation == ActivationFormat::bf16;
    constexpr int most = 4;  // tiles that the kernel has registers for
    const int tiles = p.slots <= 16 ? 1 : most;
    const int held = token_steps(tiles, policy.steps, bf16);
    const auto steps = static_cast<double>(steps_of(p.k));
    const double passes = std::ceil(steps / (policy.k_waves * policy.steps));
    const double busy = std::min(1.0, steps / (policy.k_waves * policy.steps));
    const double groups = touched * static_cast<double>(groups_x(p, policy));
    return Machine::launch_seconds + Machine::reduction_seconds +
           streaming_seconds(groups, policy.waves,
                             estimated_registers(most, policy.steps, token_registers(most, policy.steps, bf16)), passes,
                             std::ceil(static_cast<double>(policy.steps) / held),
                             busy * policy.steps * static_cast<double>(strip_step_bytes), touched * p.expert_bytes(),
                             static_cast<double>(std::max<Index>(device.compute_units, 1)));
  }

  static Expected<void> run(const Problem& p, const GroupedOperands<Layout>& x, const Policy& policy, Workspace,
                            Stream stream) {
    const auto arguments = grouped_arguments(id, p, x, log2_of_power(policy.k_waves));
    if (!arguments) return fail(arguments.error().code, "{}", arguments.error().message);
    return Target::launch({compiled_kernel(p, policy), static_cast<std::uint32_t>(groups_x(p, policy)),
                           static_cast<std::uint32_t>(p.blocks()), &*arguments, sizeof(*arguments)},
                          stream);
  }

  /// Index into compiled_kernels().
  static constexpr int compiled_kernel(const Problem& p, const Policy& policy) noexcept {
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

 private:
  static constexpr Index groups_x(const Problem& p, const Policy& policy) noexcept {
    return tiles_to_cover(tiles_to_cover(p.n, mfma_rows), policy.waves / policy.k_waves);
  }
};

}  // namespace millet::gfx950
