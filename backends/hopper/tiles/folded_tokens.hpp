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
  std::uint32_t values;  ///< address of a SwizzledMatrix: its first 8 of 16 k are k = 4 i and 4 i + 1 of each word,
                         ///< since a lane of the left operand has its four codes of a word in two columns of each half
  std::uint32_t steps;   ///< of [group][token]: the steps (folded_scales.hpp) of four blocks, a byte each
  std::uint32_t bases;   ///< of [token]: its largest code in this round
  GroupRange groups;
};

/// Lanes that look at a row's scale codes of a round together, a group at a time each, and how many groups a lane gets.
inline constexpr int round_lanes = 4;
inline constexpr int groups_a_lane = folded_max_round / round_lanes;

/// What one thread stages of a round: 16 k of each 64 of some of them, one token after the other. A warp takes the
/// eight tokens of a tile by 64 k, so that it reads few lines and writes all banks.
template <int Tiles>
class FoldedStaging {
 public:
  static constexpr int k64_bytes = SwizzledMatrix<Tiles>::k64_bytes;

  __device__ FoldedStaging(const WarpgroupGemmArguments& x, GroupRange groups, const Team& team) {
    const int warp = team.thread / warp_lanes;
    const int warps = team.threads / warp_lanes;   // 4, 8 or 12
    const int tiles = min(Tiles, warps & -warps);  // at once
    const int parts = warps / tiles;
    const int part = warp / tiles;
    const int all = (groups.last - groups.first) * 2;
    const int each = (all + parts - 1) / parts;
    const int existing = (static_cast<int>(x.gemm.b.k / MxBlock::k) - groups.first * blocks_per_group) * 2;
    quarter_ = team.thread % warp_lanes / tokens_per_tile;
    first_ = min(all, part * each);
    last_ = min(all, first_ + each);
    existing_ = min(last_, (existing - quarter_ + 3) / 4);
    token_ = warp % tiles * tokens_per_tile + team.thread % tokens_per_tile;
    token_step_ = tiles * tokens_per_tile;
  }

  /// Calls visit(token) for each of this thread's.
  template <class Visit>
  __device__ __forceinline__ void each_token(const Visit& visit) const {
#pragma unroll 1
    for (int token = token_; token < Tiles * tokens_per_tile; token += token_step_) visit(token);
  }
  /// Of each of these it takes the 64 k's [first, last), of which A has those before `existing`; and of each 64 this
  /// quarter.
  [[nodiscard]] __device__ int first() const { return first_; }
  [[nodiscard]] __device__ int existing() const { return existing_; }
  [[nodiscard]] __device__ int last() const { return last_; }
  [[nodiscard]] __device__ int quarter() const { return quarter_; }

  /// Where the first half of a token's 16 k stands, of the first 64; the second half is at this ^ 16.
  [[nodiscard]] __device__ std::uint32_t place(const FoldedTokens& to, int token) const {
    const int row = token % tokens_per_tile;
    return to.values + first_ * k64_bytes + token * 128 + ((2 * quarter_) ^ row) * 16;
  }

 private:
  int quarter_;
  int first_;
  int last_;
  int existing_;
  int token_;
  int token_step_;
};

