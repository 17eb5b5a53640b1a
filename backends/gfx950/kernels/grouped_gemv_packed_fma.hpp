// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/instances.hpp"
#include "millet/backends/gfx950/tiles/kernel_arguments.hpp"
#include "millet/backends/gfx950/tiles/token_steps.hpp"

namespace millet::gfx950 {

/// As GemvPolicy.
struct GroupedGemvPolicy {
  int waves;
  int k_waves;
  int steps;
};

/// Mixture of experts on the vector units: for experts with a row or a few, any number being right. An expert's weights
/// are read once for all of its rows where k_waves * steps * 128 covers k, else once for each two.
template <class Layout, class Target>
struct GroupedGemvPackedFma {
  static constexpr std::string_view id =
      is_row_major<Layout> ? Target::grouped_gemv_row_major_id : Target::grouped_gemv_id;
  static constexpr Operation operation = Operation::grouped_gemv;
  static constexpr Determinism determinism = Determinism::run_to_run;  // the order of sums is the policy's
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 16;
  using Problem = GroupedProblem;
  using Weights = Layout;
  using Policy = GroupedGemvPolicy;
  // They cover k = 6144, 3072, 768, 384, 3072 and 768 in one pass.
  static constexpr Policy policies[] = {{8, 8, 6}, {8, 8, 3}, {4, 2, 3}, {4, 1, 3}, {8, 4, 6}, {8, 2, 3}};
  static constexpr Envelope envelope{.bf16_activations = true};

  static std::string name(const Policy& policy) {
    return fmt::format("{} waves, {} to a strip, {} steps", policy.waves, policy.k_waves, policy.steps);
  }
  static constexpr Verdict supports(const Problem& p) noexcept {
    if (const Verdict verdict = supports_routing(p); !verdict) return verdict;
    return envelope.contains(p);
  }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }

  /// Modelled, not measured. Routing is known on the device only: as many experts are taken to have rows as can, each
  /// the same number.
  static double estimate_seconds(const Problem& p, const Policy& policy, const DeviceInfo& device) noexcept {
    const auto touched = static_cast<double>(std::min({p.experts, p.slots, p.blocks()}));
    const double rows = std::ceil(static_cast<double>(p.slots) / touched);
    const int tokens = rows <= 1 ? 1 : most_tokens;
    const double chunks = std::ceil(rows / tokens);
    const bool bf16 = p.activation == ActivationFormat::bf16;
    const int held = vector_token_steps(tokens, policy.steps, bf16);
    const auto steps = static_cast<double>(steps_of(p.k));
    const double passes = std::ceil(steps / (policy.k_waves * policy.steps));
    const double busy = std::min(1.0, steps / (policy.k_waves * policy.steps));
    const double reads = passes > 1 ? chunks : 1;
    const auto strips = static_cast<double>(tiles_to_cover(p.n, mfma_rows));
    const auto units = static_cast<double>(std::max<Index>(device.compute_units, 1));
    const double groups = touched * static_cast<double>(groups_x(p, policy));
    const double instructions = groups * policy.waves * gemv_instructions_a_wave +
                                touched * strips * steps * chunks * gemv_step_instructions(tokens, policy.steps, bf16);
    return Machine::launch_seconds + Machine::reduction_seconds +
           touched * strips * activation_bytes(p.activation, p.a_rows(), p.k) / static_cast<double>(p.a_rows()) * rows /
               Machine::cache_bytes_per_second +
           streaming_seconds(
               groups, policy.waves,
               estimated_registers(most_tokens, policy.steps, vector_token_registers(most_tokens, policy.steps, bf16)),
               passes * reads, std::ceil(static_cast<double>(policy.steps) / held) * chunks / reads,
               busy * policy.steps * static_cast<double>(strip_step_bytes), touched * p.expert_bytes() * reads, units) +
           issue_seconds(instructions, device);
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
  static constexpr Index groups_x(const Problem& p, const Policy& policy) noexcept {
    return tiles_to_cover(tiles_to_cover(p.n, mfma_rows), policy.waves / policy.k_waves);
  }
};

}  // namespace millet::gfx950
