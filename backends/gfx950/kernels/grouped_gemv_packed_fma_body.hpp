// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/expert_run.hpp"
#include "millet/backends/gfx950/tiles/row_product.hpp"
#include "millet/backends/gfx950/tiles/slot_sums.hpp"
#include "millet/backends/gfx950/tiles/swiglu.hpp"

namespace millet::gfx950 {

/// The grouped product of few rows an expert as one lane sees it, on the vector units. Work-group (x, y): Waves /
/// k_waves strips of 16 columns from strip x * (Waves / k_waves) of the expert whose run of routing blocks starts at
/// block y; it does the whole run, up to two tokens at a time.
///
/// Weights are asked for as soon as the expert is known, and stay in registers while the expert's tokens pass: they are
/// read once if a strip's k fits its waves (k <= k_waves * Steps * 128), else once for each two tokens. Every wave
/// reads the routing for itself, so that a token's rows are scalars. Sums are ordered as in gemv_packed_fma, and
/// with the epilogues as in grouped_gemm_mfma_scale.
template <int Waves, int Steps, bool RowMajor, bool Bf16>
MILLET_GPU void grouped_gemv_packed_fma(const GroupedArguments& x) {
  constexpr std::uint32_t most_tokens = 2;
  using Sums = LaneSums<Waves, most_tokens>;
  MILLET_LDS(float, 2 * Sums::size, lds);  // by turns: while one is summed up, the other is written
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
  const std::uint32_t k_waves_mask = (1U << x.k_waves_log2) - 1;
  const std::uint32_t first_strip = group_id_x() * Waves >> x.k_waves_log2;
  const std::uint32_t strip = first_strip + (wave >> x.k_waves_log2);
  const bool has_strip = strip < x.b.strips;
  const auto expert = static_cast<std::uint32_t>(run.expert < 0 ? 0 : run.expert);
  const StripBuffers<RowMajor> b(x.b, expert, has_strip ? strip : 0);
  // Shares of Steps steps go round the waves of the strip. What lies beyond k reads as zero, without touching memory.
  // The last work-group may have waves without a strip, which begin there.
  const std::uint32_t first_step = has_strip ? (wave & k_waves_mask) * Steps : x.b.steps;
  const std::uint32_t stride = (k_waves_mask + 1) * Steps;

  const auto multiply_run = [&](auto one_pass) {
    RowShare<Steps, RowMajor> weights;
    if constexpr (one_pass) weights.load(b, first_step);
    std::uint32_t turn = 0;
    for (std::int32_t at = 0; at < entries; at += wave_lanes) {
      if (at > 0) slot = slot_in_lane(reloaded(x), first_entry + at, first_entry + entries);
      const std::uint32_t row =
          static_cast<std::uint32_t>(slot) / not_hoisted(x.a_div);  // not used where the slot is -1
      std::uint64_t left = ballot(slot >= 0 && at + lane_id() < entries);
      const auto multiply = [&](auto tokens) {
        constexpr int Tokens = tokens;
        std::uint32_t slots[Tokens];
        std::uint32_t rows[Tokens];
        for_each_index<Tokens>([&](auto token) {
          const int entry = __builtin_ctzll(left);
          left &= left - 1;
          slots[token] = read_lane(static_cast<std::uint32_t>(slot), entry);
          rows[token] = read_lane(row, entry);
        });

        // Of the one element of C that this thread stores.
        const Sums lane_sums{lds, turn * Sums::size, x.k_waves_log2};
        const auto thread = static_cast<std::uint32_t>(lanes_not_hoisted(thread_id()));
        const std::uint32_t columns_log2 = lane_sums.rows_log2() - x.gated;
        const std::uint32_t token = thread >> columns_log2;
        const std::uint32_t in_group = thread & ((1U << columns_log2) - 1);
        const std::uint32_t to = token == 0 ? slots[0] : slots[Tokens - 1];
        const float slot_weight = x.slot_weights == nullptr ? 1.0F : load(x.slot_weights + to);

        const TokenVectors<Tokens, Bf16> a(x.a, x.b.k, [&](auto i) { return rows[i]; });
        float sums[Tokens] = {};
        if constexpr (one_pass) {
          multiply_tokens(weights, a, not_hoisted(first_step), sums);
        } else {
          for (std::uint32_t next = first_step; next < x.b.steps; next += stride) {
            const std::uint32_t step = not_hoisted(next);
            weights.load(b, step);
            multiply_tokens(weights, a, step, sums);
          }
        }
        for_each_index<Tokens>([&](auto i) { lds.write(lane_sums.place(i), sums[i]); });
        barrier();
        const GroupedArguments late = reloaded(x);
        const std::uint32_t b_row = first_strip * mfma_rows + (in_group << late.gated);
        if (token < Tokens && b_row < late.b.n) {
          float sum = lane_sums.sum(token, in_group << late.gated);
          if (late.gated != 0) sum = swiglu(late.gate, sum, lane_sums.sum(token, 2 * in_group + 1));
          sum *= slot_weight;
          if (late.top_k == 0) {
            store_element(late.c, to, b_row >> late.gated, sum);
          } else {
            store_device(reinterpret_cast<std::uint32_t*>(late.slot_rows) + slot_row_element(late, to, b_row),
                         __builtin_bit_cast(std::uint32_t, sum));
          }
        }
        turn ^= 1U;
      };
      while (left != 0) {
        if ((left & (left - 1)) != 0) {
          multiply(std::integral_constant<int, most_tokens>{});
        } else {
          multiply(std::integral_constant<int, 1>{});
        }
      }
    }
  };
  if (run.expert >= 0) {
    if (x.b.steps <= stride) {
      multiply_run(std::true_type{});
    } else {
      multiply_run(std::false_type{});
    }
  }
  const GroupedArguments late = reloaded(x);
  if (late.top_k == 0) return;
  sum_slots<Waves * wave_lanes>(late, arrivals_of(run), first_strip * mfma_rows, Waves * mfma_rows >> late.k_waves_log2,
                                arrived_before, slot_flags);
}

}  // namespace millet::gfx950
