// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/expert_run.hpp"
#include "millet/backends/gfx950/tiles/strip_product.hpp"

// The sum over a token's slots, which are with different experts and so with different work-groups: each stores its
// slots' rows past its die's L2 and counts itself, and the last to arrive adds them up in the order of the slots.

namespace millet::gfx950 {

/// The rows of all slots, [slots][16 strips], f32.
MILLET_GPU std::uint32_t slot_row_stride(const GroupedArguments& x) { return x.b.strips * mfma_rows; }
MILLET_GPU Buffer slot_rows(const GroupedArguments& x) {
  return make_buffer(x.slot_rows, Index{x.slots} * slot_row_stride(x) * Index{sizeof(float)});
}
MILLET_GPU std::uint32_t slot_row_element(const GroupedArguments& x, std::uint32_t slot, std::uint32_t column) {
  return slot * slot_row_stride(x) + column;
}
MILLET_GPU std::uint32_t slot_row_offset(const GroupedArguments& x, std::uint32_t slot, std::uint32_t column) {
  return slot_row_element(x, slot, column) * static_cast<std::uint32_t>(sizeof(float));
}

/// Routing blocks in use.
MILLET_GPU std::uint32_t blocks_in_use(const GroupedArguments& x) {
  const std::int32_t used = load(x.num_tokens_post_padded);
  const std::int32_t blocks = used <= 0 ? 0 : (used - 1) / x.block_m + 1;
  return static_cast<std::uint32_t>(blocks < x.routing_blocks ? blocks : x.routing_blocks);
}

/// Sets flag s where an entry of a block in use names slot first_slot + s, s < flagged_slots.
template <int Threads>
MILLET_GPU void flag_named_slots(const GroupedArguments& x, std::int32_t entries, std::int32_t first_slot,
                                 const LdsArray<std::uint32_t>& flags) {
  for (int i = thread_id(); i < static_cast<int>(flagged_slots); i += Threads) flags.write(i, 0);
  barrier();
  constexpr int at_once = 4;
  for (std::int32_t entry = thread_id(); entry < entries; entry += at_once * Threads) {
    std::int32_t slot[at_once];
    std::int32_t expert[at_once];
    for (int j = 0; j < at_once; ++j) {
      const std::int32_t next = entry + j * Threads;
      const std::int32_t at = next < entries ? next : entry;  // the same flag again
      slot[j] = load(x.sorted_token_ids + at);
      expert[j] = load(x.expert_ids + at / x.block_m);
    }
    for (int j = 0; j < at_once; ++j) {
      const bool here = slot[j] >= first_slot && slot[j] < x.slots && expert[j] >= 0 && expert[j] < x.experts;
      if (here && slot[j] - first_slot < static_cast<std::int32_t>(flagged_slots)) flags.write(slot[j] - first_slot, 1);
    }
  }
  barrier();
}

/// How often the work-group arrives: once for each routing block that it answers for, and the first work-group once
/// more, so that sums are stored where no block is in use.
MILLET_GPU std::uint32_t arrivals_of(const ExpertRun& run) {
  return static_cast<std::uint32_t>(run.blocks) + (group_id_y() == 0 ? 1U : 0U);
}

/// The last work-group of its column of the grid to call this stores the sums of all tokens in `columns` columns from
/// `first_column`, both multiples of 16; zero for a token whose slots nobody did. Every work-group that arrives calls
/// it, with all of its threads, when its slots' rows are stored.
template <int Threads>
MILLET_GPU void sum_slots(const GroupedArguments& x, std::uint32_t arrivals, std::uint32_t first_column,
                          std::uint32_t columns, const LdsArray<std::uint32_t>& arrived_before,
                          const LdsArray<std::uint32_t>& flags) {
  wait_for_memory();
  barrier();
  std::uint32_t* const counter = x.arrivals + group_id_x();
  if (thread_id() == 0) arrived_before.write(0, fetch_add(counter, arrivals));
  barrier();
  const std::uint32_t in_use = blocks_in_use(x);
  if (uniform(arrived_before.read(0)) + arrivals != in_use + 1) return;
  if (thread_id() == 0) store_device(counter, 0);  // as the next call wants to find it

  const Buffer rows = slot_rows(x);
  const std::uint32_t quads = columns / 4;
  const std::uint32_t tokens_at_once = flagged_slots / x.top_k;
  const std::uint32_t tokens = static_cast<std::uint32_t>(x.slots) / x.top_k;
  for (std::uint32_t first = 0; first < tokens; first += tokens_at_once) {
    if (first > 0) barrier();  // everybody has read the flags
    const std::uint32_t first_slot = first * x.top_k;
    flag_named_slots<Threads>(x, static_cast<std::int32_t>(in_use) * x.block_m, static_cast<std::int32_t>(first_slot),
                              flags);
    const std::uint32_t count = tokens - first < tokens_at_once ? tokens - first : tokens_at_once;
    for (auto i = static_cast<std::uint32_t>(thread_id()); i < count * quads; i += Threads) {
      const std::uint32_t token = i / quads;
      const std::uint32_t column = first_column + i % quads * 4;
      Vec4f sum = {};
      // Four slots' rows are asked for before the first is added.
      constexpr std::uint32_t at_once = 4;
      const std::uint32_t end = (token + 1) * x.top_k;
      for (std::uint32_t slot = token * x.top_k; slot < end; slot += at_once) {
        Vec4u row[at_once];
        for (std::uint32_t j = 0; j < at_once; ++j) {
          const bool named = slot + j < end && flags.read(static_cast<int>(slot + j)) != 0;
          const std::uint32_t offset = slot_row_offset(x, first_slot + slot + j, column);
          row[j] = load_b128<Cache::device>(rows, named ? offset : out_of_buffer);
        }
        for (std::uint32_t j = 0; j < at_once; ++j) sum += __builtin_bit_cast(Vec4f, row[j]);
      }
      if (column < x.b.n) store_quad(x.c, x.b.n, first + token, column, sum);
    }
  }
}

}  // namespace millet::gfx950
