// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/hopper/tiles/cluster_rows.hpp"
#include "millet/backends/hopper/tiles/folded_product.hpp"
#include "millet/backends/hopper/tiles/launch.hpp"
#include "millet/backends/hopper/tiles/share_sums.hpp"

#include <cuda.h>

namespace millet::hopper {

namespace {

constexpr int max_threads = folded_max_warps * warp_lanes;

struct FoldedGemmArguments {
  WarpgroupGemmArguments x;
  bool boxes;  ///< whether the copy engine can bring the tokens
  CUtensorMap tokens;
};

/// row_warps strips of 16 rows of B (8 or 12: whole warpgroups), all m <= 8 Tiles tokens; k is shared out over the
/// blocks of the cluster.
template <int Tiles>
__global__ void __launch_bounds__(max_threads, 1) gemm_kernel(const __grid_constant__ FoldedGemmArguments arguments) {
  const WarpgroupGemmArguments& x = arguments.x;
  extern __shared__ __align__(128) std::uint8_t shared[];
  __shared__ std::uint64_t cluster_barrier;
  __shared__ std::uint64_t token_barriers_place[2];
  __shared__ std::uint64_t stage_barriers[folded_max_warps][folded_max_stages];
  let_next_kernel_start();
  constexpr int tokens_padded = Tiles * tokens_per_tile;
  const WorkSplit& split = x.gemm.split;
  const WarpgroupPlan& plan = x.plan;
  const int lane = threadIdx.x % warp_lanes;
  const int warp = threadIdx.x / warp_lanes;
  const int rank = static_cast<int>(blockIdx.y);
  const Index first_strip = Index{blockIdx.x} * split.row_warps;

  // Shared memory: the cluster's sums; the token values; steps and bases; and the ring of each strip.
  const int ring_bytes = plan.stages * plan.stage_groups * group_bytes;
  const std::uint32_t sums = shared_address(shared);
  const std::uint32_t values =
      (sums + cluster_rows_bytes(tokens_padded, split, plan) + folded_alignment - 1) & ~(folded_alignment - 1U);
  const std::uint32_t steps = values + tokens_padded * plan.round_groups * folded_value_bytes;
  const std::uint32_t bases = steps + tokens_padded * plan.round_groups * 4;
  const std::uint32_t own_ring = bases + tokens_padded * 4 + warp * ring_bytes;

  const std::uint32_t token_barriers = shared_address(token_barriers_place);
  if (threadIdx.x == 0) {
    if (arguments.boxes) prefetch_matrix(&arguments.tokens);
    initialize_barrier(token_barriers, 1);
    initialize_barrier(token_barriers + 8, 1);
    publish_barriers();
  }

  // Weights first: they depend on nothing. A last block's warps beyond n repeat the last strip.
  const int first_group = rank * plan.share + min(rank, plan.larger_shares);
  const GroupRange share{first_group, first_group + plan.share + (rank < plan.larger_shares ? 1 : 0)};
  const Index strip = min(first_strip + warp, tiles_to_cover(x.gemm.b.n, strip_rows) - 1);
  WeightRing ring(x, strip, share, own_ring, shared_address(stage_barriers[warp]), lane == 0);
  const ClusterRows<Tiles> cluster(sums, shared_address(&cluster_barrier), x, rank);

  const Team team{static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x), 1};
  const int blocks = static_cast<int>(x.gemm.b.k / MxBlock::k);
  const std::uint8_t* const strip_scales = x.gemm.b.scales + strip * plan.groups * StripScales::tile_size;
  const auto round_from = [&](int first) { return GroupRange{first, min(share.last, first + plan.round_groups)}; };
  RowCodes row_codes = load_row_codes(strip_scales, round_from(share.first), lane);
  float total[Tiles][4] = {};  // a block of the cluster may have no groups
  // Of the rounds before, in local memory: registers have no room for them beside the codes of tokens or of weights.
  volatile float earlier[Tiles][4];
  __syncthreads();  // the tokens' barrier is there
  std::uint32_t token_phase = 0;
  wait_for_preceding_kernel();  // which may have written the tokens, and may be reading what C replaces
#pragma unroll 1
  for (int first = share.first; first < share.last; first += plan.round_groups) {
    const GroupRange round = round_from(first);
    const FoldedTokens tokens{values, values + tokens_padded * (round.last - round.first) * group_k, steps, bases,
                              round};
    if (first != share.first) {
      row_codes = load_row_codes(strip_scales, round, lane);
      publish_to_matrix_unit();          // the same for the copies that follow
      meet(team.barrier, team.threads);  // all have multiplied the last round's tokens
    }
    if (arguments.boxes && threadIdx.x == 0) copy_token_codes<Tiles>(&arguments.tokens, tokens, token_barriers);
    const TokenScales scales = load_token_scales<Tiles>(x, round);
    const RowBases rows = find_row_bases(row_codes, round, blocks, lane);
    const bool tokens_foldable = find_token_bases<Tiles>(tokens, scales);
    bool folded = meet_and(team.barrier, team.threads, tokens_foldable && rows.foldable);
    if (arguments.boxes && !folded) {  // they come all the same
      wait_for_phase(token_barriers, token_phase);
      wait_for_phase(token_barriers + 8, token_phase);
    }
    if (folded) {
      const bool exact = arguments.boxes ? fold_tokens<Tiles>(tokens, token_barriers, token_phase)
                                         : widen_from_memory<Tiles, true>(x, tokens);
      folded = meet_and(team.barrier, team.threads, exact);
    }
    token_phase ^= 1;
    if (!folded) {
      widen_from_memory<Tiles, false>(x, tokens);
      meet(team.barrier, team.threads);
    }
    add_round<Tiles>(x, ring, tokens, rows, folded, lane, total);
    if (first != share.first) {
#pragma unroll
      for (int i = 0; i < Tiles * 4; ++i) total[i / 4][i % 4] += earlier[i / 4][i % 4];
    }
    if (round.last != share.last) {
#pragma unroll
      for (int i = 0; i < Tiles * 4; ++i) earlier[i / 4][i % 4] = total[i / 4][i % 4];
    }
  }
  cluster.send(total, 0, warp * strip_rows, rank, lane);
  cluster.finish(split.row_warps * strip_rows, [&](int token, int row, float sum) {
    const Index column = first_strip * strip_rows + row;
    if (column < x.gemm.b.n) store_element(x.gemm.c, token, column, sum);
  });
}

using GemmKernelFunction = void (*)(FoldedGemmArguments);
constexpr GemmKernelFunction kernels[4] = {gemm_kernel<1>, gemm_kernel<2>, gemm_kernel<4>, gemm_kernel<8>};

/// Describes A for copy_box: boxes of all tokens by a group of k, in the 128-byte swizzle. Returns whether the copy
/// engine takes it: rows must be aligned to 16 bytes.
bool describe_tokens(const GemmArguments& x, CUtensorMap& map) {
  using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                              const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                              CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
    return error == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(function) : nullptr;
  }();
  if (encode == nullptr) return false;
  const cuuint64_t extents[2] = {static_cast<cuuint64_t>(x.b.k), static_cast<cuuint64_t>(x.m)};
  const cuuint64_t stride = static_cast<cuuint64_t>(x.a.value_stride);
  const cuuint32_t box[2] = {group_k, static_cast<cuuint32_t>(token_tiles_for(x.m) * tokens_per_tile)};
  const cuuint32_t steps[2] = {1, 1};
  return encode(&map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<std::uint8_t*>(x.a.values), extents, &stride, box,
                steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_NONE,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

}  // namespace

cudaError_t launch_gemm_wgmma_f16(const GemmArguments& x, cudaStream_t stream) {
  static PreparedKernels prepared;
  const void* all[4];
  for (int i = 0; i < 4; ++i) all[i] = reinterpret_cast<const void*>(kernels[i]);
  if (const cudaError_t error = prepared.prepare(all); error != cudaSuccess) return error;
  FoldedGemmArguments arguments{{x, folded_plan(x.m, x.b.k, x.split)}, false, {}};
  arguments.boxes = describe_tokens(x, arguments.tokens);
  DenseLaunch launch(x, 1, folded_shared_bytes(x.m, x.split, arguments.x.plan), stream);
  const int tiles = token_tiles_for(x.m);
  return cudaLaunchKernelEx(&launch.config, kernels[tiles == 8 ? 3 : tiles / 2], arguments);
}

}  // namespace millet::hopper
