// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/instructions.hpp"
#include "millet/backends/hopper/tiles/lane_weights.hpp"

// The sums of the blocks of a cluster, from the registers of each to the block that adds them up. Device code only.

namespace millet::hopper {

/// Tokens that a lane sends at a time. 64 tokens of 128 rows took 3600 cycles two at a time and 2700 four at a time;
/// for 8 or fewer, four took 2 to 6 % more of a whole call than two.
[[nodiscard]] __host__ __device__ constexpr int packet_tokens(int tokens_padded) { return tokens_padded > 8 ? 4 : 2; }

/// Floats that the sums of one row take in a tile: a packet more than a single tile's tokens spreads rows over the
/// banks.
[[nodiscard]] __host__ __device__ constexpr int row_floats(int tokens_padded) {
  return tokens_padded == tokens_per_tile ? tokens_per_tile + packet_tokens(tokens_padded) : tokens_per_tile;
}

/// Where the teams of a cluster's blocks send each other their sums, and the block of each part of the rows adds them
/// up. Shared memory of its own, since a block may still be multiplying when the first sums arrive. What a block's own
/// teams have of its part is stored there, not sent.
template <int AllTiles>
class ClusterRows {
 public:
  static constexpr int packet = packet_tokens(AllTiles * tokens_per_tile);
  /// Floats between two rows of a tile.
  static constexpr int row_stride = row_floats(AllTiles * tokens_per_tile);

  /// \param incoming  address of cluster_rows_bytes: [team of the cluster][tile][row of this block's part][row_stride]
  /// Called by every thread of the block at its start; says to the cluster that this block is there.
  __device__ ClusterRows(std::uint32_t incoming, std::uint32_t barrier, const WarpgroupGemmArguments& x, int rank)
      : incoming_(incoming),
        barrier_(barrier),
        m_(static_cast<int>(x.gemm.m)),
        rank_(rank),
        ranks_(x.gemm.split.cluster),
        own_teams_(x.gemm.split.k_warps),
        teams_(x.gemm.split.k_warps * x.gemm.split.cluster),
        rows_(x.plan.rows_a_rank),
        reciprocal_(x.plan.rows_reciprocal) {
    if (ranks_ == 1) return;
    if (threadIdx.x == 0) {
      initialize_barrier(barrier_, 1);
      const int rows = min(rows_, x.gemm.split.row_warps * strip_rows - rank * rows_);
      if (rows > 0) expect_bytes(barrier_, (teams_ - own_teams_) * ((m_ + packet - 1) / packet) * rows * packet * 4);
      publish_barriers();
    }
    __syncwarp();
    cluster_arrive();
  }

  /// Sends a warp's sums of Tiles x 8 tokens from `first_token` on, of the 16 rows from `first_row` of the block on.
  ///
  /// Of four tokens, two lanes have two each, for rows g and g + 8: the even lane sends row g and the odd one row g
  /// + 8. \param team  of the cluster
  template <int Tiles>
  __device__ void send(const float (&total)[Tiles][4], int first_token, int first_row, int team, int lane) const {
    if (ranks_ > 1) cluster_wait();
    if constexpr (packet == 2) {
      const int token = first_token + lane % 4 * 2;
      if (token >= m_) return;
      send_packet(place_of(first_row + lane / 4, team), token, make_float2(total[0][0], total[0][1]));
      send_packet(place_of(first_row + lane / 4 + 8, team), token, make_float2(total[0][2], total[0][3]));
    } else {
      const bool odd = lane % 2 != 0;
      const Place to = place_of(first_row + lane / 4 + (odd ? 8 : 0), team);
#pragma unroll
      for (int tile = 0; tile < Tiles; ++tile) {
        const float x = __shfl_xor_sync(0xFFFFFFFFU, odd ? total[tile][0] : total[tile][2], 1);
        const float y = __shfl_xor_sync(0xFFFFFFFFU, odd ? total[tile][1] : total[tile][3], 1);
        const int token = first_token + tile * tokens_per_tile + lane % 4 / 2 * 4;
        if (token >= m_) continue;
        send_packet(to, token,
                    odd ? make_float4(x, y, total[tile][2], total[tile][3])
                        : make_float4(total[tile][0], total[tile][1], x, y));
      }
    }
  }

