// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/instances.hpp"
#include "millet/backends/gfx950/tiles/kernel_arguments.hpp"
#include "millet/backends/gfx950/tiles/token_steps.hpp"

namespace millet::gfx950 {

/// As GemmPolicy, without splits.
struct GemvPolicy {
  int waves;
  int k_waves;
  int steps;
};

/// 1 to 16 rows on the vector units, in f32: no tile of 16 tokens is filled up, but every token costs as much as the
/// first. \tparam Target  what launches: HIP or emulator
template <class Layout, class Target>
struct GemvPackedFma {
  static constexpr std::string_view id = is_row_major<Layout> ? Target::gemv_row_major_id : Target::gemv_id;
  static constexpr Operation operation = Operation::gemv;
  static constexpr Determinism determinism = Determinism::run_to_run;  // the order of sums is the policy's
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 16;
  using Problem = GemmProblem;
  using Weights = Layout;
  using Policy = GemvPolicy;
  // Shares of 6, 8, 12, 16, 24, 32, 48 and 64 steps of 128 k without a remainder: k = 768 .. 8192.
  static constexpr Policy policies[] = {{8, 8, 3}, {8, 8, 2}, {8, 8, 4}, {8, 8, 6}, {8, 8, 8},
                                        {8, 4, 2}, {8, 4, 3}, {8, 4, 4}, {8, 2, 3}};
  static constexpr Envelope envelope{.m_max = 16, .bf16_activations = true};

  static std::string name(const Policy& policy) {
    return fmt::format("{} waves, {} to a strip, {} steps", policy.waves, policy.k_waves, policy.steps);
  }
  static constexpr Verdict supports(const Problem& p) noexcept {
    if (const Verdict verdict = supports_extents(p.n, p.k); !verdict) return verdict;
    return envelope.contains(p);
  }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }

  /// Modelled, not measured: that of GemmMfmaScale, and the vector instructions, which a wave issues when its loads
  /// have come.
  static double estimate_seconds(const Problem& p, const Policy& policy, const DeviceInfo& device) noexcept {
    const int tokens = tokens_at_once(p.m);
    const bool bf16 = p.activation == ActivationFormat::bf16;
    const int held = vector_token_steps(tokens, policy.steps, bf16);
    const auto chunks = static_cast<double>(tiles_to_cover(p.m, tokens));
    const double rounds = std::ceil(static_cast<double>(policy.steps) / held) * chunks;
    const auto steps = static_cast<double>(steps_of(p.k));
    const double passes = std::ceil(steps / (policy.k_waves * policy.steps));
    const double busy = std::min(1.0, steps / (policy.k_waves * policy.steps));
    const auto strips = static_cast<double>(tiles_to_cover(p.n, mfma_rows));
    const auto units = static_cast<double>(std::max<Index>(device.compute_units, 1));
    const double instructions = static_cast<double>(groups(p, policy)) * policy.waves * gemv_instructions_a_wave +
                                strips * steps * chunks * gemv_step_instructions(tokens, policy.steps, bf16);
    return Machine::launch_seconds + Machine::reduction_seconds +
           strips * activation_bytes(p.activation, p.m, p.k) / Machine::cache_bytes_per_second +
           streaming_seconds(
               static_cast<double>(groups(p, policy)), policy.waves,
               estimated_registers(tokens, policy.steps, vector_token_registers(tokens, policy.steps, bf16)), passes,
               rounds, busy * policy.steps * static_cast<double>(strip_step_bytes), p.weight_bytes(), units) +
           issue_seconds(instructions, device);
  }

  static Expected<void> run(const Problem& p, const GemmOperands<Layout>& x, const Policy& policy, Workspace,
                            Stream stream) {
    auto tokens = tokens_arguments(id, x.a, p.m, p.k);
    if (!tokens) return fail(std::move(tokens));
    GemmArguments arguments{};
    arguments.b = weights_arguments(x.b, 0, 0);
    arguments.a = *tokens;
    arguments.c = output_arguments(x.c, p.output);
    arguments.k_waves_log2 = log2_of_power(policy.k_waves);
    arguments.splits = 1;
    return Target::launch(
        {compiled_kernel(p, policy), static_cast<std::uint32_t>(groups(p, policy)), 1, &arguments, sizeof(arguments)},
        stream);
  }

  /// Tokens for which there is a kernel; more go through it in turns.
  static constexpr int tokens_at_once(Index m) noexcept { return m <= 1 ? 1 : m <= 2 ? 2 : 4; }

  /// Index into compiled_kernels().
  static constexpr int compiled_kernel(const Problem& p, const Policy& policy) noexcept {
    int at = first_gemv;
    // As MILLET_GEMV_KERNELS_OF lists them.
    const int variant = (is_row_major<Layout> ? MILLET_GEMV_KERNELS_A_LAYOUT : 0) +
                        (p.activation == ActivationFormat::bf16 ? 3 : 0) + tokens_at_once(p.m) / 2;
#define MILLET_FIND(waves_, steps_)                                          \
  if (policy.waves == waves_ && policy.steps == steps_) return at + variant; \
  at += 2 * MILLET_GEMV_KERNELS_A_LAYOUT;
    MILLET_GEMV_SHAPES(MILLET_FIND)
#undef MILLET_FIND
    return -1;
  }

 private:
  static constexpr Index groups(const Problem& p, const Policy& policy) noexcept {
    return tiles_to_cover(tiles_to_cover(p.n, mfma_rows), policy.waves / policy.k_waves);
  }
};

}  // namespace millet::gfx950
