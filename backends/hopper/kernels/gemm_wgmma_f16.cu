// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/hopper/tiles/cluster_rows.hpp"
#include "millet/backends/hopper/tiles/folded_product.hpp"
#include "millet/backends/hopper/tiles/launch.hpp"
#include "millet/backends/hopper/tiles/share_sums.hpp"

namespace millet::hopper {

namespace {

constexpr int max_threads = folded_max_warps * warp_lanes;

/// row_warps strips of 16 rows of B (4, 8 or 12: whole warpgroups), all m <= 8 Tiles tokens. k is shared out over
/// k_warps teams of row_warps warps in each block of the cluster.
template <int Tiles>
__global__ void __launch_bounds__(max_threads, 1) gemm_kernel(const __grid_constant__ WarpgroupGemmArguments x) {
  extern __shared__ __align__(128) std::uint8_t shared[];
  __shared__ std::uint64_t cluster_barrier;
  __shared__ std::uint64_t stage_barriers[folded_max_warps][folded_max_stages];
  let_next_kernel_start();
  constexpr int tokens_padded = Tiles * tokens_per_tile;
  const WorkSplit& split = x.gemm.split;
  const WarpgroupPlan& plan = x.plan;
  const int lane = threadIdx.x % warp_lanes;
  const int warp = threadIdx.x / warp_lanes;
  const int k_warp = warp / split.row_warps;
  const int row_warp = warp - k_warp * split.row_warps;
  const int rank = static_cast<int>(blockIdx.y);
  const Index first_strip = Index{blockIdx.x} * split.row_warps;
  const int index = rank * split.k_warps + k_warp;  // of the team in the cluster

  // Shared memory: the cluster's sums; the token values of each team; then for each team steps and bases, and the ring
  // of each strip.
  const int value_bytes = tokens_padded * plan.round_groups * folded_value_bytes;
  const int step_bytes = tokens_padded * plan.round_groups * 4;
  const int ring_bytes = plan.stages * plan.stage_groups * group_bytes;
  const std::uint32_t sums = shared_address(shared);
  const std::uint32_t all_values =
      (sums + cluster_rows_bytes(tokens_padded, split, plan) + folded_alignment - 1) & ~(folded_alignment - 1U);
  const std::uint32_t values = all_values + k_warp * value_bytes;
  const std::uint32_t own = all_values + split.k_warps * value_bytes +
                            k_warp * (step_bytes + tokens_padded * 4 + split.row_warps * ring_bytes);
  const std::uint32_t ring_at = own + step_bytes + tokens_padded * 4;

  // Weights first: they depend on nothing. A last block's warps beyond n repeat the last strip.
  const int first_group = index * plan.share + min(index, plan.larger_shares);
  const GroupRange share{first_group, first_group + plan.share + (index < plan.larger_shares ? 1 : 0)};
  const Index strip = min(first_strip + row_warp, tiles_to_cover(x.gemm.b.n, strip_rows) - 1);
  WeightRing ring(x, strip, share, ring_at + row_warp * ring_bytes, shared_address(stage_barriers[warp]), lane == 0);
  const ClusterRows<Tiles> cluster(sums, shared_address(&cluster_barrier), x, rank);

  const int m = static_cast<int>(x.gemm.m);
  const auto row_of = [m](int token) { return token < m ? Index{token} : Index{-1}; };
  const int team_threads = split.row_warps * warp_lanes;
  const Team team{static_cast<int>(threadIdx.x) - k_warp * team_threads, team_threads, 1 + k_warp};
  const int blocks = static_cast<int>(x.gemm.b.k / MxBlock::k);
  const std::uint8_t* const strip_scales = x.gemm.b.scales + strip * plan.groups * StripScales::tile_size;
  const auto round_from = [&](int first) { return GroupRange{first, min(share.last, first + plan.round_groups)}; };
  RowCodes row_codes = load_row_codes(strip_scales, round_from(share.first), lane);
  float total[Tiles][4] = {};
  wait_for_preceding_kernel();  // which may have written the tokens, and may be reading what C replaces
#pragma unroll 1
  for (int first = share.first; first < share.last; first += plan.round_groups) {
    const FoldedTokens tokens{values, own, own + step_bytes, round_from(first)};
    if (first != share.first) {
      row_codes = load_row_codes(strip_scales, tokens.groups, lane);
      meet(team.barrier, team.threads);  // all have multiplied the last round's tokens
    }
    const FoldedStaging<Tiles> staging(x, tokens.groups, team);
    copy_token_scales<Tiles>(x, tokens, team, row_of);
    copy_token_codes(x, tokens, staging, row_of);
    const RowBases rows = find_row_bases(row_codes, tokens.groups, blocks, lane);
    const bool tokens_foldable = find_token_bases<Tiles>(tokens, team, row_of);
    bool folded = meet_and(team.barrier, team.threads, tokens_foldable && rows.foldable);
    if (folded) {
      const bool exact = widen_tokens<Tiles, true>(tokens, staging, row_of);
      folded = meet_and(team.barrier, team.threads, exact);
      if (!folded) {
        copy_token_codes(x, tokens, staging, row_of);
        wait_for_copies();
      }
    }
    if (!folded) {
      widen_tokens<Tiles, false>(tokens, staging, row_of);
      meet(team.barrier, team.threads);
    }
    add_round<Tiles>(x, ring, tokens, rows, folded, lane, total);
  }
  cluster.send(total, 0, row_warp * strip_rows, index, lane);
  cluster.finish(rank, split.row_warps * strip_rows, [&](int token, int row, float sum) {
    const Index column = first_strip * strip_rows + row;
    if (column < x.gemm.b.n) store_element(x.gemm.c, token, column, sum);
  });
}

using GemmKernelFunction = void (*)(WarpgroupGemmArguments);
constexpr GemmKernelFunction kernels[4] = {gemm_kernel<1>, gemm_kernel<2>, gemm_kernel<4>, gemm_kernel<8>};

}  // namespace

cudaError_t launch_gemm_wgmma_f16(const GemmArguments& x, cudaStream_t stream) {
  static PreparedKernels prepared;
  const void* all[4];
  for (int i = 0; i < 4; ++i) all[i] = reinterpret_cast<const void*>(kernels[i]);
  if (const cudaError_t error = prepared.prepare(all); error != cudaSuccess) return error;
  const WarpgroupGemmArguments arguments{x, folded_plan(x.m, x.b.k, x.split)};
  DenseLaunch launch(x, 1, folded_shared_bytes(x.m, x.split, arguments.plan), stream);
  const int tiles = token_tiles_for(x.m);
  return cudaLaunchKernelEx(&launch.config, kernels[tiles == 8 ? 3 : tiles / 2], arguments);
}

}  // namespace millet::hopper
