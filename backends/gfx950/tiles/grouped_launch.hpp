// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include "millet/backends/gfx950/tiles/kernel_arguments.hpp"

// The host side that the grouped kernels have in common.

namespace millet::gfx950 {

/// How the k of a strip of 16 columns is shared out: over `k_waves` of the `waves` of a work-group, each holding the
/// weights of `steps` times 128 k at once. waves and k_waves are powers of two. No splits: experts fill the grid.
struct GroupedPolicy {
  int waves;
  int k_waves;
  int steps;
};

/// Work-groups along x.
[[nodiscard]] constexpr Index grouped_groups_x(const GroupedProblem& p, const GroupedPolicy& policy) noexcept {
  return tiles_to_cover(tiles_to_cover(p.n, mfma_rows), policy.waves / policy.k_waves);
}

/// Bytes of the counters of arrivals, behind which the rows of slots stand.
[[nodiscard]] constexpr Index arrival_bytes(const GroupedProblem& p, const GroupedPolicy& policy) noexcept {
  return round_up_to_tile(grouped_groups_x(p, policy) * Index{sizeof(std::uint32_t)}, workspace_alignment);
}

/// What the cost models need. Routing is known on the device only: as many experts are taken to have rows as can, each
/// the same number.
struct GroupedCost {
  double experts;           ///< that have rows
  double rows;              ///< of an expert
  double strips;            ///< of an expert
  double groups;            ///< work-groups that multiply
  double passes;            ///< of a wave through its share of k
  double bytes_a_wave;      ///< of weights, at once
  double epilogue_seconds;  ///< what follows the sums over the waves of a work-group
};
[[nodiscard]] inline GroupedCost grouped_cost(const GroupedProblem& p, const GroupedPolicy& policy) noexcept {
  GroupedCost cost{};
  cost.experts = static_cast<double>(std::min({p.experts, p.slots, p.blocks()}));
  cost.rows = std::ceil(static_cast<double>(p.slots) / cost.experts);
  cost.strips = static_cast<double>(tiles_to_cover(p.n, mfma_rows));
  cost.groups = cost.experts * static_cast<double>(grouped_groups_x(p, policy));
  const double passes = static_cast<double>(steps_of(p.k)) / (policy.k_waves * policy.steps);
  cost.passes = std::ceil(passes);
  cost.bytes_a_wave = std::min(1.0, passes) * policy.steps * static_cast<double>(strip_step_bytes);
  cost.epilogue_seconds = sums_slots(p) ? Machine::arrival_seconds : 0.0;
  return cost;
}

/// What the descriptors of the grouped kernels begin with.
template <class Layout>
struct GroupedStripKernel {
  static constexpr Determinism determinism = Determinism::run_to_run;  // the order of sums is the policy's
  static constexpr Index weight_alignment = 16;
  using Problem = GroupedProblem;
  using Weights = Layout;
  using Policy = GroupedPolicy;
  static constexpr Envelope envelope{.bf16_activations = true, .swiglu = true, .topk_sum = true};

  static std::string name(const Policy& policy) {
    return fmt::format("{} waves, {} to a strip, {} steps", policy.waves, policy.k_waves, policy.steps);
  }
  static constexpr Verdict supports(const Problem& p) noexcept {
    if (const Verdict verdict = supports_routing(p); !verdict) return verdict;
    return envelope.contains(p);
  }
  /// A sum over slots needs a workspace of its own: calls take turns when they are on one stream.
  static constexpr Index workspace_bytes(const Problem& p, const Policy& policy) noexcept {
    return sums_slots(p) ? arrival_bytes(p, policy) + slot_row_bytes(p) : 0;
  }
};

/// Launches compiled kernel `kernel`. Errors: those of tokens_arguments and of the launch.
template <class Target, class Operands>
[[nodiscard]] Expected<void> launch_grouped(std::string_view id, int kernel, const GroupedProblem& p, const Operands& x,
                                            const GroupedPolicy& policy, Workspace workspace, Stream stream) {
  auto arguments = grouped_arguments(id, p, x, log2_of_power(policy.k_waves));
  if (!arguments) return fail(std::move(arguments));
  if (sums_slots(p)) {
    auto* const data = static_cast<std::byte*>(workspace.data);
    arguments->arrivals = reinterpret_cast<std::uint32_t*>(data);
    arguments->slot_rows = reinterpret_cast<float*>(data + arrival_bytes(p, policy));
  }
  return Target::launch({kernel, static_cast<std::uint32_t>(grouped_groups_x(p, policy)),
                         static_cast<std::uint32_t>(p.blocks()), &*arguments, sizeof(*arguments)},
                        stream);
}

}  // namespace millet::gfx950
