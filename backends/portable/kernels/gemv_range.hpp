// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/portable/tiles/column_items.hpp"
#include "millet/backends/portable/tiles/strip_product.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::portable {

/// 1 to 4 rows straight from the codes: decoding in registers, no buffer. One item a strip of columns.
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
  static constexpr Envelope envelope{.m_max = 4, .bf16_activations = true, .f32_activations = true};

  static std::string name(const Policy&) { return "default"; }
  static constexpr Verdict supports(const Problem& p) noexcept { return envelope.contains(p); }
  static constexpr Index workspace_bytes(const Problem& p, const Policy&) noexcept {
    return DecodedActivations::bytes(p.m, p.k);
  }

  template <int M>
  struct Work {
    typename Layout::View b;
    DecodedActivations a;
    OutputColumns out;

    template <class Shape>
    MILLET_HD MILLET_INLINE void run(Index item) const {
      RowPair rows[M];
      for (int m = 0; m < M; ++m) rows[m] = {m, m, 1.0F};
      direct_product<Shape, M>(b, a, rows, item * columns_per_item, false, out);
    }
  };

  static Expected<void> run(const Problem& p, const GemmOperands<Layout>& x, const Policy&, Workspace workspace,
                            Stream) {
    const DecodedActivations a = decode_activations(Kokkos::DefaultExecutionSpace(), x.a, p.m, p.k, workspace);
    const OutputColumns out{x.c, p.output, p.n};
    const Index items = column_items(p.n);
    switch (p.m) {
      case 1:
        launch_items("portable.gemv", Work<1>{x.b, a, out}, items);
        break;
      case 2:
        launch_items("portable.gemv", Work<2>{x.b, a, out}, items);
        break;
      case 3:
        launch_items("portable.gemv", Work<3>{x.b, a, out}, items);
        break;
      default:
        launch_items("portable.gemv", Work<4>{x.b, a, out}, items);
        break;
    }
    return {};
  }
};

}  // namespace millet::portable
