// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/cpu/tiles/kernel_arguments.hpp"
#include "millet/dispatch/grouped_epilogue.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::cpu {

/// Rows of every expert, any number. An item is a few strips and a run of routing blocks of one expert, so that an
/// expert's weights are read once for up to 128 of its rows; free threads take the next item.
template <class Layout>
struct GroupedGemmStrip {
  static constexpr std::string_view id =
      is_row_major<Layout> ? "cpu.grouped_gemm_strip_row_major" : "cpu.grouped_gemm_strip";
  static constexpr Operation operation = Operation::grouped_gemm;
  static constexpr Determinism determinism = Determinism::batch_invariant;
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 1;
  using Problem = GroupedProblem;
  using Weights = Layout;
  struct Policy {
    int strips;  ///< of an item
  };
  static constexpr Policy policies[] = {{4}, {8}};
  static constexpr Envelope envelope{
      .bf16_activations = true, .f32_activations = true, .swiglu = true, .topk_sum = true};

  static std::string name(const Policy& policy) { return fmt::format("{} strips an item", policy.strips); }
  static constexpr Verdict supports(const Problem& p) noexcept { return envelope.contains(p); }
  static constexpr Index workspace_bytes(const Problem& p, const Policy&) noexcept {
    return workspace_with_sums(activation_bytes_decoded(p.a_rows(), p.k), p);
  }

  static Expected<void> run(const Problem& p, const GroupedOperands<Layout>& x, const Policy& policy,
                            Workspace workspace, Stream) {
    if (p.epilogue == Epilogue::none) return run_product(p, x, policy, workspace);
    GroupedOperands<Layout> summed = x;
    summed.c = sums_output(p, workspace, activation_bytes_decoded(p.a_rows(), p.k));
    auto* const sums = static_cast<float*>(summed.c.values);
    if (p.epilogue == Epilogue::topk_sum) std::fill_n(sums, p.slots * p.n, 0.0F);
    if (auto done = run_product(sums_problem(p), summed, policy, workspace); !done) return done;
    const SecondPass pass{p, x.routing, sums, x.c};
    hand_out(pass.items(), pass);
    return {};
  }

 private:
  static Expected<void> run_product(const Problem& p, const GroupedOperands<Layout>& x, const Policy& policy,
                                    Workspace workspace) {
    auto chosen = chosen_instruction_set();
    if (!chosen) return fail(std::move(chosen));
    const StripKernels& kernels = (*chosen)->kernels();
    const StripProduct product{weights_arguments(x.b),
                               decode_activations(kernels, x.a, p.a_rows(), p.k, workspace),
                               output_arguments(x.c, p.output, p.n, p.weighted),
                               nullptr,
                               0,
                               subnormals_are_fast(),
                               4};
    const Index strips = strips_of(p.n);
    const Index items_a_block = tiles_to_cover(strips, policy.strips);
    hand_out(items_a_block * p.blocks(), [&](Index item) {
      const Index first_strip = item % items_a_block * policy.strips;
      run_item(p, x, product, kernels, item / items_a_block, first_strip,
               std::min(first_strip + policy.strips, strips));
    });
    return {};
  }

  /// The expert of a routing block in use, or -1.
  static Index expert_of(const Problem& p, const RoutingView& routing, Index block) noexcept {
    if (block >= p.blocks() || block * p.block_m >= *routing.num_tokens_post_padded) return -1;
    const Index expert = routing.expert_ids[block];
    return expert >= 0 && expert < p.experts ? expert : -1;
  }

  static void run_item(const Problem& p, const GroupedOperands<Layout>& x, StripProduct product,
                       const StripKernels& kernels, Index first_block, Index first_strip, Index last_strip) noexcept {
    const Index expert = expert_of(p, x.routing, first_block);
    // The item of the first block of a run does the whole run; no id outside its range is ever used as an index.
    if (expert < 0 || (first_block > 0 && expert_of(p, x.routing, first_block - 1) == expert)) return;
    product.b.values += expert * x.expert_value_stride;
    product.b.scales += expert * x.expert_scale_stride;

    RowPair rows[most_rows];
    product.rows = rows;
    const auto multiply = [&] {
      const auto kernel = product.count <= most_direct_rows ? kernels.direct : kernels.buffered;
      kernel(product, first_strip, last_strip);
      product.count = 0;
    };
    for (Index block = first_block; expert_of(p, x.routing, block) == expert; ++block) {
      for (Index i = 0; i < p.block_m; ++i) {
        const Index slot = x.routing.sorted_token_ids[block * p.block_m + i];
        if (slot < 0 || slot >= p.slots) continue;
        rows[product.count++] = {slot / p.a_div, slot, p.weighted ? x.routing.slot_weights[slot] : 1.0F};
        if (product.count == most_rows) multiply();
      }
    }
    if (product.count > 0) multiply();
  }
};

}  // namespace millet::cpu
