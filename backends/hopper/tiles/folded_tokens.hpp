// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/tiles/folded_scales.hpp"
#include "millet/backends/hopper/tiles/launch.hpp"
#include "millet/backends/hopper/tiles/warpgroup_product.hpp"

// The tokens of a team, in shared memory as the f16 matrix unit wants them. Device code only.
//
// Codes come by asynchronous copies, all of a round at once, each into half of the place that its f16 values will have;
// the thread that asked for them widens them there. So nothing but the scales waits in registers.

namespace millet::hopper {

/// Shared memory that the values of one token take for one group, in bytes: f16.
inline constexpr int folded_value_bytes = blocks_per_group * 64;
/// Shared memory for the tokens of a team: values, a word of steps for each group, and a base.
[[nodiscard]] __host__ __device__ constexpr int folded_token_bytes(int tokens, int groups) {
  return tokens * (groups * (folded_value_bytes + 4) + 4);
}

/// The tokens of a team's round of groups.
struct FoldedTokens {
  std::uint32_t values;  ///< address of [16 k][half][tile of 8][token][8 values], as TokenMatrix wants it
  std::uint32_t steps;   ///< of [group][token]: the steps (folded_scales.hpp) of four blocks, a byte each
  std::uint32_t bases;   ///< of [token]: its largest code in this round
  GroupRange groups;
};

/// A token's values of 16 k: k = 4 i and 4 i + 1 of each of the four words stand in the first half, k = 4 i + 2 and
/// 4 i + 3 in the second, since a lane of the left operand has its four codes of a word in two columns of each half.
template <int Tiles>
struct FoldedPlace {
  static constexpr int half_bytes = Tiles * 128;
  static constexpr int piece_bytes = 2 * half_bytes;  ///< 16 k
  static constexpr int group_bytes = blocks_per_group * 2 * piece_bytes;
};

/// What one thread stages of a round: pieces of 16 k of one token after the other. A warp takes the eight tokens of a
/// tile by four pieces that stand together, so that it reads few lines and writes 128 bytes in a row.
template <int Tiles>
class FoldedStaging {
 public:
  __device__ FoldedStaging(const WarpgroupGemmArguments& x, GroupRange groups, const Team& team)
      : pieces_((groups.last - groups.first) * blocks_per_group * 2),
        existing_(min(pieces_, (static_cast<int>(x.gemm.b.k / MxBlock::k) - groups.first * blocks_per_group) * 2)) {
    const int warp = team.thread / warp_lanes;
    const int warps = team.threads / warp_lanes;   // 4, 8 or 12
    const int tiles = min(Tiles, warps & -warps);  // at once
    token_ = warp % tiles * tokens_per_tile + team.thread % tokens_per_tile;
    token_step_ = tiles * tokens_per_tile;
    first_ = warp / tiles * 4 + team.thread % warp_lanes / tokens_per_tile;
    step_ = warps / tiles * 4;
  }

  /// Calls visit(token) for each of this thread's.
  template <class Visit>
  __device__ __forceinline__ void each_token(const Visit& visit) const {
#pragma unroll 1
    for (int token = token_; token < Tiles * tokens_per_tile; token += token_step_) visit(token);
  }
  /// Of each of these tokens this thread takes every step-th piece from the first on: up to `existing`, A has them;
  /// those from there to `pieces`, which fill up a last group, it does not.
  [[nodiscard]] __device__ int first() const { return first_; }
  [[nodiscard]] __device__ int step() const { return step_; }
  [[nodiscard]] __device__ int existing() const { return existing_; }
  [[nodiscard]] __device__ int pieces() const { return pieces_; }

