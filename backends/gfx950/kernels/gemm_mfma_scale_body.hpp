// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/strip_product.hpp"

namespace millet::gfx950 {

/// The dense product as one lane sees it. Work-group (x, y): Waves / k_waves strips of 16 columns of C from strip
/// x * (Waves / k_waves), share y of `splits` of their k; all m <= 16 Tiles tokens, so that weights are read once.
///
/// Sums are added in an order that only the shape and the policy determine: over a wave's steps, over the waves of the
/// work-group (LDS), over the splits (by the last work-group to arrive, which reads all partial sums).
template <int Tiles, int Waves, int Steps, bool RowMajor, bool Bf16>
MILLET_GPU void gemm_mfma_scale(const GemmArguments& x) {
  constexpr std::uint32_t threads = Waves * wave_lanes;
  MILLET_LDS(Vec4f, Waves * Tiles * wave_lanes, lds);
  MILLET_LDS(std::uint32_t, 1, arrived_before);
  loaded_by_here(x.b.values, x.b.scales, x.b.n, x.b.k, x.b.strips, x.b.steps, x.a.values, x.a.scales, x.a.rows,
                 x.a.value_stride, x.a.scale_stride, x.a.value_bytes, x.a.scale_bytes, x.c.values, x.c.row_stride,
                 x.c.bf16, x.k_waves_log2, x.splits);
  const std::uint32_t row = group_id_x();
  const std::uint32_t split = group_id_y();
  const auto wave = static_cast<std::uint32_t>(wave_id());
  const std::uint32_t first_strip = row * Waves >> x.k_waves_log2;
  const std::uint32_t strip = first_strip + (wave >> x.k_waves_log2);

  Vec4f sums[Tiles] = {};
  if (strip < x.b.strips) {  // the last work-group may have waves without a strip
    const StripBuffers<RowMajor> b(x.b, 0, strip);
    const auto tokens_of = [&] {
      return TokenRows<Tiles, Bf16>(
          x.a, x.b.k, [&](int token) { return static_cast<std::uint32_t>(token) < x.a.rows ? token : -1; });
    };
    const std::uint32_t share = (split << x.k_waves_log2) + (wave & ((1U << x.k_waves_log2) - 1));
    multiply_share<Steps, Bf16>(b, tokens_of, x.b, share, x.splits << x.k_waves_log2, sums);
  }

  const WaveSums<Waves, Tiles> wave_sums{lds, x.k_waves_log2};
  wave_sums.write(sums);
  barrier();
  const std::uint32_t quads = wave_sums.quads();
  const auto thread = static_cast<std::uint32_t>(thread_id());
  const auto store_sum = [&](std::uint32_t quad, Vec4f sum) {
    const Quad at = wave_sums.in_strip(quad);
    const std::uint32_t column = (first_strip + wave_sums.strip(quad)) * mfma_rows + at.column;
    if (at.token < x.a.rows && column < x.b.n) store_quad(x.c, x.b.n, at.token, column, sum);
  };
  if (x.splits == 1) {
    for (std::uint32_t quad = thread; quad < quads; quad += threads) store_sum(quad, wave_sums.sum(quad));
    return;
  }

  // Partial sums go past this die's L2, so that whoever arrives last, on any die, sees them.
  const std::uint32_t plane_bytes = quads * 16;
  const Buffer planes = make_buffer(x.partial_sums + Index{row} * x.splits * quads * 4, x.splits * plane_bytes);
  for (std::uint32_t quad = thread; quad < quads; quad += threads) {
    store_b128<Cache::device>(planes, split * plane_bytes + quad * 16, __builtin_bit_cast(Vec4u, wave_sums.sum(quad)));
  }
  wait_for_memory();
  barrier();
  if (thread == 0) arrived_before.write(0, fetch_add(x.arrivals + row, 1));
  barrier();
  if (uniform(arrived_before.read(0)) != x.splits - 1) return;
  if (thread == 0) store_device(x.arrivals + row, 0);  // as the next call wants to find it
  for (std::uint32_t quad = thread; quad < quads; quad += threads) {
    Vec4f sum = __builtin_bit_cast(Vec4f, load_b128<Cache::device>(planes, quad * 16));
    for (std::uint32_t i = 1; i < x.splits; ++i) {
      sum += __builtin_bit_cast(Vec4f, load_b128<Cache::device>(planes, i * plane_bytes + quad * 16));
    }
    store_sum(quad, sum);
  }
}

}  // namespace millet::gfx950
