// SPDX-License-Identifier: Apache-2.0
#include <iterator>

#include "millet/backends/hopper/tiles/cluster_rows.hpp"
#include "millet/backends/hopper/tiles/launch.hpp"
#include "millet/backends/hopper/tiles/share_sums.hpp"
#include "millet/backends/hopper/tiles/warpgroup_product.hpp"

namespace millet::hopper {

namespace {

constexpr int max_threads = 512;

/// row_warps strips of 16 rows of B (4 or 8: whole warpgroups), all m <= 8 Tiles Halves tokens; each warp takes 8 Tiles
/// of them. k is shared out over k_warps teams of row_warps * Halves warps in each block of the cluster. SharedTile:
/// for m up to shared_tile_tokens.
template <int Tiles, int Halves, bool SharedTile>
__global__ void __launch_bounds__(max_threads, 1) gemm_kernel(const __grid_constant__ WarpgroupGemmArguments x) {
  extern __shared__ __align__(128) std::uint8_t shared[];
  __shared__ std::uint64_t cluster_barrier;
  __shared__ std::uint64_t stage_barriers[max_threads / warp_lanes][max_stages];
  let_next_kernel_start();
  constexpr int all_tiles = Tiles * Halves;
  constexpr int tokens_padded = all_tiles * tokens_per_tile;
  const WorkSplit& split = x.gemm.split;
  const WarpgroupPlan& plan = x.plan;
  const int lane = threadIdx.x % warp_lanes;
  const int warp = threadIdx.x / warp_lanes;
  const int row_shift = log2_of(split.row_warps);
  const int row_warp = warp & (split.row_warps - 1);
  const int half = Halves == 1 ? 0 : warp >> row_shift & 1;
  const int k_warp = Halves == 1 ? warp >> row_shift : warp >> row_shift >> 1;
  const int rank = static_cast<int>(blockIdx.y);
  const Index first_strip = Index{blockIdx.x} * split.row_warps;
  const int index = rank * split.k_warps + k_warp;  // of the team in the cluster

  // Shared memory: the cluster's sums; for each team its tokens, then the ring of each strip.
  const int token_bytes = tokens_padded * plan.round_groups * token_group_bytes;
  const int ring_bytes = plan.stages * plan.stage_groups * group_bytes;
  const std::uint32_t sums = shared_address(shared);
  const std::uint32_t own =
      sums + cluster_rows_bytes(tokens_padded, split, plan) + k_warp * (token_bytes + split.row_warps * ring_bytes);

  // Weights first: they depend on nothing. A last block's warps beyond n repeat the last strip.
  const int first_group = index * plan.share + min(index, plan.larger_shares);
  const GroupRange share{first_group, first_group + plan.share + (index < plan.larger_shares ? 1 : 0)};
  const Index strip = min(first_strip + row_warp, tiles_to_cover(x.gemm.b.n, strip_rows) - 1);
  WeightRing ring(x, strip, share, own + token_bytes + row_warp * ring_bytes,
                  shared_address(stage_barriers[k_warp * split.row_warps + row_warp]), half == 0 && lane == 0);
  const ClusterRows<all_tiles> cluster(sums, shared_address(&cluster_barrier), x, rank);

  const int m = static_cast<int>(x.gemm.m);
  const auto row_of = [m](int token) { return token < m ? Index{token} : Index{-1}; };
  const int team_threads = Halves * split.row_warps * warp_lanes;
  const Team team{static_cast<int>(threadIdx.x) & (team_threads - 1), team_threads, 1 + k_warp};
  const auto release = [&](int part) {
    if constexpr (Halves == 1) {
      ring.release(part);
    } else {
      ring.release(part, team);
    }
  };
  float total[Tiles][4] = {};
  if constexpr (SharedTile) {
    clear_columns(own, min(plan.round_groups, share.last - share.first), team);
    meet(team.barrier, team.threads);
  }
  wait_for_preceding_kernel();  // which may have written the tokens, and may be reading what C replaces
#pragma unroll 1
  for (int first = share.first; first < share.last; first += plan.round_groups) {
    if (first != share.first) meet(team.barrier, team.threads);  // all have multiplied the last round's tokens
    const TokenPieces tokens{own, own + tokens_padded * plan.round_groups * blocks_per_group * 32, first};
    const int last = min(share.last, first + plan.round_groups);
    bool plain = x.gemm.a.value_bytes == 1
                     ? stage_token_pieces<all_tiles, SharedTile>(x, tokens, last - first, team, row_of)
                     : quantize_token_pieces<all_tiles, SharedTile>(x, tokens, last - first, team, row_of);
#pragma unroll 1
    for (int chunk = 0; chunk < token_chunks(all_tiles); ++chunk) {
      const int begin = first + chunk * plan.chunk_groups;
      if (begin >= last) break;
      plain = await_chunk<all_tiles>(chunk, team, plain);
      add_groups<Tiles, all_tiles, SharedTile>(x, ring, release, tokens, half * Tiles, plain,
                                               {begin, min(last, begin + plan.chunk_groups)}, lane, total);
    }
  }
  if constexpr (SharedTile) join_blocks(total);
  cluster.send(total, half * Tiles * tokens_per_tile, row_warp * strip_rows, index, lane);
  cluster.finish(split.row_warps * strip_rows, [&](int token, int row, float sum) {
    const Index column = first_strip * strip_rows + row;
    if (column < x.gemm.b.n) store_element(x.gemm.c, token, column, sum);
  });
}

using GemmKernelFunction = void (*)(WarpgroupGemmArguments);
constexpr GemmKernelFunction kernels[] = {gemm_kernel<1, 1, true>, gemm_kernel<1, 1, false>, gemm_kernel<2, 1, false>,
                                          gemm_kernel<4, 1, false>, gemm_kernel<4, 2, false>};
constexpr int kernel_count = static_cast<int>(std::size(kernels));

int kernel_for(Index m) {
  const int tiles = token_tiles_for(m);
  return m <= shared_tile_tokens ? 0 : tiles == 8 ? 4 : 1 + tiles / 2;
}

}  // namespace

cudaError_t launch_gemm_wgmma(const GemmArguments& x, cudaStream_t stream) {
  static PreparedKernels prepared;
  const void* all[kernel_count];
  for (int i = 0; i < kernel_count; ++i) all[i] = reinterpret_cast<const void*>(kernels[i]);
  if (const cudaError_t error = prepared.prepare(all); error != cudaSuccess) return error;
  const WarpgroupGemmArguments arguments{x, warpgroup_plan(x.m, x.b.k, x.split)};
  const int halves = token_halves(x.m);
  DenseLaunch launch(x, halves, warpgroup_shared_bytes(x.m, x.split, arguments.plan), stream);
  return cudaLaunchKernelEx(&launch.config, kernels[kernel_for(x.m)], arguments);
}

}  // namespace millet::hopper
