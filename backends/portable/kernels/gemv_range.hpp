// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/portable/tiles/column_items.hpp"
#include "millet/backends/portable/tiles/decode_activations.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::portable {

/// 1 to 4 rows straight from the codes: decoding in registers, no buffer. One item up to four strips of columns.
template <class Layout>
struct GemvRange {
  static constexpr std::string_view id =
      std::is_same_v<Layout, StripWeights> ? "portable.gemv_range" : "portable.gemv_range_row_major";
  static constexpr Operation operation = Operation::gemv;
  static constexpr Determinism determinism = Determinism::batch_invariant;
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 1;
  using Problem = GemmProblem;
  using Weights = Layout;
  struct Policy {};
  static constexpr Policy policies[] = {{}};
  static constexpr Envelope envelope{.m_max = most_direct_rows, .bf16_activations = true, .f32_activations = true};

  static std::string name(const Policy&) { return "default"; }
  static constexpr Verdict supports(const Problem& p) noexcept { return envelope.contains(p); }
  static constexpr Index workspace_bytes(const Problem& p, const Policy&) noexcept {
    return DecodedActivations::bytes(p.m, p.k);
  }

  struct Work {
    Product<typename Layout::View> product;
    ColumnItems<typename Layout::View> columns;
    int m;

    MILLET_HD void operator()(Index item) const {
      RowPair rows[most_direct_rows];
      for (int i = 0; i < m; ++i) rows[i] = {i, i, 1.0F};
      columns.multiply_directly(product, rows, m, item);
    }
  };

  static Expected<void> run(const Problem& p, const GemmOperands<Layout>& x, const Policy&, Workspace workspace,
                            Stream) {
    const DecodedActivations a = decode_activations(Kokkos::DefaultExecutionSpace(), x.a, p.m, p.k, workspace);
    const ColumnItems<typename Layout::View> columns(p.n, 1);
    launch_items("portable.gemv",
                 Work{{x.b, a, {x.c, p.output, p.n}, false, needed_properties()}, columns, static_cast<int>(p.m)},
                 columns.count());
    return {};
  }
};

}  // namespace millet::portable
