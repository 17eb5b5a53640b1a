// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/tiles/grouped_plan.hpp"
#include "millet/backends/hopper/tiles/lane_weights.hpp"
#include "millet/backends/hopper/tiles/routing_block.hpp"

// From routing in memory to runs of blocks, in shared memory, for up to window_blocks routing blocks at a time. Every
// thread block does it for itself: the loads of all of them need one latency. They pass by L1, which may hold what a
// first look saw before the preceding kernel had ended. Device code only.

namespace millet::hopper {

/// The tables in shared memory.
struct alignas(128) RoutedWindow {
  RoutedRun runs[window_blocks + 1];
  int experts[window_blocks];
  int tokens[window_blocks];  ///< valid slots of each block
  int run_count;
  int items;
  int used;  ///< routing blocks of the window that are in use
};
static_assert(sizeof(RoutedWindow) == window_table_bytes);

/// The slots of an item.
struct ItemTokens {
  int slots[max_pass_tokens];
  float weights[max_pass_tokens];
  int count;
};

/// Before the first window and between two, with all threads; a barrier of the block must follow.
__device__ __forceinline__ void clear_window(RoutedWindow& to) {
  for (int block = threadIdx.x; block < window_blocks; block += blockDim.x) to.tokens[block] = 0;
}

/// Lists the runs of the blocks from `first` on, with all threads of the thread block, at least window_blocks. The
/// tables have been cleared; they may be read after the call.
__device__ __noinline__ void list_runs(const RoutingArguments& x, const GroupedPlan& plan, Index first,
                                       RoutedWindow& to) {
  const int thread = threadIdx.x;
  const int existing = static_cast<int>(min(x.blocks - first, Index{window_blocks}));
  const int block_m = static_cast<int>(x.block_m);
  const std::int32_t* const ids = x.sorted_token_ids + first * x.block_m;
  // Loads that wait for one another in no way; what of them is not in use is left out afterwards.
  const std::int32_t expert = thread < existing ? __ldcg(x.expert_ids + first + thread) : -1;
  constexpr int together = 8;
  std::int32_t slots[together];
  const auto load_slots = [&](int begin, int end) {
#pragma unroll
    for (int i = 0; i < together; ++i) {
      const int entry = begin + i * static_cast<int>(blockDim.x);
      slots[i] = entry < end ? __ldcg(ids + entry) : -1;
    }
  };
  load_slots(thread, existing * block_m);
  const std::int32_t entries = __ldcg(x.num_tokens_post_padded);
  const Index in_use = entries > 0 ? (entries - 1) / block_m + 1 : 0;
  const int used = static_cast<int>(max(Index{0}, min(Index{existing}, in_use - first)));
  if (thread < used) to.experts[thread] = expert_in_range(x, expert);
  const int last = used * block_m;
#pragma unroll 1
  for (int begin = thread; begin < last;) {
#pragma unroll
    for (int i = 0; i < together; ++i) {
      const int entry = begin + i * static_cast<int>(blockDim.x);
      if (entry < last && slot_in_range(x, slots[i])) atomicAdd(&to.tokens[entry / block_m], 1);
    }
    begin += together * static_cast<int>(blockDim.x);
    load_slots(begin, last);
  }
  __syncthreads();
  if (thread < warp_lanes) {
    int run_count = 0;
    int items = 0;
#pragma unroll 1
    for (int base = 0; base < used; base += warp_lanes) {
      const int block = base + thread;
      const int mine = block < used ? to.experts[block] : -1;
      const int before = block > 0 && block < used ? to.experts[block - 1] : -1;
      int tokens = 0;
      if (mine >= 0 && before != mine) {
#pragma unroll 1
        for (int next = block; next < used && to.experts[next] == mine; ++next) tokens += to.tokens[next];
      }
      const unsigned starts = __ballot_sync(0xFFFFFFFFU, tokens > 0);
      const int own_items = tokens > 0 ? plan.row_tiles * passes_of(tokens, plan) : 0;
      int up_to_mine = own_items;
#pragma unroll
      for (int distance = 1; distance < warp_lanes; distance *= 2) {
        const int other = __shfl_up_sync(0xFFFFFFFFU, up_to_mine, distance);
        if (thread >= distance) up_to_mine += other;
      }
      if (tokens > 0) {
        to.runs[run_count + __popc(starts & ((1U << thread) - 1))] = {mine, block, tokens,
                                                                      items + up_to_mine - own_items};
      }
      run_count += __popc(starts);
      items += __shfl_sync(0xFFFFFFFFU, up_to_mine, warp_lanes - 1);
    }
    if (thread == 0) {
      to.runs[run_count] = {-1, used, 0, items};
      to.run_count = run_count;
      to.items = items;
      to.used = used;
    }
  }
  __syncthreads();
}

/// Whether two tables of the same blocks ask for the same weights; all threads together.
__device__ __forceinline__ bool same_items(const RoutedWindow& a, const RoutedWindow& b) {
  bool same = a.run_count == b.run_count && a.items == b.items;
  for (int i = threadIdx.x; i < min(a.run_count, b.run_count); i += blockDim.x) {
    same &= a.runs[i].expert == b.runs[i].expert && a.runs[i].first_item == b.runs[i].first_item;
    // The items of a run are passes within row tiles.
    same &= a.runs[i].tokens == b.runs[i].tokens;
  }
  return __syncthreads_and(same) != 0;
}

/// Gathers the slots of pass `pass` of a run, with the whole of one warp.
/// \param first  block of the window
__device__ __forceinline__ void gather_tokens(const RoutingArguments& x, const GroupedPlan& plan,
                                              const RoutedWindow& window, Index first, const RoutedRun& run, int pass,
                                              int lane, ItemTokens& to) {
  int skipped = pass * plan.pass_tokens;
  const int wanted = min(plan.pass_tokens, run.tokens - skipped);
  int block = run.first_block;
  while (window.tokens[block] <= skipped) skipped -= window.tokens[block++];
  Index entry = (first + block) * x.block_m + lane;
  const Index last = (first + window.used) * x.block_m;
  int count = 0;
  while (true) {
    const std::int32_t slot = entry < last ? __ldcg(x.sorted_token_ids + entry) : -1;
    const bool valid = slot_in_range(x, slot);
    const unsigned all = __ballot_sync(0xFFFFFFFFU, valid);
    const int place = count + __popc(all & ((1U << lane) - 1)) - skipped;
    if (valid && place >= count && place < wanted) {
      to.slots[place] = slot;
      to.weights[place] = x.slot_weights == nullptr ? 1.0F : x.slot_weights[slot];
    }
    const int found = __popc(all);
    count += max(0, found - skipped);
    skipped = max(0, skipped - found);
    entry += warp_lanes;
    if (count >= wanted || entry - lane >= last) break;
  }
  if (lane == 0) to.count = min(count, wanted);
}

}  // namespace millet::hopper
