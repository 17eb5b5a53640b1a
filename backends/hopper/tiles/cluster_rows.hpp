// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/instructions.hpp"
#include "millet/backends/hopper/tiles/lane_weights.hpp"

// The sums of the blocks of a cluster, from the registers of each to the block that adds them up. Device code only.

namespace millet::hopper {

/// Where the teams of a cluster's blocks send each other their sums, and the block of each part of the rows adds them
/// up. Shared memory of its own, since a block may still be multiplying when the first sums arrive.
template <int AllTiles>
class ClusterRows {
 public:
  /// Floats between two rows: two more than the tokens spread the rows over the banks.
  static constexpr int row_stride = AllTiles * tokens_per_tile + 2;

  /// \param incoming  address of cluster_rows_bytes: [team of the cluster][row of this block's part][row_stride]
  /// Called by every thread of the block at its start; says to the cluster that this block is there.
  __device__ ClusterRows(std::uint32_t incoming, std::uint32_t barrier, const WarpgroupGemmArguments& x, int rank)
      : incoming_(incoming),
        barrier_(barrier),
        m_(static_cast<int>(x.gemm.m)),
        ranks_(x.gemm.split.cluster),
        teams_(x.gemm.split.k_warps * x.gemm.split.cluster),
        rows_(x.plan.rows_a_rank),
        reciprocal_(x.plan.rows_reciprocal) {
    if (ranks_ == 1) return;
    if (threadIdx.x == 0) {
      initialize_barrier(barrier_, 1);
      const int rows = min(rows_, x.gemm.split.row_warps * strip_rows - rank * rows_);
      if (rows > 0) expect_bytes(barrier_, teams_ * ((m_ + 1) / 2) * rows * 8);
      publish_barriers();
    }
    __syncwarp();
    cluster_arrive();
  }

  /// Sends a warp's sums of Tiles x 8 tokens from `first_token` on, of the 16 rows from `first_row` of the block on.
  /// \param team  of the cluster
  template <int Tiles>
  __device__ void send(const float (&total)[Tiles][4], int first_token, int first_row, int team, int lane) const {
    if (ranks_ > 1) cluster_wait();
    const Place low = place_of(first_row + lane / 4, team);
    const Place high = place_of(first_row + lane / 4 + 8, team);
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
      const int token = first_token + tile * tokens_per_tile + lane % 4 * 2;
      if (token >= m_) break;
      send_pair(low, token, total[tile][0], total[tile][1]);
      send_pair(high, token, total[tile][2], total[tile][3]);
    }
  }

  /// Calls store(token, row of the block, sum) for the rows of this block's part, the sums of all teams added in their
  /// order. \param rows  of the block
  template <class Store>
  __device__ void finish(int rank, int rows, const Store& store) const {
    const int first = rank * rows_;
    const int count = min(rows_, rows - first);
    if (count <= 0) return;
    if (ranks_ > 1) {
      wait_for_phase(barrier_, 0);
    } else {
      // Named like the teams' barriers (1 to their number): racecheck reports a race across __syncthreads behind those.
      meet(1 + teams_, static_cast<int>(blockDim.x));
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < m_ * rows_; i += blockDim.x) {
      const int token = quotient(i);
      const int row = i - token * rows_;
      if (row >= count) continue;
      std::uint32_t from = incoming_ + (row * row_stride + token) * 4;
      float sum = load_shared_4(from);
#pragma unroll 4
      for (int other = 1; other < teams_; ++other) {
        from += rows_ * row_stride * 4;
        sum += load_shared_4(from);
      }
      store(token, first + row, sum);
    }
  }

 private:
  struct Place {
    std::uint32_t sums;  ///< address of the row's sums in the block that finishes it
    int rank;
  };
  /// n / rows_, exact for n up to 64 * rows_, rows_ at most 128.
  __device__ int quotient(int n) const { return n * reciprocal_ >> 20; }
  __device__ Place place_of(int row, int team) const {
    const int rank = quotient(row);
    return {incoming_ + (team * rows_ + row - rank * rows_) * (row_stride * 4), rank};
  }
  __device__ void send_pair(const Place& to, int token, float first, float second) const {
    if (ranks_ > 1) {
      send_to_rank(to.sums + token * 4, to.rank, make_float2(first, second), barrier_);
    } else {  // a launch without clusters may not use that instruction
      store_shared(to.sums + token * 4, make_float2(first, second));
    }
  }

  std::uint32_t incoming_;
  std::uint32_t barrier_;
  int m_;
  int ranks_;
  int teams_;
  int rows_;  ///< that a block finishes
  int reciprocal_;
};

/// Bytes of it, a multiple of 128 so that what stands behind is aligned.
[[nodiscard]] __host__ __device__ constexpr int cluster_rows_bytes(int tokens_padded, const WorkSplit& split,
                                                                   const WarpgroupPlan& plan) {
  const int bytes =
      (tokens_padded + 2) * plan.rows_a_rank * split.cluster * split.k_warps * static_cast<int>(sizeof(float));
  return (bytes + 127) / 128 * 128;
}

}  // namespace millet::hopper
