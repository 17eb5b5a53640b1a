// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/portable/tiles/column_items.hpp"
#include "millet/backends/portable/tiles/strip_product.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::portable {

/// Any number of rows: each block of weights is decoded once for up to 64 rows. One item a strip of columns and 64
/// rows.
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
    typename Layout::View b;
    DecodedActivations a;
    OutputColumns out;
    Index m;

    template <class Shape>
    MILLET_HD MILLET_INLINE void run(Index item) const {
      const Index strips = column_items(out.n);
      const Index first_row = item / strips * rows_per_pass;
      const int count = static_cast<int>(m - first_row < rows_per_pass ? m - first_row : rows_per_pass);
      RowPair rows[rows_per_pass];
      for (int i = 0; i < count; ++i) rows[i] = {first_row + i, first_row + i, 1.0F};
      buffered_product<Shape>(b, a, rows, count, item % strips * columns_per_item, false, out);
    }
  };

  static Expected<void> run(const Problem& p, const GemmOperands<Layout>& x, const Policy&, Workspace workspace,
                            Stream) {
    const DecodedActivations a = decode_activations(Kokkos::DefaultExecutionSpace(), x.a, p.m, p.k, workspace);
    launch_items("portable.gemm", Work{x.b, a, {x.c, p.output, p.n}, p.m},
                 column_items(p.n) * tiles_to_cover(p.m, rows_per_pass));
    return {};
  }
};

}  // namespace millet::portable