 private:
  int pieces_;
  int existing_;
  int token_;
  int token_step_;
  int first_;
  int step_;
};

/// Starts to bring the codes of a round to shared memory; widen_tokens must follow.
///
/// Coherent loads: the preceding kernel may have written A while this one was already running.
/// \param row_of  (token) the row of A, or -1 for none: what stands in its place is multiplied and never stored
template <int Tiles, class RowOf>
__device__ __forceinline__ void copy_token_codes(const WarpgroupGemmArguments& x, const FoldedTokens& to,
                                                 const FoldedStaging<Tiles>& staging, const RowOf& row_of) {
  using Place = FoldedPlace<Tiles>;
  const TokensArguments& a = x.gemm.a;
  const bool aligned =
      (reinterpret_cast<std::uintptr_t>(a.values) | static_cast<std::uintptr_t>(a.value_stride)) % 16 == 0;
  staging.each_token([&](int token) {
    const Index row = row_of(token);
    if (row < 0) return;
    int piece = staging.first();
    const std::uint8_t* from = a.values + row * a.value_stride +
                               to.groups.first * (blocks_per_group * static_cast<int>(MxBlock::k)) + piece * 16;
    std::uint32_t at = to.values + piece * Place::piece_bytes + token * 16;
    const int distance = staging.step() * 16;
    const int place_distance = staging.step() * Place::piece_bytes;
    if (aligned) {
      // A copy holds on to its address registers until it has been sent: eight at a time have their own.
#pragma unroll 8
      for (; piece < staging.existing(); piece += staging.step(), from += distance, at += place_distance) {
        copy_async(at, from);
      }
    } else {
#pragma unroll 1
      for (; piece < staging.existing(); piece += staging.step(), from += distance, at += place_distance) {
#pragma unroll 1
        for (int j = 0; j < 16; ++j) store_shared(at + j, from[j]);
      }
    }
  });
}

/// Lanes that look at a row's scale codes of a round together, a group at a time each, and how many groups a lane gets.
inline constexpr int round_lanes = 4;
inline constexpr int groups_a_lane = folded_max_round / round_lanes;

/// The largest and smallest of many codes, which it takes as pairs of 16 bits: the machine compares these at once.
class CodeRange {
 public:
  __device__ __forceinline__ void add(std::uint32_t four_codes) {
    constexpr std::uint32_t even = 0x00FF00FFU;
    add_pairs(four_codes & even, four_codes & even);
    add_pairs(four_codes >> 8 & even, four_codes >> 8 & even);
  }
  /// Joins the ranges of round_lanes lanes that stand together; those of `mask` call it.
  __device__ __forceinline__ void join_lanes(std::uint32_t mask) {
#pragma unroll
    for (int other = 1; other < round_lanes; other *= 2) {
      add_pairs(__shfl_xor_sync(mask, largest_, other), __shfl_xor_sync(mask, smallest_, other));
    }
  }
  [[nodiscard]] __device__ std::uint32_t largest() const { return max(largest_ & 0xFFU, largest_ >> 16); }
  [[nodiscard]] __device__ std::uint32_t smallest() const { return min(smallest_ & 0xFFU, smallest_ >> 16); }

 private:
  __device__ __forceinline__ void add_pairs(std::uint32_t large, std::uint32_t small) {
    largest_ = __vmaxu2(largest_, large);
    smallest_ = __vminu2(smallest_, small);
  }