/// Starts to bring the codes of a round to shared memory; widen_tokens must follow.
///
/// Coherent loads: the preceding kernel may have written A while this one was already running.
/// \param row_of  (token) the row of A, or -1 for none: what stands in its place is multiplied and never stored
template <int Tiles, class RowOf>
__device__ __forceinline__ void copy_token_codes(const WarpgroupGemmArguments& x, const FoldedTokens& to,
                                                 const FoldedStaging<Tiles>& staging, const RowOf& row_of) {
  constexpr int distance = SwizzledMatrix<Tiles>::k64_bytes;
  constexpr int at_once = 8;
  const TokensArguments& a = x.gemm.a;
  const bool aligned =
      (reinterpret_cast<std::uintptr_t>(a.values) | static_cast<std::uintptr_t>(a.value_stride)) % 16 == 0;
  staging.each_token([&](int token) {
    const Index row = row_of(token);
    if (row < 0) return;
    const std::uint8_t* from = a.values + row * a.value_stride +
                               to.groups.first * (blocks_per_group * static_cast<int>(MxBlock::k)) +
                               staging.first() * 64 + staging.quarter() * 16;
    std::uint32_t at = staging.place(to, token);
    int left = staging.existing() - staging.first();
    if (aligned) {
#pragma unroll 1
      for (; left > 0; left -= at_once, from += at_once * 64, at += at_once * distance) {
        if (0 < left) copy_async<0, 0>(at, from);
        if (1 < left) copy_async<distance, 64>(at, from);
        if (2 < left) copy_async<2 * distance, 2 * 64>(at, from);
        if (3 < left) copy_async<3 * distance, 3 * 64>(at, from);
        if (4 < left) copy_async<4 * distance, 4 * 64>(at, from);
        if (5 < left) copy_async<5 * distance, 5 * 64>(at, from);
        if (6 < left) copy_async<6 * distance, 6 * 64>(at, from);
        if (7 < left) copy_async<7 * distance, 7 * 64>(at, from);
      }
    } else {
#pragma unroll 1
      for (; left > 0; --left, from += 64, at += distance) {
#pragma unroll 1
        for (int j = 0; j < 16; ++j) store_shared(at + j, from[j]);
      }
    }
  });
}

/// The lanes that share a token's scale codes of a round, and their places.
template <int Tiles>
struct TokenScales {
  static constexpr int tokens = Tiles * tokens_per_tile;
  static constexpr int group_distance = round_lanes * tokens * 4;  ///< from one of a lane's groups to the next
  std::uint32_t steps;                                             ///< address of this lane's first for token 0
  int lane;
  int groups;
  int first_token;
  int token_step;

  __device__ TokenScales(const FoldedTokens& to, const Team& team)
      : lane(team.thread % round_lanes),
        groups(to.groups.last - to.groups.first),
        first_token(team.thread / round_lanes),
        token_step(team.threads / round_lanes) {
    steps = to.steps + lane * tokens * 4;
  }
  [[nodiscard]] __device__ bool has(int i) const { return lane + i * round_lanes < groups; }
};

/// Starts to bring the tokens' scale codes to where their steps will stand; find_token_bases must follow.
template <int Tiles, class RowOf>
__device__ __forceinline__ void copy_token_scales(const WarpgroupGemmArguments& x, const FoldedTokens& to,
                                                  const Team& team, const RowOf& row_of) {
  using Scales = TokenScales<Tiles>;
  const TokensArguments& a = x.gemm.a;
  const Scales scales(to, team);
  const int first_block = to.groups.first * blocks_per_group;
  const int blocks = static_cast<int>(x.gemm.b.k / MxBlock::k) - first_block;  // from there on
  const bool words =
      blocks >= scales.groups * blocks_per_group &&
      (reinterpret_cast<std::uintptr_t>(a.scales) | static_cast<std::uintptr_t>(a.scale_stride)) % 4 == 0;
#pragma unroll 1
  for (int token = scales.first_token; token < Scales::tokens; token += scales.token_step) {
    const Index row = row_of(token);
    if (row < 0) break;
    const std::uint8_t* const from = a.scales + row * a.scale_stride + first_block + scales.lane * blocks_per_group;
    const std::uint32_t at = scales.steps + token * 4;
    if (words) {
      constexpr int distance = Scales::group_distance;
      static_assert(groups_a_lane == 4);
      if (scales.has(0)) copy_async_word<0, 0>(at, from);
      if (scales.has(1)) copy_async_word<distance, 16>(at, from);
      if (scales.has(2)) copy_async_word<2 * distance, 2 * 16>(at, from);
      if (scales.has(3)) copy_async_word<3 * distance, 3 * 16>(at, from);
    } else {
#pragma unroll 1
      for (int i = 0; scales.has(i); ++i) {
        const int block = i * round_lanes * blocks_per_group;
        std::uint32_t codes = 0;
#pragma unroll 1
        for (int j = 0; j < blocks_per_group; ++j) {
          const bool exists = scales.lane * blocks_per_group + block + j < blocks;
          codes |= std::uint32_t{from[block + (exists ? j : 0)]} << 8 * j;
        }
        store_shared(at + i * Scales::group_distance, codes);
      }
    }
  }
}

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

