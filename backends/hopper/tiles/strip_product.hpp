// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/instructions.hpp"
#include "millet/backends/hopper/tiles/strip_arguments.hpp"
#include "millet/backends/hopper/tiles/weight_strips.hpp"
#include "millet/numeric/bf16.hpp"

// One warp's share of 16 rows of B times up to 64 tokens. Device code only.
//
// "Block dot, then scale": two matrix instructions with a zero accumulator sum one block of 32 k, then the sum times
// 2^(scale of the weight + scale of the token - 254) is added in f32. Rows of B fill the instruction's 16 rows, tokens
// its 8 columns, so that few tokens waste little.

namespace millet::hopper {

inline constexpr int warp_lanes = 32;
inline constexpr int tokens_per_tile = 8;
inline constexpr int max_token_tiles = 8;  ///< 64 tokens share one pass over the weights

/// Groups of weights that a warp has on their way: 3 x 2 KB, with 8 or more warps on an SM enough for HBM's latency.
inline constexpr int groups_in_flight = 3;

/// Where this lane's weights stand.
template <bool RowMajor>
class LaneWeights {
 public:
  __device__ LaneWeights(const StripWeightsArguments& b, Index expert, Index strip, int lane)
      : blocks_(static_cast<int>(b.k / MxBlock::k)) {
    const std::uint8_t* const values = b.values + expert * b.expert_value_stride;
    const std::uint8_t* const scales = b.scales + expert * b.expert_scale_stride;
    if constexpr (RowMajor) {
      // Rows beyond the last read the last again; they are never stored.
      const Index last = b.n - 1;
      const Index low = strip * strip_rows + lane / 4;
      const Index row_low = low < last ? low : last;
      const Index row_high = low + 8 < last ? low + 8 : last;
      values_low_ = values + row_low * b.k + lane % 4 * 8;
      values_high_ = values + row_high * b.k + lane % 4 * 8;
      scales_low_ = scales + row_low * blocks_;
      scales_high_ = scales + row_high * blocks_;
    } else {
      const Index groups = tiles_to_cover(blocks_, blocks_per_group);
      values_low_ = values + strip * blocks_ * StripValues::tile_size + lane * 16;
      scales_low_ = scales + strip * groups * StripScales::tile_size + lane / 4 * 8;
    }
  }

  /// k = 8 t .. 8 t + 7 of rows g (x, y) and g + 8 (z, w); block must exist.
  __device__ __forceinline__ uint4 values(int block) const {
    if constexpr (RowMajor) {
      const uint2 low = __ldg(reinterpret_cast<const uint2*>(values_low_ + Index{block} * MxBlock::k));
      const uint2 high = __ldg(reinterpret_cast<const uint2*>(values_high_ + Index{block} * MxBlock::k));
      return make_uint4(low.x, low.y, high.x, high.y);
    } else {
      return load_streaming(reinterpret_cast<const uint4*>(values_low_ + Index{block} * StripValues::tile_size));
    }
  }
  /// Four scale codes of rows g (x) and g + 8 (y).
  __device__ __forceinline__ uint2 scales(int group) const {
    if constexpr (RowMajor) {
      uint2 codes = make_uint2(0, 0);
      for (int i = 0; i < blocks_per_group; ++i) {
        const int block = group * blocks_per_group + i;
        if (block >= blocks_) break;
        codes.x |= std::uint32_t{__ldg(scales_low_ + block)} << 8 * i;
        codes.y |= std::uint32_t{__ldg(scales_high_ + block)} << 8 * i;
      }
      return codes;
    } else {
      return __ldg(reinterpret_cast<const uint2*>(scales_low_ + Index{group} * StripScales::tile_size));
    }
  }
  [[nodiscard]] __device__ int blocks() const { return blocks_; }

