// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/expert_run.hpp"
#include "millet/backends/gfx950/tiles/slot_sums.hpp"
#include "millet/backends/gfx950/tiles/strip_product.hpp"
#include "millet/backends/gfx950/tiles/swiglu.hpp"

namespace millet::gfx950 {

/// Routing entries of one expert that go through its weights at once: one a lane.
inline constexpr int grouped_tokens = wave_lanes;

/// The grouped product as one lane sees it. Work-group (x, y): Waves / k_waves strips of 16 columns from strip
/// x * (Waves / k_waves) of the expert whose run of routing blocks starts at block y; it does the whole run, 64 entries
/// at a time, so that each weight is read once an expert with up to 64 rows. Entries that name no slot are tokens that
/// read as zero and are not stored; behind the last that names one, tiles are left out.
///
/// SwiGLU pairs two of the four neighbouring rows of B whose sums a lane has. Sums over slots: slot_sums.hpp.
template <int Waves, int Steps, bool RowMajor, bool Bf16>
MILLET_GPU void grouped_gemm_mfma_scale(const GroupedArguments& x) {
  constexpr std::uint32_t threads = Waves * wave_lanes;
  constexpr int most_tiles = grouped_tokens / mfma_rows;
  MILLET_LDS(Vec4f, Waves * most_tiles * wave_lanes, lds);
  MILLET_LDS(std::uint32_t, 1, arrived_before);
  MILLET_LDS(std::uint32_t, flagged_slots, slot_flags);
  loaded_by_here(x.b.values, x.b.scales, x.b.expert_value_stride, x.b.expert_scale_stride, x.b.strips, x.b.steps,
                 x.k_waves_log2, x.experts, x.slots, x.block_m, x.routing_blocks, x.sorted_token_ids, x.expert_ids,
                 x.num_tokens_post_padded);
  const auto first_block = static_cast<std::int32_t>(group_id_y());
  const std::int32_t first_entry = first_block * x.block_m;
  // Most runs fit in this one load, which goes out together with those that find the expert.
  std::int32_t slot = slot_in_lane(x, first_entry, x.routing_blocks * x.block_m);
  const ExpertRun run = expert_run(x, first_block);
  if (run.expert < 0 && (x.top_k == 0 || arrivals_of(run) == 0)) return;
  const std::int32_t entries = run.expert < 0 ? 0 : run.blocks * x.block_m;

  const auto wave = static_cast<std::uint32_t>(wave_id());
  const std::uint32_t first_strip = group_id_x() * Waves >> x.k_waves_log2;
  const std::uint32_t strip = first_strip + (wave >> x.k_waves_log2);
  const bool has_strip = strip < x.b.strips;
  const auto expert = static_cast<std::uint32_t>(run.expert < 0 ? 0 : run.expert);
  const StripBuffers<RowMajor> b(x.b, expert, has_strip ? strip : 0);

  for (std::int32_t at = 0; at < entries; at += grouped_tokens) {
    if (at > 0) slot = slot_in_lane(reloaded(x), first_entry + at, first_entry + entries);
    const bool named = slot >= 0 && at + lane_id() < entries;
    const std::uint64_t all_named = ballot(named);
    if (all_named == 0) continue;

    const auto multiply = [&](auto tiles) {
      constexpr int Tiles = tiles;
      Vec4f sums[Tiles] = {};
      if (has_strip) {
        const auto tokens_of = [&] {
          const std::uint32_t row = named ? static_cast<std::uint32_t>(slot) / not_hoisted(x.a_div) : ~0U;
          return TokenRows<Tiles, Bf16>(x.a, x.b.k,
                                        [&](int token) { return static_cast<std::int32_t>(shuffle(row, token)); });
        };
        const std::uint32_t share = wave & ((1U << x.k_waves_log2) - 1);
        multiply_share<Steps, Bf16>(b, tokens_of, x.b, share, 1U << x.k_waves_log2, sums);
      }
      // Computed here, not ahead of the weights for all rounds.
      const WaveSums<Waves, Tiles> wave_sums{lds, not_hoisted(x.k_waves_log2)};
      const auto thread = static_cast<std::uint32_t>(lanes_not_hoisted(thread_id()));
      wave_sums.write(sums);
      barrier();
      for (std::uint32_t quad = thread; quad < wave_sums.quads(); quad += threads) {
        const Quad in_strip = wave_sums.in_strip(quad);
        const std::uint32_t column = (first_strip + wave_sums.strip(quad)) * mfma_rows + in_strip.column;
        const std::uint32_t to = shuffle(static_cast<std::uint32_t>(slot), static_cast<int>(in_strip.token));
        if ((all_named >> in_strip.token & 1) == 0 || column >= x.b.n) continue;
        const Vec4f sum = wave_sums.sum(quad);
        const float weight = x.slot_weights == nullptr ? 1.0F : load(x.slot_weights + to);
        if (x.gated == 0 && x.top_k == 0) {
          store_quad(x.c, x.b.n, to, column, sum * weight);
          continue;
        }
        const GroupedArguments late = reloaded(x);
        if (late.gated != 0) {
          store_gated(late, to, column, sum, weight);
        } else {
          store_b128<Cache::device>(slot_rows(late), slot_row_offset(late, to, column),
                                    __builtin_bit_cast(Vec4u, sum * weight));
        }
      }
    };
    const int tokens = wave_lanes - __builtin_clzll(all_named);
    if (tokens > 2 * mfma_rows) {
      multiply(std::integral_constant<int, most_tiles>{});
    } else if (tokens > mfma_rows) {
      multiply(std::integral_constant<int, 2>{});
    } else {
      multiply(std::integral_constant<int, 1>{});
    }
    if (at + grouped_tokens < entries) barrier();  // everybody has read these sums
  }
  if (x.top_k == 0) return;
  const GroupedArguments late = reloaded(x);
  sum_slots<threads>(late, arrivals_of(run), first_strip * mfma_rows, Waves * mfma_rows >> late.k_waves_log2,
                     arrived_before, slot_flags);
}

}  // namespace millet::gfx950
