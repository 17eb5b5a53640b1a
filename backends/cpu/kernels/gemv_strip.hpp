// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/cpu/tiles/kernel_arguments.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::cpu {

/// Strips of 16 rows of B that a thread multiplies side by side: each activation is loaded once for all of them, and
/// their sums are independent. The instruction set may hold fewer at once.
struct StripsAtOnce {
  int strips;
};

/// 1 to 8 rows straight from the codes: decoding in registers, no buffer.
template <class Layout>
struct GemvStrip {
  static constexpr std::string_view id = is_row_major<Layout> ? "cpu.gemv_strip_row_major" : "cpu.gemv_strip";
  static constexpr Operation operation = Operation::gemv;
  static constexpr Determinism determinism = Determinism::batch_invariant;
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 1;
  using Problem = GemmProblem;
  using Weights = Layout;
  using Policy = StripsAtOnce;
  static constexpr Policy policies[] = {{4}, {2}, {1}};
  static constexpr Envelope envelope{.m_max = most_direct_rows, .bf16_activations = true, .f32_activations = true};

  static std::string name(const Policy& policy) { return fmt::format("{} strips at once", policy.strips); }
  static constexpr Verdict supports(const Problem& p) noexcept { return envelope.contains(p); }
  static constexpr Index workspace_bytes(const Problem& p, const Policy&) noexcept {
    return activation_bytes_decoded(p.m, p.k);
  }
  static double estimate_seconds(const Problem& p, const Policy& policy, const DeviceInfo& device) noexcept {
    // Few sums wait for each other's latency.
    const double waiting = p.m <= 2 ? 40.0 / static_cast<double>(policy.strips * p.m) : 0.0;
    const double packing = is_row_major<Layout> ? cycles_of_packing : 0.0;
    return modelled_seconds(p.n, p.k, 18.0 + 39.0 * static_cast<double>(p.m) + waiting + packing, device);
  }

  static Expected<void> run(const Problem& p, const GemmOperands<Layout>& x, const Policy& policy, Workspace workspace,
                            Stream) {
    auto chosen = chosen_instruction_set();
    if (!chosen) return fail(std::move(chosen));
    const StripKernels& kernels = (*chosen)->kernels();
    RowPair rows[most_direct_rows];
    for (Index m = 0; m < p.m; ++m) rows[m] = {m, m, 1.0F};
    const StripProduct product{weights_arguments(x.b),
                               decode_activations(kernels, x.a, p.m, p.k, workspace),
                               output_arguments(x.c, p.output, p.n, false),
                               rows,
                               static_cast<int>(p.m),
                               subnormals_are_fast(),
                               policy.strips};
    share_out(strips_of(p.n), [&](Index first, Index last) { kernels.direct(product, first, last); });
    return {};
  }
};

}  // namespace millet::cpu
