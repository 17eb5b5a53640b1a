// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/instructions.hpp"
#include "millet/backends/hopper/tiles/block_scales.hpp"
#include "millet/backends/hopper/tiles/lane_weights.hpp"

// One warp's share of 16 rows of B times up to 64 tokens. Device code only.
//
// "Block dot, then scale": two matrix instructions with a zero accumulator sum one block of 32 k, then the sum times
// 2^(scale of the weight + scale of the token - 254) is added in f32. Rows of B fill the instruction's 16 rows, tokens
// its 8 columns, so that few tokens waste little.

namespace millet::hopper {

/// The tokens that a thread block multiplies with, in its shared memory: e4m3 codes for its share of k, and scale
/// codes.
struct SharedTokens {
  std::uint8_t* values;  ///< [tokens][stride], from first_block on
  std::uint8_t* scales;  ///< [block][tokens]
  int stride;  ///< bytes; 16 more than a multiple of 128, so that 8 tokens' 16 bytes fall into different banks
  int first_block;
};

[[nodiscard]] __host__ __device__ constexpr int shared_token_stride(int blocks) {
  return (blocks * 32 + 127) / 128 * 128 + 16;
}

/// Brings the tokens' codes and scales for blocks [first_block, first_block + count) into shared memory, with the whole
/// thread block. Returns, after a barrier, whether every scale is plain.
///
/// Coherent loads (no __ldg): the preceding kernel may have written A while this one was already running, and the
/// read-only path may not see that.
/// \param row_of  (token) the row of A, or -1 for none: what stands in its place is multiplied and never stored
template <int Tokens, class RowOf>
__device__ __forceinline__ bool stage_tokens(const TokensArguments& a, const SharedTokens& to, int count,
                                             const RowOf& row_of) {
  const int warp = threadIdx.x / warp_lanes;
  const int lane = threadIdx.x % warp_lanes;
  const int warps = blockDim.x / warp_lanes;
  const bool aligned =
      (reinterpret_cast<std::uintptr_t>(a.values) | static_cast<std::uintptr_t>(a.value_stride)) % 16 == 0;
  for (int token = warp; token < Tokens; token += warps) {
    const Index row = row_of(token);
    if (row < 0) continue;
    const std::uint8_t* const from = a.values + row * a.value_stride + Index{to.first_block} * MxBlock::k;
    std::uint8_t* const values = to.values + token * to.stride;
    for (int at = lane * 16; at < count * static_cast<int>(MxBlock::k); at += warp_lanes * 16) {
      if (aligned) {
        copy_async(shared_address(values + at), from + at);
      } else {
        for (int i = 0; i < 16; ++i) values[at + i] = from[at + i];
      }
    }
  }
  bool plain = true;
#pragma unroll 4
  for (int i = threadIdx.x; i < count * Tokens; i += blockDim.x) {
    const Index row = row_of(i % Tokens);
    if (row < 0) continue;
    const std::uint32_t code = a.scales[row * a.scale_stride + to.first_block + i / Tokens];
    plain &= code - smallest_plain_scale <= largest_plain_scale - smallest_plain_scale;
    to.scales[i] = static_cast<std::uint8_t>(code);
  }
  wait_for_copies();
  return __syncthreads_and(plain) != 0;
}

/// Adds one group of four blocks to the sums of Tiles x 8 tokens.
/// \tparam Plain  all four blocks exist and all their scales are plain: no branch keeps the blocks from overlapping
template <int Tiles, bool Plain>
__device__ __forceinline__ void add_group(const WeightGroup& weights, const SharedTokens& tokens, int group, int blocks,
                                          int lane, float (&total)[Tiles][4]) {
  const int first = group * blocks_per_group;
  const int staged = first - tokens.first_block;
  const std::uint8_t* const values =
      tokens.values + lane / 4 * tokens.stride + staged * static_cast<int>(MxBlock::k) + lane % 4 * 4;
  const std::uint8_t* const scales = tokens.scales + staged * (Tiles * tokens_per_tile) + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < blocks_per_group; ++i) {
    if (!Plain && first + i >= blocks) break;
    const HalfPairs low0 = to_half_pairs(weights.values[i].x);
    const HalfPairs high0 = to_half_pairs(weights.values[i].y);
    const HalfPairs low1 = to_half_pairs(weights.values[i].z);
    const HalfPairs high1 = to_half_pairs(weights.values[i].w);
    const std::uint32_t code_low = weights.scales.x >> 8 * i & 0xFF;
    const std::uint32_t code_high = weights.scales.y >> 8 * i & 0xFF;
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
      const std::uint8_t* const x = values + tile * tokens_per_tile * tokens.stride + i * static_cast<int>(MxBlock::k);
      const HalfPairs x0 = to_half_pairs(*reinterpret_cast<const std::uint32_t*>(x));
      const HalfPairs x1 = to_half_pairs(*reinterpret_cast<const std::uint32_t*>(x + 16));
      float sum[4] = {0.0F, 0.0F, 0.0F, 0.0F};
      mma_m16n8k16(sum, low0.low, high0.low, low0.high, high0.high, x0.low, x0.high);
      mma_m16n8k16(sum, low1.low, high1.low, low1.high, high1.high, x1.low, x1.high);
      const std::uint32_t pair =
          *reinterpret_cast<const std::uint16_t*>(scales + i * (Tiles * tokens_per_tile) + tile * tokens_per_tile);
      const std::uint32_t code_even = pair & 0xFF;
      const std::uint32_t code_odd = pair >> 8;
      if constexpr (Plain) {
        const float even = plain_power(code_even);
        const float odd = plain_power(code_odd);
        const float low = plain_power(code_low);
        const float high = plain_power(code_high);
        total[tile][0] += sum[0] * (low * even);
        total[tile][1] += sum[1] * (low * odd);
        total[tile][2] += sum[2] * (high * even);
        total[tile][3] += sum[3] * (high * odd);
      } else {
        total[tile][0] += scale_block_sum(sum[0], code_low, code_even);
        total[tile][1] += scale_block_sum(sum[1], code_low, code_odd);
        total[tile][2] += scale_block_sum(sum[2], code_high, code_even);
        total[tile][3] += scale_block_sum(sum[3], code_high, code_odd);
      }
    }
  }
}