 private:
  int blocks_;
  const std::uint8_t* values_low_ = nullptr;
  const std::uint8_t* values_high_ = nullptr;
  const std::uint8_t* scales_low_ = nullptr;
  const std::uint8_t* scales_high_ = nullptr;
};

struct WeightGroup {
  uint4 values[blocks_per_group];
  uint2 scales;
};

template <bool RowMajor>
__device__ __forceinline__ void load_group(const LaneWeights<RowMajor>& weights, int group, WeightGroup& to) {
#pragma unroll
  for (int i = 0; i < blocks_per_group; ++i) {
    const int block = group * blocks_per_group + i;
    to.values[i] = block < weights.blocks() ? weights.values(block) : make_uint4(0, 0, 0, 0);
  }
  to.scales = weights.scales(group);
}

/// The part [first, last) of a strip's groups that share `share` of `shares` gets. Sizes differ by at most one.
struct GroupRange {
  int first;
  int last;
};
__device__ __forceinline__ GroupRange share_of(int groups, int share, int shares) {
  return {static_cast<int>(Index{share} * groups / shares), static_cast<int>(Index{share + 1} * groups / shares)};
}

// Scale codes for which the product of two powers of two is a normal f32 and no product with a block sum leaves f32
// before its true value does: 2^-63 to 2^63.
inline constexpr std::uint32_t smallest_plain_scale = 64;
inline constexpr std::uint32_t largest_plain_scale = 190;

/// The tokens that a thread block multiplies with, in its shared memory: e4m3 codes for its share of k, and scale
/// codes.
struct SharedTokens {
  std::uint8_t* values;  ///< [tokens][stride], from first_block on
  std::uint8_t* scales;  ///< [block][tokens]
  int stride;  ///< bytes; 32 more than a multiple of 128, so that 4 tokens' 32 bytes fall into different banks
  int first_block;
};

[[nodiscard]] __host__ __device__ constexpr int shared_token_stride(int blocks) {
  return (blocks * 32 + 127) / 128 * 128 + 32;
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
        copy_async(values + at, from + at);
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

__device__ __forceinline__ bool are_plain(std::uint32_t four_codes) {
  constexpr std::uint32_t each = 0x01010101U;
  return __vcmpgtu4(__vsub4(four_codes, each * smallest_plain_scale),
                    each * (largest_plain_scale - smallest_plain_scale)) == 0;
}

/// 2^(code - 127) for a plain code.
__device__ __forceinline__ float plain_power(std::uint32_t code) { return __uint_as_float(code << 23); }

/// sum * 2^(a + b - 254), rounded once, for any codes: 255 makes it NaN.
///
/// The power spans [-254, 254], wider than f32, so it is applied in halves. Below -200 every nonzero block sum (at most
/// 2^23) is nearer to zero than to the smallest subnormal; above 150 every one (at least 2^-18) is infinite.
__device__ __forceinline__ float scale_block_sum(float sum, std::uint32_t a, std::uint32_t b) {
  const int power = max(-200, min(150, static_cast<int>(a + b) - 254));
  const int half = power >> 1;
  const float scaled = sum * __int_as_float((half + 127) << 23) * __int_as_float((power - half + 127) << 23);
  return a == 255 || b == 255 ? __int_as_float(0x7FC00000) : scaled;
}

/// Adds one group of four blocks to the sums of Tiles x 8 tokens.
/// \tparam Plain  all four blocks exist and all their scales are plain: no branch keeps the blocks from overlapping
template <int Tiles, bool Plain>
__device__ __forceinline__ void add_group(const WeightGroup& weights, const SharedTokens& tokens, int group, int blocks,
                                          int lane, float (&total)[Tiles][4]) {
  const int first = group * blocks_per_group;
  const int staged = first - tokens.first_block;
  const std::uint8_t* const values =
      tokens.values + lane / 4 * tokens.stride + staged * static_cast<int>(MxBlock::k) + lane % 4 * 8;
  const std::uint8_t* const scales = tokens.scales + staged * (Tiles * tokens_per_tile) + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < blocks_per_group; ++i) {
    if (!Plain && first + i >= blocks) break;
    const HalfPairs low0 = to_half_pairs(weights.values[i].x);
    const HalfPairs low1 = to_half_pairs(weights.values[i].y);
    const HalfPairs high0 = to_half_pairs(weights.values[i].z);
    const HalfPairs high1 = to_half_pairs(weights.values[i].w);
    const std::uint32_t code_low = weights.scales.x >> 8 * i & 0xFF;
    const std::uint32_t code_high = weights.scales.y >> 8 * i & 0xFF;
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
      const uint2 x = *reinterpret_cast<const uint2*>(values + tile * tokens_per_tile * tokens.stride +
                                                      i * static_cast<int>(MxBlock::k));
      const HalfPairs x0 = to_half_pairs(x.x);
      const HalfPairs x1 = to_half_pairs(x.y);
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

template <bool RowMajor>
__device__ __forceinline__ void fill_pipeline(const LaneWeights<RowMajor>& weights, GroupRange range,
                                              WeightGroup (&pipeline)[groups_in_flight]) {
#pragma unroll
  for (int i = 0; i < groups_in_flight; ++i) {
    if (range.first + i < range.last) load_group(weights, range.first + i, pipeline[i]);
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

/// Floats between two tokens of a share of k's sums, [tokens][rows]: 4 more than the rows spread a warp's store over
/// all banks.
[[nodiscard]] __host__ __device__ constexpr int sums_stride(int row_warps) { return row_warps * strip_rows + 4; }

/// \param sums  of this warp's share of k, at its first row
template <int Tiles>
__device__ __forceinline__ void store_sums(float* sums, int stride, int lane, const float (&total)[Tiles][4]) {
  const int row = lane / 4;
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) {
    float* const even = sums + (tile * tokens_per_tile + lane % 4 * 2) * stride;
    even[row] = total[tile][0];
    even[stride + row] = total[tile][1];
    even[row + 8] = total[tile][2];
    even[stride + row + 8] = total[tile][3];
  }
}

__device__ __forceinline__ void store_element(const OutputArguments& c, Index row, Index column, float value) {
  const Index offset = row * c.row_stride + column;
  if (c.bf16) {
    static_cast<BF16*>(c.values)[offset] = BF16::round(value);
  } else {
    static_cast<float*>(c.values)[offset] = value;
  }
}

}  // namespace millet::hopper
