// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/hopper/tiles/launch.hpp"
#include "millet/backends/hopper/tiles/strip_product.hpp"

namespace millet::hopper {

namespace {

/// Tokens of one pass over an expert's weights. With 64 the kernel would need 206 registers, one block an SM.
inline constexpr int max_tokens = 32;

/// The expert of a routing block in use, or -1: no id outside its range is ever used as an index.
__device__ __forceinline__ Index expert_of(const GroupedArguments& x, Index block) {
  if (block >= x.routing_blocks || block * x.block_m >= *x.num_tokens_post_padded) return -1;
  const Index expert = x.expert_ids[block];
  return expert >= 0 && expert < x.experts ? expert : -1;
}

struct GroupedShared {
  int slots[max_tokens];
  int count;
  Index next_entry;
};

/// Gathers up to max_tokens slots of the run of entries [entry, end) with the whole of warp 0.
__device__ void gather_slots(const GroupedArguments& x, Index entry, Index end, int lane, GroupedShared& shared) {
  int count = 0;
  while (entry < end && count + warp_lanes <= max_tokens) {
    const Index mine = entry + lane;
    const std::int32_t slot = mine < end ? x.sorted_token_ids[mine] : -1;
    const bool valid = slot >= 0 && slot < x.slots;
    const unsigned all = __ballot_sync(0xFFFFFFFFU, valid);
    if (valid) shared.slots[count + __popc(all & ((1U << lane) - 1))] = slot;
    count += __popc(all);
    entry += warp_lanes;
  }
  if (lane == 0) {
    shared.count = count;
    shared.next_entry = entry;
  }
}

/// The gathered tokens times the strip; the first groups of weights are in `pipeline`.
template <int Tiles, bool RowMajor>
__device__ void multiply(const GroupedArguments& x, const LaneWeights<RowMajor>& weights, Index strip,
                         const GroupedShared& shared, float* sums, WeightGroup (&pipeline)[groups_in_flight],
                         GroupRange range, int lane, int warp, int warps) {
  constexpr int tokens_padded = Tiles * tokens_per_tile;
  std::uint8_t* const token_scales = reinterpret_cast<std::uint8_t*>(sums + warps * tokens_padded * sums_stride);
  const int blocks = weights.blocks();
  bool plain = true;
  for (int i = threadIdx.x; i < blocks * tokens_padded; i += blockDim.x) {
    const int token = i / blocks;
    const int block = i % blocks;
    std::uint8_t code = 127;
    if (token < shared.count) {
      code = __ldg(x.a.scales + shared.slots[token] / x.a_div * x.a.scale_stride + block);
    }
    plain = plain && code >= smallest_plain_scale && code <= largest_plain_scale;
    token_scales[block * tokens_padded + token] = code;
  }
  const bool plain_tokens = __syncthreads_and(plain) != 0;

  LaneTokens<Tiles> tokens;
  tokens.aligned = (reinterpret_cast<std::uintptr_t>(x.a.values) | static_cast<std::uintptr_t>(x.a.value_stride)) % 8 == 0;
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) {
    const int token = tile * tokens_per_tile + lane / 4;
    tokens.rows[tile] = token < shared.count
        ? x.a.values + shared.slots[token] / x.a_div * x.a.value_stride + lane % 4 * 8
        : nullptr;
  }
  float total[Tiles][4] = {};
  add_groups<Tiles>(weights, tokens, token_scales, 0, plain_tokens, range, lane, pipeline, total);
  store_sums<Tiles>(sums + warp * tokens_padded * sums_stride, lane, total);
  __syncthreads();
  for (int i = threadIdx.x; i < shared.count * strip_rows; i += blockDim.x) {
    const int token = i / strip_rows;
    const int row = i % strip_rows;
    float sum = 0.0F;
    for (int other = 0; other < warps; ++other) {
      sum += sums[(other * tokens_padded + token) * sums_stride + row];
    }
    const Index slot = shared.slots[token];
    const Index column = strip * strip_rows + row;
    if (x.slot_weights != nullptr) sum *= __ldg(x.slot_weights + slot);
    if (column < x.b.n) store_element(x.c, slot, column, sum);
  }
}

/// One strip of 16 rows of one expert's weights, all tokens that the run of routing blocks starting here brings it.
template <bool RowMajor>
__global__ void __launch_bounds__(256, 2) grouped_gemm_kernel(const __grid_constant__ GroupedArguments x) {
  extern __shared__ float sums[];
  __shared__ GroupedShared shared;
  const Index strips = tiles_to_cover(x.b.n, strip_rows);
  const Index strip = blockIdx.x % strips;
  const Index first_block = blockIdx.x / strips;
  const Index before = first_block > 0 ? expert_of(x, first_block - 1) : -1;
  const Index expert = expert_of(x, first_block);
  if (expert < 0 || before == expert) return;  // the block that starts the expert's run does all of it

  const int lane = threadIdx.x % warp_lanes;
  const int warp = threadIdx.x / warp_lanes;
  const int warps = blockDim.x / warp_lanes;
  const LaneWeights<RowMajor> weights(x.b, expert, strip, lane);
  const int groups = (weights.blocks() + blocks_per_group - 1) / blocks_per_group;
  const GroupRange range = share_of(groups, warp, warps);
  WeightGroup pipeline[groups_in_flight];
  fill_pipeline(weights, range, pipeline);

  Index end_block = first_block + 1;
  while (expert_of(x, end_block) == expert) ++end_block;
  const Index end = end_block * x.block_m;
  for (Index entry = first_block * x.block_m; entry < end; entry = shared.next_entry) {
    if (entry != first_block * x.block_m) fill_pipeline(weights, range, pipeline);
    __syncthreads();  // the last round's readers of `shared` and `sums` are done
    if (warp == 0) gather_slots(x, entry, end, lane, shared);
    __syncthreads();
    if (shared.count > 16) {
      multiply<4, RowMajor>(x, weights, strip, shared, sums, pipeline, range, lane, warp, warps);
    } else if (shared.count > 8) {
      multiply<2, RowMajor>(x, weights, strip, shared, sums, pipeline, range, lane, warp, warps);
    } else if (shared.count > 0) {
      multiply<1, RowMajor>(x, weights, strip, shared, sums, pipeline, range, lane, warp, warps);
    }
  }
}

}  // namespace

cudaError_t launch_grouped_gemm(const GroupedArguments& x, KSplit split, cudaStream_t stream) {
  static PreparedKernels prepared;
  const void* const kernels[] = {reinterpret_cast<const void*>(grouped_gemm_kernel<false>),
                                 reinterpret_cast<const void*>(grouped_gemm_kernel<true>)};
  if (const cudaError_t error = prepared.prepare(kernels); error != cudaSuccess) return error;
  const auto grid = static_cast<unsigned>(tiles_to_cover(x.b.n, strip_rows) * x.routing_blocks);
  const auto threads = static_cast<unsigned>(split.warps * warp_lanes);
  const auto shared = static_cast<std::size_t>(shared_bytes(max_tokens, x.b.k, split));
  if (x.b.row_major) {
    grouped_gemm_kernel<true><<<grid, threads, shared, stream>>>(x);
  } else {
    grouped_gemm_kernel<false><<<grid, threads, shared, stream>>>(x);
  }
  return cudaGetLastError();
}

}  // namespace millet::hopper
