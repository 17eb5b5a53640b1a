// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/tiles/half_scales.hpp"
#include "millet/backends/hopper/tiles/warpgroup_product.hpp"

// The tokens of a team, in shared memory as the f16 matrix unit wants them. Device code only.
//
// Codes come by asynchronous copies, all of a round at once, each into half of the place that its f16 values will have;
// the thread that asked for them widens them there. So nothing but the scales waits in registers.

namespace millet::hopper {

/// The tokens of a team's groups from first_group on.
struct HalfTokens {
  std::uint32_t values;  ///< address of [16 k][half][tile of 8][token][8 values], as token_matrix wants it
  std::uint32_t steps;   ///< of [group of the share][token]: the steps (half_scales.hpp) of four blocks, a byte each
  int first_group;
};

/// A token's values of 16 k: k = 4 i and 4 i + 1 of each of the four words stand in the first half, k = 4 i + 2 and
/// 4 i + 3 in the second, since a lane of the left operand has its four codes of a word in two columns of each half.
template <int Tiles>
struct HalfPlace {
  static constexpr int half_bytes = Tiles * 128;
  static constexpr int piece_bytes = 2 * half_bytes;  ///< 16 k
  static constexpr int group_bytes = blocks_per_group * 2 * piece_bytes;
};

/// What one thread stages of a round, one piece of 16 k after the other: a warp takes the eight tokens of a tile by four
/// pieces that stand together, so that it reads few lines and writes 128 bytes in a row.
template <int Tiles>
class HalfStaging {
 public:
  __device__ HalfStaging(const WarpgroupGemmArguments& x, const HalfTokens& to, int groups, const Team& team)
      : pieces_(groups * blocks_per_group * 2),
        existing_((static_cast<int>(x.gemm.b.k / MxBlock::k) - to.first_group * blocks_per_group) * 2),
        warp_(team.thread / warp_lanes),
        warps_(team.threads / warp_lanes),
        token_(team.thread % tokens_per_tile),
        piece_(team.thread % warp_lanes / tokens_per_tile) {}

  /// Calls visit(token, piece of the round, whether A has it) for each.
  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    constexpr int tile_shift = Tiles == 8 ? 3 : Tiles / 2;
#pragma unroll 2
    for (int i = warp_; i < pieces_ / 4 << tile_shift; i += warps_) {
      const int piece = (i >> tile_shift) * 4 + piece_;
      visit((i & (Tiles - 1)) * tokens_per_tile + token_, piece, piece < existing_);
    }
  }

 private:
  int pieces_;    ///< of the round; of a last group that is not whole, A has fewer
  int existing_;  ///< of A from the round's first on
  int warp_;
  int warps_;
  int token_;
  int piece_;
};

/// Starts to bring the codes of a round to shared memory; widen_tokens must follow.
///
/// Coherent loads: the preceding kernel may have written A while this one was already running.
/// \param row_of  (token) the row of A, or -1 for none: what stands in its place is multiplied and never stored
template <int Tiles, class RowOf>
__device__ __forceinline__ void copy_token_codes(const WarpgroupGemmArguments& x, const HalfTokens& to,
                                                 const HalfStaging<Tiles>& staging, const RowOf& row_of) {
  using Place = HalfPlace<Tiles>;
  const TokensArguments& a = x.gemm.a;
  const std::uint8_t* const codes = a.values + Index{to.first_group} * blocks_per_group * MxBlock::k;
  const bool aligned =
      (reinterpret_cast<std::uintptr_t>(a.values) | static_cast<std::uintptr_t>(a.value_stride)) % 16 == 0;
  staging.each([&](int token, int piece, bool exists) {
    const Index row = row_of(token);
    if (row < 0 || !exists) return;
    const std::uint32_t at = to.values + piece * Place::piece_bytes + token * 16;
    const std::uint8_t* const from = codes + row * a.value_stride + piece * 16;
    if (aligned) {
      copy_async(at, from);
    } else {
#pragma unroll 1
      for (int j = 0; j < 16; ++j) store_shared(at + j, from[j]);
    }
  });
}

