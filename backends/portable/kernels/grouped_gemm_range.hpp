// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/portable/tiles/column_items.hpp"
#include "millet/backends/portable/tiles/decode_activations.hpp"
#include "millet/dispatch/grouped_epilogue.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::portable {

/// Rows of every expert, any number: one item up to four strips of columns and a run of routing blocks of one expert,
/// so that an expert's weights are read once for up to 64 of its rows.
template <class Layout>
struct GroupedGemmRange {
  static constexpr std::string_view id =
      std::is_same_v<Layout, StripWeights> ? "portable.grouped_gemm_range" : "portable.grouped_gemm_range_row_major";
  static constexpr Operation operation = Operation::grouped_gemm;
  static constexpr Determinism determinism = Determinism::batch_invariant;
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 1;
  using Problem = GroupedProblem;
  using Weights = Layout;
  struct Policy {};
  static constexpr Policy policies[] = {{}};
  static constexpr Envelope envelope{
      .bf16_activations = true, .f32_activations = true, .swiglu = true, .topk_sum = true};

  static std::string name(const Policy&) { return "default"; }
  static constexpr Verdict supports(const Problem& p) noexcept { return envelope.contains(p); }
  static constexpr Index workspace_bytes(const Problem& p, const Policy&) noexcept {
    return workspace_with_sums(DecodedActivations::bytes(p.a_rows(), p.k), p);
  }

  struct Work {
    GroupedOperands<Layout> x;
    Product<typename Layout::View> product;  ///< of expert 0
    ColumnItems<typename Layout::View> columns;
    GroupedProblem p;

    MILLET_HD void operator()(Index item) const {
      const Index first_block = item / columns.count();
      const Index expert = expert_of(first_block);
      // The item of the first block of a run does the whole run; no id outside its range is ever used as an index.
      if (expert < 0 || (first_block > 0 && expert_of(first_block - 1) == expert)) return;
      Product<typename Layout::View> of_expert = product;
      of_expert.b.values += expert * x.expert_value_stride;
      of_expert.b.scales += expert * x.expert_scale_stride;

      RowPair rows[rows_per_pass];
      int count = 0;
      for (Index block = first_block; expert_of(block) == expert; ++block) {
        for (Index i = 0; i < p.block_m; ++i) {
          const Index slot = x.routing.sorted_token_ids[block * p.block_m + i];
          if (slot < 0 || slot >= p.slots) continue;
          rows[count++] = {slot / p.a_div, slot, p.weighted ? x.routing.slot_weights[slot] : 1.0F};
          if (count == rows_per_pass) {
            multiply(of_expert, rows, count, item % columns.count());
            count = 0;
          }
        }
      }
      if (count > 0) multiply(of_expert, rows, count, item % columns.count());
    }

   private:
    /// The expert of a routing block in use, or -1.
    MILLET_HD MILLET_INLINE Index expert_of(Index block) const {
      if (block >= p.blocks() || block * p.block_m >= *x.routing.num_tokens_post_padded) return -1;
      const Index expert = x.routing.expert_ids[block];
      return expert >= 0 && expert < p.experts ? expert : -1;
    }

    MILLET_HD void multiply(const Product<typename Layout::View>& of_expert, const RowPair* rows, int count,
                            Index item) const {
      if (count <= most_direct_rows) return columns.multiply_directly(of_expert, rows, count, item);
      columns.multiply_buffered(of_expert, rows, count, item);
    }
  };

  static Expected<void> run(const Problem& p, const GroupedOperands<Layout>& x, const Policy&, Workspace workspace,
                            Stream) {
    if (p.epilogue == Epilogue::none) {
      run_product(p, x, workspace);
      return {};
    }
    const Kokkos::DefaultExecutionSpace space;
    GroupedOperands<Layout> summed = x;
    summed.c = sums_output(p, workspace, DecodedActivations::bytes(p.a_rows(), p.k));
    const Sums sums(static_cast<float*>(summed.c.values), static_cast<std::size_t>(p.slots * p.n));
    if (p.epilogue == Epilogue::topk_sum) Kokkos::deep_copy(space, sums, 0.0F);
    run_product(sums_problem(p), summed, workspace);
    const SecondPass pass{p, x.routing, sums.data(), x.c};
    using Range = Kokkos::RangePolicy<Kokkos::DefaultExecutionSpace, Kokkos::IndexType<Index>>;
    Kokkos::parallel_for("portable.grouped_epilogue", Range(space, 0, pass.items()), pass);
    return {};
  }

 private:
  using Sums = Kokkos::View<float*, Kokkos::DefaultExecutionSpace::memory_space, Kokkos::MemoryUnmanaged>;

  static void run_product(const Problem& p, const GroupedOperands<Layout>& x, Workspace workspace) {
    const DecodedActivations a = decode_activations(Kokkos::DefaultExecutionSpace(), x.a, p.a_rows(), p.k, workspace);
    const ColumnItems<typename Layout::View> columns(p.n, p.blocks());
    launch_items("portable.grouped_gemm",
                 Work{x, {x.b, a, {x.c, p.output, p.n}, p.weighted, needed_properties()}, columns, p},
                 columns.count() * p.blocks());
  }
};

}  // namespace millet::portable