  std::uint32_t largest_ = 0;
  std::uint32_t smallest_ = 0x00FF00FFU;
};

/// Finds each token's base, the largest of its scale codes in a round, and the steps of its blocks to it.
/// Returns whether the bases that this thread has seen allow folding at all.
template <int Tiles, class RowOf>
__device__ __forceinline__ bool find_token_bases(const WarpgroupGemmArguments& x, const FoldedTokens& to,
                                                 const Team& team, const RowOf& row_of) {
  constexpr int tokens = Tiles * tokens_per_tile;
  constexpr int lanes = round_lanes;  // of a token
  const TokensArguments& a = x.gemm.a;
  const int first_block = to.groups.first * blocks_per_group;
  const int groups = to.groups.last - to.groups.first;
  const int blocks = static_cast<int>(x.gemm.b.k / MxBlock::k) - first_block;  // from there on
  const bool words =
      blocks >= groups * blocks_per_group &&
      (reinterpret_cast<std::uintptr_t>(a.scales) | static_cast<std::uintptr_t>(a.scale_stride)) % 4 == 0;
  const int lane = team.thread % lanes;
  const std::uint32_t mask = 0xFU << (team.thread % warp_lanes / lanes * lanes);
  bool foldable = true;
#pragma unroll 1
  for (int token = team.thread / lanes; token < tokens; token += team.threads / lanes) {
    const Index row = row_of(token);
    if (row < 0) continue;
    const std::uint8_t* const from = a.scales + row * a.scale_stride + first_block;
    const auto group_of = [&](int i) { return lane + i * lanes; };  // of the round
    const auto place = [&](int i) { return to.steps + (group_of(i) * tokens + token) * 4; };
    std::uint32_t codes[groups_a_lane];
    if (words) {  // all loads before the first is used
#pragma unroll
      for (int i = 0; i < groups_a_lane; ++i) {
        if (group_of(i) < groups) codes[i] = *reinterpret_cast<const std::uint32_t*>(from + group_of(i) * 4);
      }
    } else {
#pragma unroll 1
      for (int i = 0; group_of(i) < groups; ++i) {
        std::uint32_t four = 0;
#pragma unroll 1
        for (int j = 0; j < blocks_per_group; ++j) {
          const int block = group_of(i) * blocks_per_group;
          four |= std::uint32_t{from[block + (block + j < blocks ? j : 0)]} << 8 * j;
        }
        store_shared(place(i), four);
      }
#pragma unroll
      for (int i = 0; i < groups_a_lane; ++i) {
        if (group_of(i) < groups) codes[i] = load_shared_word(place(i));
      }
    }
    CodeRange range;
#pragma unroll
    for (int i = 0; i < groups_a_lane; ++i) {
      if (group_of(i) < groups) range.add(codes[i]);
    }
    range.join_lanes(mask);
    const std::uint32_t base = range.largest();
    const std::uint32_t to_steps = each_byte * step_of(0, base);
#pragma unroll
    for (int i = 0; i < groups_a_lane; ++i) {
      // Byte by byte: a block out of reach must not borrow from the next.
      if (group_of(i) < groups) store_shared(place(i), __vadd4(codes[i], to_steps));
    }
    if (lane == 0) store_shared(to.bases + token * 4, base);
    foldable &= base <= largest_base;
  }
  return foldable;
}

/// Products of two pairs of f16; exact where the scale is a power of two and the result an f16.
__device__ __forceinline__ std::uint32_t times(std::uint32_t pair, std::uint32_t power) {
  std::uint32_t product;
  asm("mul.rn.f16x2 %0, %1, %2;\n" : "=r"(product) : "r"(pair), "r"(power));
  return product;
}

/// Waits for this thread's codes of a round and turns them to f16: times the power that their block's step says, or as
/// they are. A barrier of the team must have come between find_token_bases and this one, and must follow.
/// Returns whether this is exact for all that this thread has widened.
template <int Tiles, bool Folded, class RowOf>
__device__ __forceinline__ bool widen_tokens(const FoldedTokens& to, const FoldedStaging<Tiles>& staging,
                                             const RowOf& row_of) {
  using Place = FoldedPlace<Tiles>;
  constexpr int tokens = Tiles * tokens_per_tile;
  constexpr std::uint32_t magnitudes = 0x7F7F7F7FU;
  constexpr std::uint32_t one = 0x3C003C00U;
  bool exact = true;
  wait_for_copies();
  staging.each_token([&](int token) {
    if (row_of(token) < 0) return;
    int piece = staging.first();
    std::uint32_t at = to.values + piece * Place::piece_bytes + token * 16;
    const int place_distance = staging.step() * Place::piece_bytes;
#pragma unroll 2
    for (; piece < staging.existing(); piece += staging.step(), at += place_distance) {
      const uint4 codes = load_shared_16(at);
      std::uint32_t power = one;
      if constexpr (Folded) {
        std::uint32_t step = load_shared_byte(to.steps + (piece / 8 * tokens + token) * 4 + piece / 2 % 4);
        if ((step & beyond_reach) != 0) {
          exact &= ((codes.x | codes.y | codes.z | codes.w) & magnitudes) == 0;
          step = 0;  // any power will do for zeros
        }
        power = half_power_byte(step) * 0x01000100U;
      }
      const HalfPairs a = to_half_pairs(codes.x);
      const HalfPairs b = to_half_pairs(codes.y);
      const HalfPairs c = to_half_pairs(codes.z);
      const HalfPairs d = to_half_pairs(codes.w);
      store_shared(at, make_uint4(times(a.low, power), times(b.low, power), times(c.low, power), times(d.low, power)));
      store_shared(at + Place::half_bytes,
                   make_uint4(times(a.high, power), times(b.high, power), times(c.high, power), times(d.high, power)));
    }
#pragma unroll 1
    for (; piece < staging.pieces(); piece += staging.step(), at += place_distance) {
      store_shared(at, make_uint4(0, 0, 0, 0));
      store_shared(at + Place::half_bytes, make_uint4(0, 0, 0, 0));
    }
  });
  publish_to_matrix_unit();
  return exact;
}

}  // namespace millet::hopper