/// Waits for this thread's copies, and finds each token's base, the largest of its scale codes in a round, and the
/// steps of its blocks to it. Returns whether the bases that this thread has seen allow folding at all.
template <int Tiles, class RowOf>
__device__ __forceinline__ bool find_token_bases(const FoldedTokens& to, const Team& team, const RowOf& row_of) {
  using Scales = TokenScales<Tiles>;
  const Scales scales(to, team);
  const std::uint32_t mask = 0xFU << (team.thread % warp_lanes / round_lanes * round_lanes);
  bool foldable = true;
  wait_for_copies();
#pragma unroll 1
  for (int token = scales.first_token; token < Scales::tokens; token += scales.token_step) {
    if (row_of(token) < 0) break;
    const std::uint32_t at = scales.steps + token * 4;
    std::uint32_t codes[groups_a_lane];
    CodeRange range;
#pragma unroll
    for (int i = 0; i < groups_a_lane; ++i) {
      if (!scales.has(i)) break;
      codes[i] = load_shared_word(at + i * Scales::group_distance);
      range.add(codes[i]);
    }
    range.join_lanes(mask);
    const std::uint32_t base = range.largest();
    const std::uint32_t to_steps = each_byte * step_of(0, base);
#pragma unroll
    for (int i = 0; i < groups_a_lane; ++i) {
      // Byte by byte: a block out of reach must not borrow from the next.
      if (scales.has(i)) store_shared(at + i * Scales::group_distance, __vadd4(codes[i], to_steps));
    }
    if (scales.lane == 0) store_shared(to.bases + token * 4, base);
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

/// Turns this thread's codes of a round, which have come, to f16: times the power that their block's step says, or as
/// they are. A barrier of the team must have come between find_token_bases and this one, and must follow.
/// Returns whether this is exact for all that this thread has widened.
template <int Tiles, bool Folded, class RowOf>
__device__ __forceinline__ bool widen_tokens(const FoldedTokens& to, const FoldedStaging<Tiles>& staging,
                                             const RowOf& row_of) {
  constexpr int distance = SwizzledMatrix<Tiles>::k64_bytes;
  constexpr int tokens = Tiles * tokens_per_tile;
  constexpr std::uint32_t magnitudes = 0x7F7F7F7FU;
  constexpr std::uint32_t one = 0x3C003C00U;
  bool exact = true;
  staging.each_token([&](int token) {
    if (row_of(token) < 0) return;
    std::uint32_t at = staging.place(to, token);
    const std::uint32_t steps = to.steps + token * 4 + staging.quarter() / 2;
    int k64 = staging.first();
#pragma unroll 2
    for (; k64 < staging.existing(); ++k64, at += distance) {
      const uint4 codes = load_shared_16(at);
      std::uint32_t power = one;
      if constexpr (Folded) {
        std::uint32_t step = load_shared_byte(steps + k64 / 2 * (tokens * 4) + k64 % 2 * 2);
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
      store_shared(at ^ 16,
                   make_uint4(times(a.high, power), times(b.high, power), times(c.high, power), times(d.high, power)));
    }
#pragma unroll 1
    for (; k64 < staging.last(); ++k64, at += distance) {
      store_shared(at, make_uint4(0, 0, 0, 0));
      store_shared(at ^ 16, make_uint4(0, 0, 0, 0));
    }
  });
  publish_to_matrix_unit();
  return exact;
}

}  // namespace millet::hopper
