// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/instructions.hpp"
#include "millet/backends/hopper/tiles/lane_weights.hpp"
#include "millet/numeric/bf16.hpp"

// From the sums that each warp has of its share of k to C, in a fixed order. Device code only.

namespace millet::hopper {

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

__device__ __forceinline__ float4 sum_of(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

/// Stores four elements of a row of C at a time, where they stand in C and are aligned.
class StoreFour {
 public:
  __device__ StoreFour(const OutputArguments& c, Index n)
      : c_(c),
        n_(n),
        aligned_((reinterpret_cast<std::uintptr_t>(c.values) % (c.bf16 ? 8 : 16) |
                  static_cast<std::uintptr_t>(c.row_stride) % 4) == 0) {}

  /// \param column  a multiple of 4; columns from n on are left out
  __device__ void operator()(Index row, Index column, float4 sum) const {
    if (!aligned_ || column + 4 > n_) {
      const float each[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (column + i < n_) store_element(c_, row, column + i, each[i]);
      }
      return;
    }
    const Index offset = row * c_.row_stride + column;
    if (c_.bf16) {
      const BF16 each[4] = {BF16::round(sum.x), BF16::round(sum.y), BF16::round(sum.z), BF16::round(sum.w)};
      uint2 packed;
      memcpy(&packed, each, sizeof packed);
      *reinterpret_cast<uint2*>(static_cast<BF16*>(c_.values) + offset) = packed;
    } else {
      *reinterpret_cast<float4*>(static_cast<float*>(c_.values) + offset) = sum;
    }
  }

 private:
  const OutputArguments& c_;
  Index n_;
  bool aligned_;
};

/// What one thread of a dense product works on.
struct DensePlace {
  Index first_strip;  ///< of its thread block
  int rank;           ///< of its thread block in the cluster
  int row_warp;
  int k_warp;
  int lane;

  __device__ explicit DensePlace(const WorkSplit& split)
      : first_strip(Index{blockIdx.x} * split.row_warps),
        rank(static_cast<int>(blockIdx.y)),
        row_warp(threadIdx.x / warp_lanes % split.row_warps),
        k_warp(threadIdx.x / warp_lanes / split.row_warps),
        lane(threadIdx.x % warp_lanes) {}

  /// The strip of this warp. A last block's warps beyond n repeat the last one; what they compute is not stored.
  [[nodiscard]] __device__ Index strip(Index n) const {
    return min(first_strip + row_warp, tiles_to_cover(n, strip_rows) - 1);
  }
};

/// Where the blocks of a cluster send each other their sums: shared memory of its own, since a block may still be
/// multiplying when the first of them arrive.
template <int Tiles>
class ClusterSums {
 public:
  static constexpr int tokens = Tiles * tokens_per_tile;

  /// Called by every thread of the block at its start; says to the cluster that this block is there.
  __device__ ClusterSums(std::uint8_t* shared, std::uint64_t* barrier, const GemmArguments& x, int rank)
      : incoming_(reinterpret_cast<float*>(shared)),
        barrier_(shared_address(barrier)),
        ranks_(x.split.cluster),
        rank_(rank) {
    if (ranks_ == 1) return;
    // All of these are powers of two (WorkSplit).
    const int rows = x.split.row_warps * strip_rows;
    part_shift_ = log2_of(tokens * rows / ranks_);
    const int elements = static_cast<int>(x.m) * rows;
    part_ = max(0, min(1 << part_shift_, elements - (rank << part_shift_)));
    if (threadIdx.x == 0) {
      initialize_barrier(barrier_, 1);
      expect_bytes(barrier_, ranks_ * part_ * static_cast<int>(sizeof(float)));
      publish_barriers();
    }
    __syncwarp();
    cluster_arrive();
  }

  /// Every thread, before it sends.
  __device__ void wait_for_blocks() const { cluster_wait(); }
  /// Four sums from `element` on of [token][row], to the block that finishes that part.
  __device__ void send(int element, float4 sums) const {
    float* const to = incoming_ + (rank_ << part_shift_) + (element & ((1 << part_shift_) - 1));
    send_to_rank(shared_address(to), element >> part_shift_, sums, barrier_);
  }
  /// Calls finish(element, sums) for the part of this block, with all blocks' sums added in the order of their ranks.
  template <class Finish>
  __device__ void finish(const Finish& finish) const {
    if (static_cast<int>(threadIdx.x) * 4 >= part_) return;
    wait_for_phase(barrier_, 0);
    for (int i = static_cast<int>(threadIdx.x) * 4; i < part_; i += blockDim.x * 4) {
      float4 sum = *reinterpret_cast<const float4*>(incoming_ + i);
      for (int other = 1; other < ranks_; ++other) {
        sum = sum_of(sum, *reinterpret_cast<const float4*>(incoming_ + (other << part_shift_) + i));
      }
      finish((rank_ << part_shift_) + i, sum);
    }
  }

 private:
  float* incoming_;  ///< [rank][part of this block]
  std::uint32_t barrier_;
  int ranks_;
  int rank_;
  int part_shift_ = 0;
  int part_ = 0;  ///< elements that this block finishes
};

/// Bytes of it.
[[nodiscard]] __host__ __device__ constexpr int cluster_sums_bytes(int tokens_padded, const WorkSplit& split) {
  return split.cluster > 1 ? tokens_padded * split.row_warps * strip_rows * static_cast<int>(sizeof(float)) : 0;
}

/// Adds up the sums of all warps and blocks that share k and stores C: in a fixed order, whatever finishes first: the
/// warps of a block, then the blocks of the cluster. Every thread of the cluster calls it.
/// \param own  shared memory that nothing else uses any more
template <int Tiles>
__device__ __forceinline__ void add_shares(const GemmArguments& x, const DensePlace& at,
                                           const ClusterSums<Tiles>& cluster, std::uint8_t* own,
                                           const float (&total)[Tiles][4]) {
  constexpr int tokens_padded = Tiles * tokens_per_tile;
  const int rows = x.split.row_warps * strip_rows;
  float* const sums = reinterpret_cast<float*>(own);
  const int token_stride = sums_stride(x.split.row_warps);
  const int share_stride = tokens_padded * token_stride;
  store_sums<Tiles>(sums + at.k_warp * share_stride + at.row_warp * strip_rows, token_stride, at.lane, total);
  __syncthreads();
  const int row_shift = log2_of(rows);
  const int elements = static_cast<int>(x.m) * rows;
  const StoreFour store(x.c, x.b.n);
  const Index first_column = at.first_strip * strip_rows;
  const auto finish = [&](int element, float4 sum) {
    store(element >> row_shift, first_column + (element & (rows - 1)), sum);
  };
  if (x.split.cluster > 1) cluster.wait_for_blocks();
  for (int i = static_cast<int>(threadIdx.x) * 4; i < elements; i += blockDim.x * 4) {
    const float* const from = sums + (i >> row_shift) * token_stride + (i & (rows - 1));
    float4 sum = *reinterpret_cast<const float4*>(from);
    for (int share = 1; share < x.split.k_warps; ++share) {
      sum = sum_of(sum, *reinterpret_cast<const float4*>(from + share * share_stride));
    }
    if (x.split.cluster == 1) {
      finish(i, sum);
    } else {
      cluster.send(i, sum);
    }
  }
  if (x.split.cluster > 1) cluster.finish(finish);
}

}  // namespace millet::hopper
