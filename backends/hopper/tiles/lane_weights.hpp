// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/instructions.hpp"
#include "millet/backends/hopper/tiles/strip_arguments.hpp"
#include "millet/backends/hopper/tiles/weight_strips.hpp"

// A warp's weights on their way from memory into its registers. Device code only.

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
      values_low_ = values + row_low * b.k + lane % 4 * 4;
      values_high_ = values + row_high * b.k + lane % 4 * 4;
      scales_low_ = scales + row_low * blocks_;
      scales_high_ = scales + row_high * blocks_;
    } else {
      const Index groups = tiles_to_cover(blocks_, blocks_per_group);
      values_low_ = values + strip * blocks_ * StripValues::tile_size + lane * 16;
      scales_low_ = scales + strip * groups * StripScales::tile_size + lane / 4 * 8;
    }
  }

  /// Four codes from k = 4 t of rows g (x) and g + 8 (y), and from k = 16 + 4 t of the same (z, w); block must exist.
  __device__ __forceinline__ uint4 values(int block) const {
    if constexpr (RowMajor) {
      const auto word = [block](const std::uint8_t* row, int k) {
        return __ldg(reinterpret_cast<const std::uint32_t*>(row + Index{block} * MxBlock::k + k));
      };
      return make_uint4(word(values_low_, 0), word(values_high_, 0), word(values_low_, 16), word(values_high_, 16));
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

/// The exponent of a power of two.
__device__ __forceinline__ int log2_of(int power) { return __ffs(power) - 1; }

/// The part of a strip's groups that share `share` of `shares` gets. Sizes differ by at most one.
__device__ __forceinline__ GroupRange share_of(int groups, int share, int shares) {
  // At most 2^31 / 128 groups and 16 shares: 32 bits hold the products, and divide faster than 64.
  return {share * groups / shares, (share + 1) * groups / shares};
}

template <bool RowMajor>
__device__ __forceinline__ void fill_pipeline(const LaneWeights<RowMajor>& weights, GroupRange range,
                                              WeightGroup (&pipeline)[groups_in_flight]) {
#pragma unroll
  for (int i = 0; i < groups_in_flight; ++i) {
    if (range.first + i < range.last) load_group(weights, range.first + i, pipeline[i]);
  }
}

}  // namespace millet::hopper
