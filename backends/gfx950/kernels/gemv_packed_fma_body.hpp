// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/row_product.hpp"

namespace millet::gfx950 {

/// Tokens of one launch at most.
inline constexpr int gemv_most_tokens = 16;

/// The dense product of few tokens as one lane sees it, on the vector units. Work-group x: Waves / k_waves strips of 16
/// columns of C from strip x * (Waves / k_waves), for all m <= 16 tokens, `Tokens` of them at a time; the weights are
/// read once. A lane multiplies a quarter of the k of one row of B: the bytes that it would give to a scaled MFMA.
///
/// Sums are added in an order that only k and the policy determine: over a lane's runs, over the four lanes of a row,
/// over the waves of a strip. So a row of C has the same bits in any number of tokens.
template <int Tokens, int Waves, int Steps, bool RowMajor, bool Bf16>
MILLET_GPU void gemv_packed_fma(const GemmArguments& x) {
  constexpr std::uint32_t threads = Waves * wave_lanes;
  // One or two tokens are all there are.
  constexpr std::uint32_t most_tokens = Tokens == 4 ? gemv_most_tokens : Tokens;
  using Sums = LaneSums<Waves, most_tokens>;
  MILLET_LDS(float, Sums::size, lds);
  const Sums lane_sums{lds, 0, x.k_waves_log2};
  const auto wave = static_cast<std::uint32_t>(wave_id());
  const std::uint32_t k_waves_mask = (1U << x.k_waves_log2) - 1;
  const std::uint32_t first_strip = group_id_x() * Waves >> x.k_waves_log2;
  const std::uint32_t strip = first_strip + (wave >> x.k_waves_log2);

  if (strip < x.b.strips) {  // the last work-group may have waves without a strip
    const auto for_each_chunk = [&](auto&& f) {
      if constexpr (most_tokens == Tokens) {
        f(0U);
      } else {
        for (std::uint32_t first = 0; first < x.a.rows; first += Tokens) f(first);
      }
    };
    for_each_chunk([&](std::uint32_t first) {
      for_each_index<Tokens>([&](auto token) { lds.write(lane_sums.place(first + token), 0.0F); });
    });
    const StripBuffers<RowMajor> b(x.b, 0, strip);
    // Shares of Steps steps go round the waves of the strip.
    for (std::uint32_t next = (wave & k_waves_mask) * Steps; next < x.b.steps; next += (k_waves_mask + 1) * Steps) {
      const std::uint32_t first_step = not_hoisted(next);
      RowShare<Steps, RowMajor> weights;
      weights.load(b, first_step);
      for_each_chunk([&](std::uint32_t first) {
        float sums[Tokens];
        for_each_index<Tokens>([&](auto token) { sums[token] = lds.read(lane_sums.place(first + token)); });
        // A row that A does not have is its last one.
        const TokenVectors<Tokens, Bf16> a(
            x.a, x.b.k, [&](std::uint32_t token) { return first + token < x.a.rows ? first + token : x.a.rows - 1; });
        multiply_tokens(weights, a, not_hoisted(first_step), sums);
        for_each_index<Tokens>([&](auto token) { lds.write(lane_sums.place(first + token), sums[token]); });
      });
    }
  }
  barrier();

  const std::uint32_t columns_log2 = lane_sums.rows_log2();
  for (auto i = static_cast<std::uint32_t>(thread_id()); i < x.a.rows << columns_log2; i += threads) {
    const std::uint32_t token = i >> columns_log2;
    const std::uint32_t in_group = i & ((1U << columns_log2) - 1);
    const std::uint32_t column = first_strip * mfma_rows + in_group;
    if (column < x.b.n) store_element(x.c, token, column, lane_sums.sum(token, in_group));
  }
}

}  // namespace millet::gfx950
