// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/hopper/tiles/launch.hpp"
#include "millet/backends/hopper/tiles/strip_product.hpp"

namespace millet::hopper {

namespace {

/// row_warps strips of 16 rows of B, all m <= 8 Tiles tokens; k is shared out over k_warps warps of each block of the
/// cluster.
template <int Tiles, bool RowMajor>
__global__ void __launch_bounds__(256, Tiles <= 2 ? 2 : 1) gemm_kernel(const __grid_constant__ GemmArguments x) {
  constexpr int tokens_padded = Tiles * tokens_per_tile;
  extern __shared__ __align__(128) std::uint8_t shared[];
  let_next_kernel_start();
  const int row_warps = x.split.row_warps;
  const int k_warps = x.split.k_warps;
  const int ranks = x.split.cluster;
  const int rank = static_cast<int>(blockIdx.x) % ranks;  // clusters are runs of the grid
  const Index first_strip = static_cast<Index>(blockIdx.x / ranks) * row_warps;
  const int lane = threadIdx.x % warp_lanes;
  const int row_warp = threadIdx.x / warp_lanes % row_warps;
  const int k_warp = threadIdx.x / warp_lanes / row_warps;

  // A last block's warps beyond n repeat the last strip; what they compute is not stored.
  const Index last_strip = tiles_to_cover(x.b.n, strip_rows) - 1;
  const LaneWeights<RowMajor> weights(x.b, 0, min(first_strip + row_warp, last_strip), lane);
  const int blocks = weights.blocks();
  const GroupRange share = share_of(tiles_to_cover(blocks, blocks_per_group), rank, ranks);
  if (ranks > 1) cluster_arrive();  // says that this block runs, so that others may write into it

  const int rows = row_warps * strip_rows;
  const int incoming_floats = ranks > 1 ? tokens_padded * rows : 0;
  float* const incoming = reinterpret_cast<float*>(shared);  // [rank][part of this block], from the cluster
  std::uint8_t* const own = shared + incoming_floats * sizeof(float);
  const int m = static_cast<int>(x.m);
  const auto row_of = [m](int token) { return token < m ? Index{token} : Index{-1}; };
  float total[Tiles][4] = {};
  multiply_share<Tiles>(weights, x.a, row_of, share, x.round_groups, k_warp, k_warps, own, lane, total);

  wait_for_preceding_kernel();  // it may be reading what C replaces; a block without a share of k has not waited yet

  // Fixed order, whatever finishes first: the warps of a block, then the blocks of the cluster.
  float* const sums = reinterpret_cast<float*>(own);
  const int token_stride = sums_stride(row_warps);
  const int share_stride = tokens_padded * token_stride;
  store_sums<Tiles>(sums + k_warp * share_stride + row_warp * strip_rows, token_stride, lane, total);
  __syncthreads();
  // All of these are powers of two (WorkSplit), so shifts and masks take the place of divisions.
  const int row_shift = __ffs(rows) - 1;
  const int part_shift = __ffs(tokens_padded * rows / ranks) - 1;  // a part for each block of the cluster to finish
  const int part = 1 << part_shift;
  const int elements = m * rows;
  const auto store = [&](int element, float value) {
    const Index column = first_strip * strip_rows + (element & (rows - 1));
    if (column < x.b.n) store_element(x.c, element >> row_shift, column, value);
  };
  if (ranks > 1) cluster_wait();
  for (int i = threadIdx.x; i < elements; i += blockDim.x) {
    const float* const from = sums + (i >> row_shift) * token_stride + (i & (rows - 1));
    float sum = from[0];
    for (int share = 1; share < k_warps; ++share) sum += from[share * share_stride];
    if (ranks == 1) {
      store(i, sum);
    } else {
      store_to_rank(incoming + (rank << part_shift) + (i & (part - 1)), i >> part_shift, sum);
    }
  }
  if (ranks == 1) return;
  cluster_arrive();
  cluster_wait();
  for (int i = threadIdx.x; i < part && (rank << part_shift) + i < elements; i += blockDim.x) {
    float sum = incoming[i];
    for (int other = 1; other < ranks; ++other) sum += incoming[(other << part_shift) + i];
    store((rank << part_shift) + i, sum);
  }
}

using GemmKernelFunction = void (*)(GemmArguments);
constexpr GemmKernelFunction kernels[2][4] = {
    {gemm_kernel<1, false>, gemm_kernel<2, false>, gemm_kernel<4, false>, gemm_kernel<8, false>},
    {gemm_kernel<1, true>, gemm_kernel<2, true>, gemm_kernel<4, true>, gemm_kernel<8, true>}};

}  // namespace

cudaError_t launch_gemm(const GemmArguments& x, cudaStream_t stream) {
  static PreparedKernels prepared;
  const void* all[8];
  for (int i = 0; i < 8; ++i) all[i] = reinterpret_cast<const void*>(kernels[i / 4][i % 4]);
  if (const cudaError_t error = prepared.prepare(all); error != cudaSuccess) return error;
  const int tiles = token_tiles_for(x.m);
  const GemmKernelFunction kernel = kernels[x.b.row_major ? 1 : 0][tiles == 8 ? 3 : tiles / 2];
  const WorkSplit& split = x.split;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(tiles_to_cover(x.b.n, split.row_warps * strip_rows) * split.cluster));
  config.blockDim = dim3(static_cast<unsigned>(split.row_warps * split.k_warps * warp_lanes));
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes(x.m, x.round_groups, split));
  config.stream = stream;
  cudaLaunchAttribute attributes[2]{};
  config.attrs = attributes;
  if (split.early_weights) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (split.cluster > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs++].val.clusterDim = {static_cast<unsigned>(split.cluster), 1, 1};
  }
  return cudaLaunchKernelEx(&config, kernel, x);
}

}  // namespace millet::hopper
