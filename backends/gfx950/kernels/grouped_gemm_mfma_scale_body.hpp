// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/strip_product.hpp"

namespace millet::gfx950 {

/// Tokens of one expert that go through its weights at once.
inline constexpr int grouped_tokens = 64;

/// The expert of a routing block in use, or -1: no id outside its range is ever used as an index.
MILLET_GPU std::int32_t expert_of(const GroupedArguments& x, std::int32_t block) {
  if (block >= x.routing_blocks || block * x.block_m >= load(x.num_tokens_post_padded)) return -1;
  const std::int32_t expert = load(x.expert_ids + block);
  return expert >= 0 && expert < x.experts ? expert : -1;
}

/// The grouped product as one lane sees it. Work-group (x, y): Waves / k_waves strips of 16 columns from strip
/// x * (Waves / k_waves) of the expert whose run of routing blocks starts at block y; it does the whole run, 64 tokens
/// at a time, so that each weight is read once an expert with up to 64 rows.
template <int Waves, int Steps, bool RowMajor, bool Bf16>
MILLET_GPU void grouped_gemm_mfma_scale(const GroupedArguments& x) {
  constexpr std::uint32_t threads = Waves * wave_lanes;
  constexpr int most_tiles = grouped_tokens / mfma_rows;
  MILLET_LDS(Vec4f, Waves * most_tiles * wave_lanes, lds);
  MILLET_LDS(std::int32_t, grouped_tokens, slots);
  MILLET_LDS(std::int32_t, 2, gathered);  // how many slots, and how far into the run
  const auto first_block = static_cast<std::int32_t>(group_id_y());
  const std::int32_t expert = expert_of(x, first_block);
  if (expert < 0 || (first_block > 0 && expert_of(x, first_block - 1) == expert)) return;
  std::int32_t end_block = first_block + 1;
  while (expert_of(x, end_block) == expert) ++end_block;
  const std::int32_t* const ids = x.sorted_token_ids + first_block * x.block_m;
  const std::int32_t entries = (end_block - first_block) * x.block_m;

  const auto wave = static_cast<std::uint32_t>(wave_id());
  const int lane = lane_id();
  const std::uint32_t first_strip = group_id_x() * Waves >> x.k_waves_log2;
  const std::uint32_t strip = first_strip + (wave >> x.k_waves_log2);
  const bool has_strip = strip < x.b.strips;
  const StripBuffers<RowMajor> b(x.b, static_cast<std::uint32_t>(expert), has_strip ? strip : 0);

  for (std::int32_t entry = 0; entry < entries;) {
    if (wave == 0) {  // gathers slot ids that name a row, skipping padding and whatever else is out of range
      int count = 0;
      std::int32_t at = entry;
      while (at < entries && count < grouped_tokens) {
        const bool inside = at + lane < entries;
        const std::int32_t slot = inside ? load(ids + at + lane) : -1;
        const bool valid = slot >= 0 && slot < x.slots;
        const std::uint64_t all = ballot(valid);
        const int place = count + __builtin_popcountll(all & ((std::uint64_t{1} << lane) - 1));
        const bool fits = place < grouped_tokens;
        if (valid && fits) slots.write(place, slot);
        const std::uint64_t left_out = ballot(valid && !fits);
        const int total = count + __builtin_popcountll(all);
        count = total < grouped_tokens ? total : grouped_tokens;
        at += left_out == 0 ? wave_lanes : __builtin_ctzll(left_out);  // goes on at the first that did not fit
      }
      if (lane == 0) {
        gathered.write(0, count);
        gathered.write(1, at);
      }
    }
    barrier();
    const std::uint32_t count = uniform(static_cast<std::uint32_t>(gathered.read(0)));
    entry = static_cast<std::int32_t>(uniform(static_cast<std::uint32_t>(gathered.read(1))));

    const auto multiply = [&](auto tiles) {
      constexpr int Tiles = tiles;
      Vec4f sums[Tiles] = {};
      if (has_strip) {
        const TokenRows<Tiles, Bf16> a(x.a, x.b.k, [&](int token) {
          if (static_cast<std::uint32_t>(token) >= count) return -1;
          return static_cast<std::int32_t>(static_cast<std::uint32_t>(slots.read(token)) / x.a_div);
        });
        const std::uint32_t share = wave & ((1U << x.k_waves_log2) - 1);
        multiply_share<Steps>(b, a, x.b, share, 1U << x.k_waves_log2, sums);
      }
      const WaveSums<Waves, Tiles> wave_sums{lds, x.k_waves_log2};
      wave_sums.write(sums);
      barrier();
      for (std::uint32_t quad = static_cast<std::uint32_t>(thread_id()); quad < wave_sums.quads(); quad += threads) {
        const Quad at = wave_sums.in_strip(quad);
        const std::uint32_t column = (first_strip + wave_sums.strip(quad)) * mfma_rows + at.column;
        if (at.token >= count || column >= x.b.n) continue;
        const Index slot = slots.read(static_cast<int>(at.token));
        Vec4f sum = wave_sums.sum(quad);
        if (x.slot_weights != nullptr) sum *= load(x.slot_weights + slot);
        store_quad(x.c, x.b.n, slot, column, sum);
      }
    };
    if (count > 2 * mfma_rows) {
      multiply(std::integral_constant<int, most_tiles>{});
    } else if (count > mfma_rows) {
      multiply(std::integral_constant<int, 2>{});
    } else if (count > 0) {
      multiply(std::integral_constant<int, 1>{});
    }
    if (entry < entries) barrier();  // everybody has read this round's slots and sums
  }
}

}  // namespace millet::gfx950