/// A warp's sums over its range of groups; `pipeline` holds the first ones, loaded.
template <int Tiles, bool RowMajor>
__device__ __forceinline__ void add_groups(const LaneWeights<RowMajor>& weights, const SharedTokens& tokens,
                                           bool plain_tokens, GroupRange range, int lane,
                                           WeightGroup (&pipeline)[groups_in_flight], float (&total)[Tiles][4]) {
  for (int base = range.first; base < range.last; base += groups_in_flight) {
#pragma unroll
    for (int i = 0; i < groups_in_flight; ++i) {
      const int group = base + i;
      if (group >= range.last) break;
      // The matrix instructions need the whole warp, so it decides as one.
      const bool plain = plain_tokens && (group + 1) * blocks_per_group <= weights.blocks() &&
                         are_plain(pipeline[i].scales.x) && are_plain(pipeline[i].scales.y);
      if (__all_sync(0xFFFFFFFFU, plain)) {
        add_group<Tiles, true>(pipeline[i], tokens, group, weights.blocks(), lane, total);
      } else {
        add_group<Tiles, false>(pipeline[i], tokens, group, weights.blocks(), lane, total);
      }
      if (group + groups_in_flight < range.last) load_group(weights, group + groups_in_flight, pipeline[i]);
    }
  }
}

/// A warp's part of the groups [share.first, share.last), in rounds of as many groups as the thread block can stage
/// tokens for. Called by every thread of the block; all have finished reading `shared` when it returns.
template <int Tiles, bool RowMajor, class RowOf>
__device__ __forceinline__ void multiply_share(const LaneWeights<RowMajor>& weights, const TokensArguments& a,
                                               const RowOf& row_of, GroupRange share, int round_groups, int k_warp,
                                               int k_warps, std::uint8_t* shared, int lane, float (&total)[Tiles][4]) {
  constexpr int tokens_padded = Tiles * tokens_per_tile;
  for (int first = share.first; first < share.last; first += round_groups) {
    const int last = min(share.last, first + round_groups);
    const GroupRange part = share_of(last - first, k_warp, k_warps);
    const GroupRange range{first + part.first, first + part.last};
    WeightGroup pipeline[groups_in_flight];
    fill_pipeline(weights, range, pipeline);

    // While the weights are on their way: the tokens, which the kernel before this one may have written.
    wait_for_preceding_kernel();
    const int first_block = first * blocks_per_group;
    const int count = min(weights.blocks(), last * blocks_per_group) - first_block;
    const int stride = shared_token_stride(count);
    const SharedTokens tokens{shared, shared + tokens_padded * stride, stride, first_block};
    const bool plain = stage_tokens<tokens_padded>(a, tokens, count, row_of);
    add_groups<Tiles>(weights, tokens, plain, range, lane, pipeline, total);
    __syncthreads();
  }
}

}  // namespace millet::hopper
