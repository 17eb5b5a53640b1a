// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/hopper/tiles/launch.hpp"
#include "millet/backends/hopper/tiles/routing_block.hpp"
#include "millet/backends/hopper/tiles/share_sums.hpp"
#include "millet/backends/hopper/tiles/strip_product.hpp"

namespace millet::hopper {

namespace {

struct GatheredSlots {
  int slots[grouped_tokens];
  int count;
  Index next_entry;
};

/// Gathers up to grouped_tokens slots from the entries [entry, end) with the whole of one warp.
__device__ void gather_slots(const RoutingArguments& x, Index entry, Index end, int lane, GatheredSlots& to) {
  int count = 0;
  while (entry < end && count < grouped_tokens) {
    const Index mine = entry + lane;
    const std::int32_t slot = mine < end ? x.sorted_token_ids[mine] : -1;
    const bool valid = slot_in_range(x, slot);
    const unsigned all = __ballot_sync(0xFFFFFFFFU, valid);
    const int place = count + __popc(all & ((1U << lane) - 1));
    if (valid && place < grouped_tokens) to.slots[place] = slot;
    // Where they do not all fit, go on behind the last that did.
    const unsigned left_out = __ballot_sync(0xFFFFFFFFU, valid && place >= grouped_tokens);
    count = min(grouped_tokens, count + __popc(all));
    entry += left_out == 0 ? warp_lanes : __ffs(left_out) - 1;
  }
  if (lane == 0) {
    to.count = count;
    to.next_entry = entry;
  }
}

/// The gathered tokens times this warp's strip.
template <int Tiles, bool RowMajor>
__device__ __forceinline__ void multiply(const GroupedArguments& x, const LaneWeights<RowMajor>& weights,
                                         Index first_strip, int row_warp, int k_warp, const GatheredSlots& gathered,
                                         std::uint8_t* shared, int lane) {
  constexpr int tokens_padded = Tiles * tokens_per_tile;
  const int row_warps = x.split.row_warps;
  const GroupRange all{0, static_cast<int>(tiles_to_cover(weights.blocks(), blocks_per_group))};
  const auto row_of = [&](int token) {
    return token < gathered.count ? gathered.slots[token] / x.routing.a_div : Index{-1};
  };
  float total[Tiles][4] = {};
  multiply_share<Tiles>(weights, x.a, row_of, all, x.round_groups, k_warp, x.split.k_warps, shared, lane, total);

  float* const sums = reinterpret_cast<float*>(shared);
  const int token_stride = sums_stride(row_warps);
  const int share_stride = tokens_padded * token_stride;
  store_sums<Tiles>(sums + k_warp * share_stride + row_warp * strip_rows, token_stride, lane, total);
  __syncthreads();
  const int rows = row_warps * strip_rows;
  for (int i = threadIdx.x; i < gathered.count * rows; i += blockDim.x) {
    const int token = i / rows;
    const int row = i % rows;
    const float* const from = sums + token * token_stride + row;
    float sum = from[0];
    for (int share = 1; share < x.split.k_warps; ++share) sum += from[share * share_stride];
    const Index slot = gathered.slots[token];
    const Index column = first_strip * strip_rows + row;
    if (x.routing.slot_weights != nullptr) sum *= x.routing.slot_weights[slot];
    if (column < x.b.n) store_element(x.c, slot, column, sum);
  }
}

/// row_warps strips of 16 rows of one expert's weights, all tokens that the run of routing blocks starting here has.
template <bool RowMajor>
__global__ void __launch_bounds__(256, 2) grouped_gemm_kernel(const __grid_constant__ GroupedArguments x) {
  extern __shared__ __align__(128) std::uint8_t shared[];
  __shared__ GatheredSlots gathered;
  let_next_kernel_start();
  wait_for_preceding_kernel();  // which may have written the routing
  const int row_warps = x.split.row_warps;
  const auto parts = static_cast<unsigned>(tiles_to_cover(x.b.n, row_warps * strip_rows));
  const Index first_strip = static_cast<Index>(blockIdx.x % parts) * row_warps;
  const Index first_block = blockIdx.x / parts;
  const Index before = first_block > 0 ? expert_of(x.routing, first_block - 1) : -1;
  const Index expert = expert_of(x.routing, first_block);
  if (expert < 0 || before == expert) return;  // the block that starts the expert's run does all of it

  const int lane = threadIdx.x % warp_lanes;
  const int warp = threadIdx.x / warp_lanes;
  const int row_warp = warp % row_warps;
  const int k_warp = warp / row_warps;
  const Index last_strip = tiles_to_cover(x.b.n, strip_rows) - 1;
  const LaneWeights<RowMajor> weights(x.b, expert, min(first_strip + row_warp, last_strip), lane);
  Index end_block = first_block + 1;
  while (expert_of(x.routing, end_block) == expert) ++end_block;
  const Index begin = first_block * x.routing.block_m;
  const Index end = end_block * x.routing.block_m;
  for (Index entry = begin; entry < end; entry = gathered.next_entry) {
    if (entry != begin) __syncthreads();  // everybody has read the last round's slots and sums
    if (warp == 0) gather_slots(x.routing, entry, end, lane, gathered);
    __syncthreads();
    if (gathered.count > tokens_per_tile) {
      multiply<2, RowMajor>(x, weights, first_strip, row_warp, k_warp, gathered, shared, lane);
    } else if (gathered.count > 0) {
      multiply<1, RowMajor>(x, weights, first_strip, row_warp, k_warp, gathered, shared, lane);
    }
  }
}

}  // namespace

cudaError_t launch_grouped_gemm(const GroupedArguments& x, cudaStream_t stream) {
  static PreparedKernels prepared;
  const void* const kernels[] = {reinterpret_cast<const void*>(grouped_gemm_kernel<false>),
                                 reinterpret_cast<const void*>(grouped_gemm_kernel<true>)};
  if (const cudaError_t error = prepared.prepare(kernels); error != cudaSuccess) return error;
  const auto grid = static_cast<unsigned>(tiles_to_cover(x.b.n, x.split.row_warps * strip_rows) * x.routing.blocks);
  const auto threads = static_cast<unsigned>(x.split.row_warps * x.split.k_warps * warp_lanes);
  const auto shared = static_cast<std::size_t>(shared_bytes(grouped_tokens, x.round_groups, x.split));
  if (x.b.row_major) {
    grouped_gemm_kernel<true><<<grid, threads, shared, stream>>>(x);
  } else {
    grouped_gemm_kernel<false><<<grid, threads, shared, stream>>>(x);
  }
  return cudaGetLastError();
}

}  // namespace millet::hopper
