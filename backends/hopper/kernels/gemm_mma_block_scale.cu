// SPDX-License-Identifier: Apache-2.0
#include <cooperative_groups.h>

#include "millet/backends/hopper/tiles/launch.hpp"
#include "millet/backends/hopper/tiles/strip_product.hpp"

namespace millet::hopper {

namespace {

namespace cg = cooperative_groups;

/// One strip of 16 rows of B, all m <= 8 Tiles tokens; k is shared out over the warps of all blocks of the cluster.
template <int Tiles, bool RowMajor>
__global__ void __launch_bounds__(256) gemm_kernel(const __grid_constant__ GemmArguments x) {
  constexpr int tokens_padded = Tiles * tokens_per_tile;
  extern __shared__ float sums[];  // [warps][tokens_padded][sums_stride], then the token scales
  const cg::cluster_group cluster = cg::this_cluster();
  const int ranks = static_cast<int>(cluster.num_blocks());
  const int rank = static_cast<int>(cluster.block_rank());
  const Index strip = blockIdx.x / ranks;
  const int lane = threadIdx.x % warp_lanes;
  const int warp = threadIdx.x / warp_lanes;
  const int warps = blockDim.x / warp_lanes;

  const LaneWeights<RowMajor> weights(x.b, 0, strip, lane);
  const int blocks = weights.blocks();
  const int groups = (blocks + blocks_per_group - 1) / blocks_per_group;
  const GroupRange range = share_of(groups, rank * warps + warp, ranks * warps);
  WeightGroup pipeline[groups_in_flight];
  fill_pipeline(weights, range, pipeline);

  // While those are on their way: the scales of the tokens for this block's part of k.
  std::uint8_t* const token_scales = reinterpret_cast<std::uint8_t*>(sums + warps * tokens_padded * sums_stride);
  const int first_block = share_of(groups, rank * warps, ranks * warps).first * blocks_per_group;
  const int last_block = min(blocks, share_of(groups, rank * warps + warps - 1, ranks * warps).last * blocks_per_group);
  bool plain = true;
  const int block_count = last_block - first_block;
  for (int i = threadIdx.x; i < block_count * tokens_padded; i += blockDim.x) {
    const int token = i / block_count;
    const int block = i % block_count;
    std::uint8_t code = 127;
    if (token < x.m) code = __ldg(x.a.scales + token * x.a.scale_stride + first_block + block);
    plain = plain && code >= smallest_plain_scale && code <= largest_plain_scale;
    token_scales[block * tokens_padded + token] = code;
  }
  const bool plain_tokens = __syncthreads_and(plain) != 0;

  LaneTokens<Tiles> tokens;
  tokens.aligned = (reinterpret_cast<std::uintptr_t>(x.a.values) | static_cast<std::uintptr_t>(x.a.value_stride)) % 8 == 0;
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) {
    const int token = tile * tokens_per_tile + lane / 4;
    tokens.rows[tile] = token < x.m ? x.a.values + token * x.a.value_stride + lane % 4 * 8 : nullptr;
  }
  float total[Tiles][4] = {};
  add_groups<Tiles>(weights, tokens, token_scales, first_block, plain_tokens, range, lane, pipeline, total);
  store_sums<Tiles>(sums + warp * tokens_padded * sums_stride, lane, total);

  // Fixed order, whatever finishes first: the warps of a block, then the blocks of the cluster.
  __syncthreads();
  if (ranks > 1) {
    for (int i = threadIdx.x; i < tokens_padded * strip_rows; i += blockDim.x) {
      const int at = i / strip_rows * sums_stride + i % strip_rows;
      float sum = sums[at];
      for (int other = 1; other < warps; ++other) sum += sums[other * tokens_padded * sums_stride + at];
      sums[at] = sum;
    }
    cluster.sync();
  }
  for (int i = rank * static_cast<int>(blockDim.x) + threadIdx.x; i < x.m * strip_rows; i += ranks * blockDim.x) {
    const int token = i / strip_rows;
    const int row = i % strip_rows;
    const int at = token * sums_stride + row;
    float sum = 0.0F;
    if (ranks > 1) {
      for (int other = 0; other < ranks; ++other) sum += cluster.map_shared_rank(sums, other)[at];
    } else {
      for (int other = 0; other < warps; ++other) sum += sums[other * tokens_padded * sums_stride + at];
    }
    const Index column = strip * strip_rows + row;
    if (column < x.b.n) store_element(x.c, token, column, sum);
  }
  if (ranks > 1) cluster.sync();  // a block's shared memory must outlive its readers
}

using GemmKernelFunction = void (*)(GemmArguments);
constexpr GemmKernelFunction kernels[2][4] = {
    {gemm_kernel<1, false>, gemm_kernel<2, false>, gemm_kernel<4, false>, gemm_kernel<8, false>},
    {gemm_kernel<1, true>, gemm_kernel<2, true>, gemm_kernel<4, true>, gemm_kernel<8, true>}};

}  // namespace

cudaError_t launch_gemm(const GemmArguments& x, KSplit split, cudaStream_t stream) {
  static PreparedKernels prepared;
  const void* all[8];
  for (int i = 0; i < 8; ++i) all[i] = reinterpret_cast<const void*>(kernels[i / 4][i % 4]);
  if (const cudaError_t error = prepared.prepare(all); error != cudaSuccess) return error;
  const int tiles = token_tiles_for(x.m);
  const GemmKernelFunction kernel = kernels[x.b.row_major ? 1 : 0][tiles == 8 ? 3 : tiles / 2];
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(tiles_to_cover(x.b.n, strip_rows) * split.cluster));
  config.blockDim = dim3(static_cast<unsigned>(split.warps * warp_lanes));
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes(x.m, x.b.k, split));
  config.stream = stream;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(split.cluster), 1, 1};
  config.attrs = &cluster;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, x);
}

}  // namespace millet::hopper
