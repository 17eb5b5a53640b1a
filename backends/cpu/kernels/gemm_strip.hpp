// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/cpu/tiles/kernel_arguments.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::cpu {

/// Any number of rows: 256 k of a strip are decoded into L1 and multiplied with up to 128 rows.
template <class Layout>
struct GemmStrip {
  static constexpr std::string_view id = is_row_major<Layout> ? "cpu.gemm_strip_row_major" : "cpu.gemm_strip";
  static constexpr Operation operation = Operation::gemm;
  static constexpr Determinism determinism = Determinism::batch_invariant;
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 1;
  using Problem = GemmProblem;
  using Weights = Layout;
  struct Policy {};
  static constexpr Policy policies[] = {{}};
  static constexpr Envelope envelope{.bf16_activations = true, .f32_activations = true};

  static std::string name(const Policy&) { return "default"; }
  static constexpr Verdict supports(const Problem& p) noexcept { return envelope.contains(p); }
  static constexpr Index workspace_bytes(const Problem& p, const Policy&) noexcept {
    return activation_bytes_decoded(p.m, p.k);
  }
  static double estimate_seconds(const Problem& p, const Policy&, const DeviceInfo& device) noexcept {
    const double packing = is_row_major<Layout> ? cycles_of_packing : 0.0;
    const auto passes = static_cast<double>(tiles_to_cover(p.m, most_rows));
    return modelled_seconds(p.n, p.k, (75.0 + packing) * passes + 36.5 * static_cast<double>(p.m), device);
  }

  static Expected<void> run(const Problem& p, const GemmOperands<Layout>& x, const Policy&, Workspace workspace,
                            Stream) {
    auto chosen = chosen_instruction_set();
    if (!chosen) return fail(std::move(chosen));
    const StripKernels& kernels = (*chosen)->kernels();
    RowPair rows[most_rows];
    StripProduct product{weights_arguments(x.b),
                         decode_activations(kernels, x.a, p.m, p.k, workspace),
                         output_arguments(x.c, p.output, p.n, false),
                         rows,
                         0,
                         subnormals_are_fast(),
                         1};
    for (Index first_row = 0; first_row < p.m; first_row += most_rows) {
      product.count = static_cast<int>(std::min<Index>(p.m - first_row, most_rows));
      for (int i = 0; i < product.count; ++i) rows[i] = {first_row + i, first_row + i, 1.0F};
      share_out(strips_of(p.n), [&](Index first, Index last) { kernels.buffered(product, first, last); });
    }
    return {};
  }
};

}  // namespace millet::cpu
