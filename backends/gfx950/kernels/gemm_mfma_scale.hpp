// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/instances.hpp"
#include "millet/backends/gfx950/tiles/kernel_arguments.hpp"
#include "millet/backends/gfx950/tiles/token_steps.hpp"

namespace millet::gfx950 {

/// How the k of a strip of 16 columns is shared out: over `k_waves` of the `waves` of a work-group, each holding the
/// weights of `steps` times 128 k at once, and over `splits` work-groups. waves and k_waves are powers of two.
struct GemmPolicy {
  int waves;
  int k_waves;
  int steps;
  int splits;
};

/// 1 to 64 rows in one launch; the weights are read once for all of them. \tparam Target  what launches: HIP or
/// emulator
template <class Layout, class Target>
struct GemmMfmaScale {
  static constexpr std::string_view id = is_row_major<Layout> ? Target::gemm_row_major_id : Target::gemm_id;
  static constexpr Operation operation = Operation::gemm;
  static constexpr Determinism determinism = Determinism::run_to_run;
  static constexpr Accumulator accumulator = mfma_accumulator;
  static constexpr Index weight_alignment = 16;
  using Problem = GemmProblem;
  using Weights = Layout;
  using Policy = GemmPolicy;
  // Shares of 6, 12, 16, 24, 32, 48 and 64 steps of 128 k without a remainder: k = 768 .. 8192.
  static constexpr Policy policies[] = {{8, 8, 3, 1}, {4, 4, 2, 1}, {4, 4, 3, 1}, {4, 4, 4, 1}, {8, 8, 2, 1},
                                        {8, 8, 4, 1}, {8, 8, 6, 1}, {8, 8, 8, 1}, {8, 8, 3, 2}, {8, 8, 4, 2},
                                        {4, 4, 3, 4}, {4, 2, 3, 1}, {8, 4, 4, 1}, {4, 4, 4, 2}};
  static constexpr Envelope envelope{.m_max = 64, .bf16_activations = true};

  static std::string name(const Policy& policy) {
    return fmt::format("{} waves, {} to a strip, {} steps, {} splits", policy.waves, policy.k_waves, policy.steps,
                       policy.splits);
  }
  static constexpr Verdict supports(const Problem& p) noexcept {
    if (const Verdict verdict = supports_extents(p.n, p.k); !verdict) return verdict;
    return envelope.contains(p);
  }

  /// Counters, then partial sums. A split needs at least one: they take turns when called on one stream.
  static constexpr Index workspace_bytes(const Problem& p, const Policy& policy) noexcept {
    if (policy.splits == 1) return 0;
    return counter_bytes(p, policy) + groups(p, policy) * policy.splits * plane_floats(p, policy) * Index{4};
  }

  /// Modelled, not measured: docs/performance/gfx950.md.
  static double estimate_seconds(const Problem& p, const Policy& policy, const DeviceInfo& device) noexcept {
    const int tiles = token_tiles(p.m);
    const bool bf16 = p.activation == ActivationFormat::bf16;
    const int held = token_steps(tiles, policy.steps, bf16);
    const double rounds = std::ceil(static_cast<double>(policy.steps) / held);
    const double shares = static_cast<double>(policy.k_waves) * policy.splits;
    const auto steps = static_cast<double>(steps_of(p.k));
    const double passes = std::ceil(steps / (shares * policy.steps));
    const double busy = std::min(1.0, steps / (shares * policy.steps));
    const auto strips = static_cast<double>(tiles_to_cover(p.n, mfma_rows));
    const double tokens = strips * activation_bytes(p.activation, p.m, p.k);
    const double waves = static_cast<double>(groups(p, policy) * policy.splits) * policy.waves;
    // Counted in the compiled code: of a wave, and of a step of 128 k.
    const double instructions = waves * (90 + 25 * tiles) + strips * steps * (4 + (bf16 ? 180 : 8) * tiles);
    return Machine::launch_seconds + Machine::reduction_seconds + (policy.splits > 1 ? Machine::arrival_seconds : 0.0) +
           tokens / Machine::cache_bytes_per_second + issue_seconds(instructions, device) +
           streaming_seconds(static_cast<double>(groups(p, policy) * policy.splits), policy.waves,
                             estimated_registers(tiles, policy.steps, token_registers(tiles, policy.steps, bf16)),
                             passes, rounds, busy * policy.steps * static_cast<double>(strip_step_bytes),
                             p.weight_bytes(), static_cast<double>(std::max<Index>(device.compute_units, 1)));
  }

  static Expected<void> run(const Problem& p, const GemmOperands<Layout>& x, const Policy& policy, Workspace workspace,
                            Stream stream) {
    auto tokens = tokens_arguments(id, x.a, p.m, p.k);
    if (!tokens) return fail(std::move(tokens));
    GemmArguments arguments{};
    arguments.b = weights_arguments(x.b, 0, 0);
    arguments.a = *tokens;
    arguments.c = output_arguments(x.c, p.output);
    arguments.k_waves_log2 = log2_of_power(policy.k_waves);
    arguments.splits = static_cast<std::uint32_t>(policy.splits);
    if (policy.splits > 1) {
      auto* const data = static_cast<std::byte*>(workspace.data);
      arguments.arrivals = reinterpret_cast<std::uint32_t*>(data);
      arguments.partial_sums = reinterpret_cast<float*>(data + counter_bytes(p, policy));
    }
    return Target::launch({compiled_kernel(p, policy), static_cast<std::uint32_t>(groups(p, policy)), arguments.splits,
                           &arguments, sizeof(arguments)},
                          stream);
  }

  /// Tiles of 16 tokens for which there is a kernel.
  static constexpr int token_tiles(Index m) noexcept { return m <= 16 ? 1 : m <= 32 ? 2 : 4; }

  /// Index into compiled_kernels().
  static constexpr int compiled_kernel(const Problem& p, const Policy& policy) noexcept {
    int shape = 0;
#define MILLET_FIND(waves_, steps_)                                          \
  if (policy.waves == waves_ && policy.steps == steps_) return at(shape, p); \
  ++shape;
    MILLET_GEMM_SHAPES(MILLET_FIND)
#undef MILLET_FIND
    return -1;
  }

 private:
  // As MILLET_GEMM_KERNELS_OF lists them.
  static constexpr int at(int shape, const Problem& p) noexcept {
    const int tiles = token_tiles(p.m);
    const int variant = (p.activation == ActivationFormat::bf16 ? 3 : 0) + (tiles == 4 ? 2 : tiles - 1);
    return (2 * shape + (is_row_major<Layout> ? 1 : 0)) * MILLET_GEMM_KERNELS_A_LAYOUT + variant;
  }
  static constexpr Index groups(const Problem& p, const Policy& policy) noexcept {
    return tiles_to_cover(tiles_to_cover(p.n, mfma_rows), policy.waves / policy.k_waves);
  }
  static constexpr Index counter_bytes(const Problem& p, const Policy& policy) noexcept {
    return round_up_to_tile(groups(p, policy) * Index{sizeof(std::uint32_t)}, workspace_alignment);
  }
  /// A work-group's sums: strips x tokens x 16 columns.
  static constexpr Index plane_floats(const Problem& p, const Policy& policy) noexcept {
    return Index{policy.waves / policy.k_waves} * token_tiles(p.m) * mfma_rows * mfma_rows;
  }
};

}  // namespace millet::gfx950