/// Finds each token's base, the largest of its scale codes in the groups of a share, and the steps of its blocks to it.
/// \param bases  address of a byte for each token
/// Returns whether every block that this thread has seen is within reach of its base (half_scales.hpp).
template <int Tiles, class RowOf>
__device__ __forceinline__ bool find_token_bases(const WarpgroupGemmArguments& x, const HalfTokens& to,
                                                 GroupRange share, std::uint32_t bases, const Team& team,
                                                 const RowOf& row_of) {
  constexpr int tokens = Tiles * tokens_per_tile;
  constexpr int lanes = 4;  // of a token
  const TokensArguments& a = x.gemm.a;
  const int blocks = static_cast<int>(x.gemm.b.k / MxBlock::k);
  const bool words = (reinterpret_cast<std::uintptr_t>(a.scales) | static_cast<std::uintptr_t>(a.scale_stride)) % 4 == 0;
  const int lane = team.thread % lanes;
  const std::uint32_t all_lanes = 0xFU << (team.thread % warp_lanes / lanes * lanes);
  bool reached = true;
#pragma unroll 1
  for (int token = team.thread / lanes; token < tokens; token += team.threads / lanes) {
    const Index row = row_of(token);
    if (row < 0) continue;
    const std::uint8_t* const from = a.scales + row * a.scale_stride;
    CodeRange range;
#pragma unroll 2
    for (int group = share.first + lane; group < share.last; group += lanes) {
      const int block = group * blocks_per_group;
      const std::uint32_t codes = words && block + blocks_per_group <= blocks
                                      ? *reinterpret_cast<const std::uint32_t*>(from + block)
                                      : codes_one_by_one(from, block, blocks);
      range.add(codes);
      store_shared(to.steps + ((group - share.first) * tokens + token) * 4, codes);
    }
    std::uint32_t base = range.largest();
    std::uint32_t least = range.smallest();
#pragma unroll
    for (int other = 1; other < lanes; other *= 2) {
      base = max(base, __shfl_xor_sync(all_lanes, base, other));
      least = min(least, __shfl_xor_sync(all_lanes, least, other));
    }
    const std::uint32_t to_steps = steps_to(base);
#pragma unroll 2
    for (int group = share.first + lane; group < share.last; group += lanes) {
      const std::uint32_t at = to.steps + ((group - share.first) * tokens + token) * 4;
      store_shared(at, load_shared_word(at) + to_steps);
    }
    if (lane == 0) store_shared(bases + token, static_cast<std::uint8_t>(base));
    reached &= within_reach(base, least);
  }
  return reached;
}

/// Waits for this thread's codes of a round and turns them to f16: times the power that their block's step says, or as
/// they are. A barrier of the team must have come between find_token_bases and this one.
/// Returns whether this is exact for all that this thread has widened.
template <int Tiles, bool Scaled, class RowOf>
__device__ __forceinline__ bool widen_tokens(const HalfTokens& to, GroupRange share, const HalfStaging<Tiles>& staging,
                                             const RowOf& row_of) {
  using Place = HalfPlace<Tiles>;
  constexpr int tokens = Tiles * tokens_per_tile;
  bool exact = true;
  const std::uint32_t steps = to.steps + (to.first_group - share.first) * tokens * 4;
  wait_for_copies();
  staging.each([&](int token, int piece, bool exists) {
    if (row_of(token) < 0) return;
    const std::uint32_t at = to.values + piece * Place::piece_bytes + token * 16;
    uint4 low = make_uint4(0, 0, 0, 0);
    uint4 high = low;
    if (exists) {
      const uint4 codes = load_shared_16(at);
      const HalfPairs a = to_half_pairs(codes.x);
      const HalfPairs b = to_half_pairs(codes.y);
      const HalfPairs c = to_half_pairs(codes.z);
      const HalfPairs d = to_half_pairs(codes.w);
      std::uint32_t power = half_one;
      if constexpr (Scaled) {
        std::uint32_t four = load_shared_word(steps + ((piece >> 3) * tokens + token) * 4);
        const int block = piece >> 1 & 3;
        if ((four >> 8 * block & beyond_reach) != 0) {
          exact &= ((codes.x | codes.y | codes.z | codes.w) & magnitude_bits) == 0;
          four = 0;  // any power will do for zeros
        }
        power = half_power(half_powers(four), block);
      }
      low = make_uint4(times(a.low, power), times(b.low, power), times(c.low, power), times(d.low, power));
      high = make_uint4(times(a.high, power), times(b.high, power), times(c.high, power), times(d.high, power));
    }
    store_shared(at, low);
    store_shared(at + Place::half_bytes, high);
  });
  return exact;
}

}  // namespace millet::hopper
