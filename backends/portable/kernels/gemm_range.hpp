// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/portable/tiles/column_items.hpp"
#include "millet/backends/portable/tiles/decode_activations.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::portable {

/// Any number of rows: each block of weights is decoded once for up to 64 rows. One item up to four strips
/// of columns and 64 rows.
template <class Layout>
struct GemmRange {
  static constexpr std::string_view id =
      std::is_same_v<Layout, StripWeights> ? "portable.gemm_range" : "portable.gemm_range_row_major";
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
    return DecodedActivations::bytes(p.m, p.k);
  }

  struct Work {
    Product<typename Layout::View> product;
    ColumnItems<typename Layout::View> columns;
    Index m;

    MILLET_HD void operator()(Index item) const {
      const Index first_row = item / columns.count() * rows_per_pass;
      const int count = static_cast<int>(m - first_row < rows_per_pass ? m - first_row : rows_per_pass);
      RowPair rows[rows_per_pass];
      for (int i = 0; i < count; ++i) rows[i] = {first_row + i, first_row + i, 1.0F};
      columns.multiply_buffered(product, rows, count, item % columns.count());
    }
  };

  static Expected<void> run(const Problem& p, const GemmOperands<Layout>& x, const Policy&, Workspace workspace,
                            Stream) {
    const DecodedActivations a = decode_activations(Kokkos::DefaultExecutionSpace(), x.a, p.m, p.k, workspace);
    const Index passes = tiles_to_cover(p.m, rows_per_pass);
    const ColumnItems<typename Layout::View> columns(p.n, passes);
    launch_items("portable.gemm", Work{{x.b, a, {x.c, p.output, p.n}, false, needed_properties()}, columns, p.m},
                 columns.count() * passes);
    return {};
  }
};

}  // namespace millet::portable
