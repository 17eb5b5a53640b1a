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

/// Codes of tokens: row pointers to e4m3 values, null beyond the last token.
template <int Tiles>
struct LaneTokens {
  const std::uint8_t* rows[Tiles];  ///< token 8 i + g, at k = 8 t
  bool aligned;                     ///< whether 8-byte loads may be used

  [[nodiscard]] __device__ __forceinline__ uint2 values(int tile, int block) const {
    const std::uint8_t* const from = rows[tile] + Index{block} * MxBlock::k;
    if (rows[tile] == nullptr) return make_uint2(0, 0);
    if (aligned) return __ldg(reinterpret_cast<const uint2*>(from));
    uint2 codes = make_uint2(0, 0);
    for (int i = 0; i < 4; ++i) {
      codes.x |= std::uint32_t{__ldg(from + i)} << 8 * i;
      codes.y |= std::uint32_t{__ldg(from + 4 + i)} << 8 * i;
    }
    return codes;
  }
};

// Scale codes for which the product of two powers of two is a normal f32 and no product with a block sum leaves f32
// before its true value does: 2^-63 to 2^63.
inline constexpr int smallest_plain_scale = 64;
inline constexpr int largest_plain_scale = 190;

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
/// \param token_scales  codes [block][Tiles * 8] of this thread block's share of k, from `first_block` on
template <int Tiles>
__device__ __forceinline__ void add_group(const WeightGroup& weights, const LaneTokens<Tiles>& tokens,
                                          const std::uint8_t* token_scales, int first_block, bool plain_tokens,
                                          int group, int blocks, int lane, float (&total)[Tiles][4]) {
  const bool plain = plain_tokens && are_plain(weights.scales.x) && are_plain(weights.scales.y);
#pragma unroll
  for (int i = 0; i < blocks_per_group; ++i) {
    const int block = group * blocks_per_group + i;
    if (block >= blocks) break;
    const HalfPairs low0 = to_half_pairs(weights.values[i].x);
    const HalfPairs low1 = to_half_pairs(weights.values[i].y);
    const HalfPairs high0 = to_half_pairs(weights.values[i].z);
    const HalfPairs high1 = to_half_pairs(weights.values[i].w);
    const std::uint32_t code_low = weights.scales.x >> 8 * i & 0xFF;
    const std::uint32_t code_high = weights.scales.y >> 8 * i & 0xFF;
    const std::uint8_t* const codes = token_scales + (block - first_block) * (Tiles * tokens_per_tile) + lane % 4 * 2;
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
      const uint2 x = tokens.values(tile, block);
      const HalfPairs x0 = to_half_pairs(x.x);
      const HalfPairs x1 = to_half_pairs(x.y);
      float sum[4] = {0.0F, 0.0F, 0.0F, 0.0F};
      mma_m16n8k16(sum, low0.low, high0.low, low0.high, high0.high, x0.low, x0.high);
      mma_m16n8k16(sum, low1.low, high1.low, low1.high, high1.high, x1.low, x1.high);
      const std::uint32_t pair = *reinterpret_cast<const std::uint16_t*>(codes + tile * tokens_per_tile);
      const std::uint32_t code_even = pair & 0xFF;
      const std::uint32_t code_odd = pair >> 8;
      if (plain) {
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
__device__ __forceinline__ void add_groups(const LaneWeights<RowMajor>& weights, const LaneTokens<Tiles>& tokens,
                                           const std::uint8_t* token_scales, int first_block, bool plain_tokens,
                                           GroupRange range, int lane, WeightGroup (&pipeline)[groups_in_flight],
                                           float (&total)[Tiles][4]) {
  for (int base = range.first; base < range.last; base += groups_in_flight) {
#pragma unroll
    for (int i = 0; i < groups_in_flight; ++i) {
      const int group = base + i;
      if (group >= range.last) break;
      add_group<Tiles>(pipeline[i], tokens, token_scales, first_block, plain_tokens, group, weights.blocks(), lane,
                       total);
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

/// Floats between two tokens of a warp's sums in shared memory: 16 rows and 4 more, which spreads a store over all banks.
inline constexpr int sums_stride = strip_rows + 4;

template <int Tiles>
__device__ __forceinline__ void store_sums(float* of_warp, int lane, const float (&total)[Tiles][4]) {
  const int row = lane / 4;
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) {
    float* const even = of_warp + (tile * tokens_per_tile + lane % 4 * 2) * sums_stride;
    even[row] = total[tile][0];
    even[sums_stride + row] = total[tile][1];
    even[row + 8] = total[tile][2];
    even[sums_stride + row + 8] = total[tile][3];
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
