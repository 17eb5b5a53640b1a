// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "millet/backends/hopper/tiles/grouped_launch.hpp"
#include "millet/backends/hopper/tiles/launch.hpp"
#include "millet/backends/hopper/tiles/routed_window.hpp"
#include "millet/backends/hopper/tiles/share_sums.hpp"
#include "millet/backends/hopper/tiles/split_sums.hpp"
#include "millet/backends/hopper/tiles/warpgroup_product.hpp"
#include "millet/backends/hopper/tiles/weight_stream.hpp"

namespace millet::hopper {

namespace {

constexpr int max_threads = 512;

/// A team's part of an item: where its tokens stand, and whether they are there already.
struct TeamTokens {
  std::uint32_t shared;  ///< address of plan.token_bytes
  Team team;
  GroupRange share;
  bool staged;  ///< all of the share's, of the item's tokens
  bool plain;
};

/// One item with all threads of the block: its tokens times a tile of rows, or the splits of it that this block has,
/// stored in C or left in the workspace. \param sums  shared memory for the sums of all teams: not what the item before
/// this one used, unless Tiles is 4
template <int Tiles>
__device__ __forceinline__ void multiply_item(const GroupedWgmmaArguments& x, WeightStream& stream, TeamTokens& at,
                                              const ItemTokens& item, const ItemCursor& place,
                                              const SplitSums& split_sums, float* sums, int row_warp, int k_warp,
                                              int lane) {
  const GemmArguments& gemm = x.product.gemm;
  const auto row_of = [&](int token) {
    return token < item.count ? item.slots[token] / static_cast<int>(x.routing.a_div) : Index{-1};
  };
  const int round_groups = round_groups_of(x.plan, Tiles);
  float total[Tiles][4] = {};
#pragma unroll 1
  for (int first = at.share.first; first < at.share.last; first += round_groups) {
    const int last = min(at.share.last, first + round_groups);
    const TokenPieces tokens{at.shared, at.shared + round_groups * (Tiles * tokens_per_tile * blocks_per_group * 32),
                             first};
    if (!at.staged) {
      if (first != at.share.first) meet(at.team.barrier, at.team.threads);  // all have multiplied the last round's
      const bool plain = gemm.a.value_bytes == 1
                             ? stage_token_pieces<Tiles, false>(x.product, tokens, last - first, at.team, row_of)
                             : quantize_token_pieces<Tiles, false>(x.product, tokens, last - first, at.team, row_of);
      at.plain = await_chunk<Tiles>(token_chunks(Tiles) - 1, at.team, plain);
      at.staged = first == at.share.first && last == at.share.last;
    }
    add_groups<Tiles, Tiles, false>(
        x.product, stream, [&](int) { stream.release(); }, tokens, 0, at.plain, {first, last}, lane, total);
  }

  const int rows = gemm.split.row_warps * strip_rows;
  const int token_stride = sums_stride(gemm.split.row_warps);
  const int share_stride = Tiles * tokens_per_tile * token_stride;
  if constexpr (Tiles == 4) __syncthreads();  // all have added up the last item's
  store_sums<Tiles>(sums + k_warp * share_stride + row_warp * strip_rows, token_stride, lane, total);
  meet_all(gemm.split.k_warps);
  const int row_shift = log2_of(rows);
  const auto sum_of_teams = [&](int i) {
    const float* const from = sums + (i >> row_shift) * token_stride + (i & (rows - 1));
    float sum = from[0];
#pragma unroll 1
    for (int share = 1; share < gemm.split.k_warps; ++share) sum += from[share * share_stride];
    return sum;
  };
  if (place.first_split() > 0) {
    split_sums.leave(item.count * rows, sum_of_teams);
    return;
  }
  const int end = (place.item() + 1) << x.plan.split_shift;
  const bool others = place.last_split(x.plan) < x.plan.splits;
  if (others) split_sums.await(end);
  const Index first_column = Index{place.row_tile()} * rows;
#pragma unroll 1
  for (int i = threadIdx.x; i < item.count * rows; i += blockDim.x) {
    const int token = i >> row_shift;
    const int row = i & (rows - 1);
    float sum = sum_of_teams(i);
    if (others) sum = split_sums.add(end, i, sum);
    if (x.routing.slot_weights != nullptr) sum *= item.weights[token];
    const Index column = first_column + row;
    if (column < gemm.b.n) store_element(gemm.c, item.slots[token], column, sum);
  }
  if (others) split_sums.take(end);
}

/// A thread block's part of a window's items.
__device__ __forceinline__ ItemCursor items_of_block(const RoutedWindow& window, const GroupedPlan& plan, int block) {
  const auto blocks = static_cast<int>(gridDim.x);
  const int first = first_split_of(window.items * plan.splits, block, blocks);
  const int last = first_split_of(window.items * plan.splits, block + 1, blocks);
  return first < last ? ItemCursor(window.runs, window.run_count, plan, first, last) : ItemCursor();
}

/// As many thread blocks as the GPU runs at once, each over an equal part of the items.
__global__ void __launch_bounds__(max_threads, 1) grouped_gemm_kernel(const __grid_constant__ GroupedWgmmaArguments x) {
  extern __shared__ __align__(128) std::uint8_t shared[];
  __shared__ std::uint64_t stage_barriers[max_threads / warp_lanes][max_stream_stages];
  __shared__ ItemTokens gathered[2];
  let_next_kernel_start();
  const WorkSplit& split = x.product.gemm.split;
  const int lane = threadIdx.x % warp_lanes;
  const int warp = threadIdx.x / warp_lanes;
  const int row_warp = warp & (split.row_warps - 1);
  const int k_warp = warp >> log2_of(split.row_warps);
  const int team_threads = split.row_warps * warp_lanes;

  // Shared memory: the tables, the sums; for each team its tokens, then the ring of each strip.
  auto* const tables = reinterpret_cast<RoutedWindow*>(shared);
  const std::uint32_t ring_bytes = x.plan.stages * x.plan.stage_groups * stream_group_bytes;
  const std::uint32_t own = shared_address(shared) + x.plan.table_bytes + x.plan.sums_bytes +
                            k_warp * (x.plan.token_bytes + split.row_warps * ring_bytes);
  // Blocks wait for those after them in the order of the splits, so these start first.
  const int block = static_cast<int>(gridDim.x - 1 - blockIdx.x);
  TeamTokens at{own,
                {static_cast<int>(threadIdx.x) & (team_threads - 1), team_threads, 1 + k_warp},
                /*share=*/{},
                /*staged=*/false,
                /*plain=*/false};
  WeightStream stream(x.product.gemm.b, x.plan, row_warp, split.row_warps, k_warp,
                      own + x.plan.token_bytes + row_warp * ring_bytes, shared_address(stage_barriers[warp]), lane);
  clear_window(tables[0]);
  if (x.early_weights) clear_window(tables[1]);
  __syncthreads();
  bool started = false;
  if (x.early_weights) {
    list_runs(x.routing, x.plan, 0, tables[0]);
    const ItemCursor guess = items_of_block(tables[0], x.plan, block);
    stream.start(guess);
    wait_for_preceding_kernel();
    list_runs(x.routing, x.plan, 0, tables[1]);
    started = same_items(tables[0], tables[1]);
    if (!started) stream.drop(guess);
  } else {
    wait_for_preceding_kernel();
    list_runs(x.routing, x.plan, 0, tables[0]);
  }
  // Before that it may have written the routing and the tokens, and may have been reading what C replaces.
  RoutedWindow& window = tables[x.early_weights ? 1 : 0];
  float* const sums = reinterpret_cast<float*>(shared + x.plan.table_bytes);
  bool odd = false;
  int buffer = 0;
#pragma unroll 1
  for (Index first = 0;;) {
    ItemCursor items = items_of_block(window, x.plan, block);
    const SplitSums split_sums(x, block, window.items * x.plan.splits);
    if (!started) stream.start(items);
    started = false;
#pragma unroll 1
    for (bool same_tokens = false; !items.done();) {
      if (!same_tokens) {
        buffer ^= 1;  // others may still be storing what the other one names
        if (warp == 0)
          gather_tokens(x.routing, x.plan, window, first, items.run(), items.pass(), lane, gathered[buffer]);
        at.staged = false;
        __syncthreads();
      }
      const GroupRange share = share_of_range(items.groups(x.plan), k_warp, x.plan.team_shift);
      at.staged &= share.first == at.share.first && share.last == at.share.last;
      at.share = share;
      const ItemTokens& tokens = gathered[buffer];
      float* const other_sums = sums + (odd ? x.plan.sums_bytes / 2 / static_cast<int>(sizeof(float)) : 0);
      odd = !odd;
      if (tokens.count <= tokens_per_tile) {
        multiply_item<1>(x, stream, at, tokens, items, split_sums, other_sums, row_warp, k_warp, lane);
      } else if (tokens.count <= 2 * tokens_per_tile) {
        multiply_item<2>(x, stream, at, tokens, items, split_sums, other_sums, row_warp, k_warp, lane);
      } else {
        multiply_item<4>(x, stream, at, tokens, items, split_sums, sums, row_warp, k_warp, lane);
      }
      same_tokens = items.next(x.plan);
    }
    first += window_blocks;
    if (window.used < window_blocks || first >= x.routing.blocks) break;
    __syncthreads();  // all have read the tables
    clear_window(window);
    __syncthreads();
    list_runs(x.routing, x.plan, first, window);
  }
}

}  // namespace

cudaError_t launch_grouped_gemm_wgmma(const GroupedWgmmaArguments& x, const GroupedSplit& split, cudaStream_t stream) {
  static PreparedKernels prepared;
  const void* const kernels[] = {reinterpret_cast<const void*>(grouped_gemm_kernel)};
  if (const cudaError_t error = prepared.prepare(kernels); error != cudaSuccess) return error;
  int sms = 0;
  if (const cudaError_t error = multiprocessors(&sms); error != cudaSuccess) return error;
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(std::min(sms, largest_grouped_grid)));
  config.blockDim = dim3(static_cast<unsigned>(split.row_warps * split.k_warps * warp_lanes));
  config.dynamicSmemBytes = static_cast<std::size_t>(grouped_shared_bytes(split, x.plan));
  config.stream = stream;
  // It may start while the preceding kernel drains, and reads nothing before that has ended: no rule for the caller.
  config.attrs = &early;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, grouped_gemm_kernel, x);
}

}  // namespace millet::hopper
