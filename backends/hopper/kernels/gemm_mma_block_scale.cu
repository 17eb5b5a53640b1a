// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/hopper/tiles/launch.hpp"
#include "millet/backends/hopper/tiles/share_sums.hpp"
#include "millet/backends/hopper/tiles/strip_product.hpp"

namespace millet::hopper {

namespace {

/// row_warps strips of 16 rows of B, all m <= 8 Tiles tokens; k is shared out over k_warps warps of each block of the
/// cluster.
template <int Tiles, bool RowMajor>
__global__ void __launch_bounds__(256, Tiles <= 2 ? 2 : 1) gemm_kernel(const __grid_constant__ GemmArguments x) {
  extern __shared__ __align__(128) std::uint8_t shared[];
  let_next_kernel_start();
  __shared__ std::uint64_t cluster_barrier;
  const DensePlace at(x.split);
  const ClusterSums<Tiles> cluster(shared, &cluster_barrier, x, at.rank);
  std::uint8_t* const own = shared + cluster_sums_bytes(Tiles * tokens_per_tile, x.split);
  const LaneWeights<RowMajor> weights(x.b, 0, at.strip(x.b.n), at.lane);
  const GroupRange share = share_of(tiles_to_cover(weights.blocks(), blocks_per_group), at.rank, x.split.cluster);

  const int m = static_cast<int>(x.m);
  const auto row_of = [m](int token) { return token < m ? Index{token} : Index{-1}; };
  float total[Tiles][4] = {};
  multiply_share<Tiles>(weights, x.a, row_of, share, x.round_groups, at.k_warp, x.split.k_warps, own, at.lane, total);
  wait_for_preceding_kernel();  // it may be reading what C replaces; a block without a share of k has not waited yet
  add_shares<Tiles>(x, at, cluster, own, total);
}

using GemmKernelFunction = void (*)(GemmArguments);
constexpr GemmKernelFunction kernels[2][4] = {
    {gemm_kernel<1, false>, gemm_kernel<2, false>, gemm_kernel<4, false>, gemm_kernel<8, false>},
    {gemm_kernel<1, true>, gemm_kernel<2, true>, gemm_kernel<4, true>, gemm_kernel<8, true>}};

}  // namespace

cudaError_t launch_gemm_mma(const GemmArguments& x, cudaStream_t stream) {
  static PreparedKernels prepared;
  const void* all[8];
  for (int i = 0; i < 8; ++i) all[i] = reinterpret_cast<const void*>(kernels[i / 4][i % 4]);
  if (const cudaError_t error = prepared.prepare(all); error != cudaSuccess) return error;
  const int tiles = token_tiles_for(x.m);
  DenseLaunch launch(x, /*warps_a_strip=*/1, shared_bytes(x.m, x.round_groups, x.split), stream);
  return cudaLaunchKernelEx(&launch.config, kernels[x.b.row_major ? 1 : 0][tiles == 8 ? 3 : tiles / 2], x);
}

}  // namespace millet::hopper