  /// Calls store(token, row of the block, sum) for the rows of this block's part, the sums of all teams added in their
  /// order. \param rows  of the block
  template <class Store>
  __device__ void finish(int rows, const Store& store) const {
    const int first = rank_ * rows_;
    const int count = min(rows_, rows - first);
    meet_all(own_teams_);
    if (count <= 0) return;
    if (ranks_ > 1) wait_for_phase(barrier_, 0);
    const int tile_stride = rows_ * row_stride;
    const int team_bytes = AllTiles * tile_stride * 4;
    if constexpr (packet == 2) {
#pragma unroll 1
      for (int i = threadIdx.x; i < m_ * rows_; i += blockDim.x) {
        const int token = quotient(i);
        const int row = i - token * rows_;
        if (row >= count) continue;
        std::uint32_t from = incoming_ + (row * row_stride + token) * 4;
        float sum = load_shared_4(from);
#pragma unroll 4
        for (int other = 1; other < teams_; ++other) {
          from += team_bytes;
          sum += load_shared_4(from);
        }
        store(token, first + row, sum);
      }
    } else {
      const int quads = (m_ + 3) / 4;
#pragma unroll 1
      for (int i = threadIdx.x; i < quads * rows_; i += blockDim.x) {
        const int quad = quotient(i);
        const int row = i - quad * rows_;
        if (row >= count) continue;
        std::uint32_t from = incoming_ + (row * row_stride + quad / 2 * tile_stride + quad % 2 * 4) * 4;
        float4 sum = load_shared_four(from);
#pragma unroll 4
        for (int other = 1; other < teams_; ++other) {
          from += team_bytes;
          const float4 next = load_shared_four(from);
          sum = make_float4(sum.x + next.x, sum.y + next.y, sum.z + next.z, sum.w + next.w);
        }
        const int token = quad * 4;
        store(token, first + row, sum.x);
        if (token + 1 < m_) store(token + 1, first + row, sum.y);
        if (token + 2 < m_) store(token + 2, first + row, sum.z);
        if (token + 3 < m_) store(token + 3, first + row, sum.w);
      }
    }
  }

 private:
  struct Place {
    std::uint32_t sums;  ///< address of the row's sums, of the first tile, in the block that finishes it
    int rank;
  };
  /// n / rows_, exact for n below 16 * rows_ and 192, rows_ at most 192.
  __device__ int quotient(int n) const { return n * reciprocal_ >> 20; }
  __device__ Place place_of(int row, int team) const {
    const int rank = quotient(row);
    return {incoming_ + (team * rows_ * AllTiles + row - rank * rows_) * (row_stride * 4), rank};
  }
  template <class Packet>  // float2 or float4
  __device__ void send_packet(const Place& to, int token, Packet values) const {
    const std::uint32_t at = to.sums + (token / tokens_per_tile * rows_ * row_stride + token % tokens_per_tile) * 4;
    if (to.rank != rank_) {
      send_to_rank(at, to.rank, values, barrier_);
    } else {  // a launch without clusters may not use that instruction
      store_shared(at, values);
    }
  }

  std::uint32_t incoming_;
  std::uint32_t barrier_;
  int m_;
  int rank_;
  int ranks_;
  int own_teams_;  ///< of this block
  int teams_;      ///< of the cluster
  int rows_;       ///< that a block finishes
  int reciprocal_;
};

/// Bytes of it, a multiple of 128 so that what stands behind is aligned.
[[nodiscard]] __host__ __device__ constexpr int cluster_rows_bytes(int tokens_padded, const WorkSplit& split,
                                                                   const WarpgroupPlan& plan) {
  const int bytes = tokens_padded / tokens_per_tile * row_floats(tokens_padded) * plan.rows_a_rank * split.cluster *
                    split.k_warps * static_cast<int>(sizeof(float));
  return (bytes + 127) / 128 * 128;
}

}  // namespace millet::hopper
