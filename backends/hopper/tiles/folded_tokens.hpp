// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/tiles/cluster_rows.hpp"
#include "millet/backends/hopper/tiles/folded_scales.hpp"
#include "millet/backends/hopper/tiles/launch.hpp"
#include "millet/backends/hopper/tiles/warpgroup_product.hpp"

// The tokens of a team, in shared memory as the f16 matrix unit wants them. Device code only.
//
// The copy engine brings codes as boxes of all tokens by a group of k, to the second half of the place that their f16
// values will have. Those whose values belong in the first half are widened there, the others by way of registers, when
// all have been read.

namespace millet::hopper {

/// Shared memory that the values of one token take for one group, in bytes: f16.
inline constexpr int folded_value_bytes = blocks_per_group * 64;
inline constexpr int group_k = blocks_per_group * static_cast<int>(MxBlock::k);
/// Shared memory for the tokens of a team: values, a word of steps for each group, and a base.
[[nodiscard]] __host__ __device__ constexpr int folded_token_bytes(int tokens, int groups) {
  return tokens * (groups * (folded_value_bytes + 4) + 4);
}

/// The tokens of a round of groups.
struct FoldedTokens {
  std::uint32_t values;  ///< address of a SwizzledMatrix: its first 8 of 16 k are k = 4 i and 4 i + 1 of each word,
                         ///< since a lane of the left operand has its four codes of a word in two columns of each half
  std::uint32_t codes;   ///< of [group][token][128], in the 128-byte swizzle: the second half of the values' place
  std::uint32_t steps;   ///< of [group][token]: the steps (folded_scales.hpp) of four blocks, a byte each
  std::uint32_t bases;   ///< of [token]: its largest code in this round
  GroupRange groups;
};

/// Lanes that look at a row's scale codes of a round together, a group at a time each, and how many groups a lane gets.
inline constexpr int round_lanes = 4;
inline constexpr int groups_a_lane = folded_max_round / round_lanes;

/// Starts to bring the codes of a round to shared memory. One thread calls it; each barrier completes a phase when its
/// half of the groups, the first one rounded up, is there. \param matrix  A as copy_box takes it
template <int Tiles>
__device__ __forceinline__ void copy_token_codes(const void* matrix, const FoldedTokens& to, std::uint32_t barriers) {
  constexpr int box_bytes = Tiles * tokens_per_tile * group_k;
  const int groups = to.groups.last - to.groups.first;
  const int first_half = (groups + 1) / 2;
  expect_bytes(barriers, first_half * box_bytes);
  expect_bytes(barriers + 8, (groups - first_half) * box_bytes);
#pragma unroll 1
  for (int i = 0; i < groups; ++i) {
    copy_box(to.codes + i * box_bytes, matrix, (to.groups.first + i) * group_k, 0, barriers + (i < first_half ? 0 : 8));
  }
}

/// What one thread widens of a round: of one token each step-th 64 k. A warp takes eight tokens of a tile, so that it
/// reads and writes all banks.
template <int Tiles>
struct StagingColumn {
  int token;
  int first;  ///< of 64 k
  int step;

  __device__ StagingColumn()
      : token(static_cast<int>(threadIdx.x) / tokens_per_tile % Tiles * tokens_per_tile +
              static_cast<int>(threadIdx.x) % tokens_per_tile),
        first(static_cast<int>(threadIdx.x) / (tokens_per_tile * Tiles)),
        step(static_cast<int>(blockDim.x) / (tokens_per_tile * Tiles)) {}
};

/// Columns of 64 k in the second half of a round that a thread has at most (folded_plan): their codes take up to 32
/// registers.
template <int Tiles>
inline constexpr int late_columns = Tiles >= 4 ? 2 : 1;

struct Codes64 {
  uint4 quarters[4];
};

/// Reads 64 codes of a token.
template <int Tiles>
__device__ __forceinline__ Codes64 load_column(const FoldedTokens& from, int token, int column) {
  const std::uint32_t at = from.codes + column / 2 * (Tiles * tokens_per_tile * group_k) + token * group_k +
                           ((column % 2 * 4) ^ token % tokens_per_tile) * 16;
  Codes64 codes;
#pragma unroll
  for (int i = 0; i < 4; ++i) codes.quarters[i] = load_shared_16(at ^ i * 16);
  return codes;
}

/// A token's scale codes of a round, shared out over the four lanes of the token: loads that may still be under way.
struct TokenScales {
  std::uint32_t groups[groups_a_lane];
};

template <int Tiles>
__device__ __forceinline__ TokenScales load_token_scales(const WarpgroupGemmArguments& x, GroupRange round) {
  const TokensArguments& a = x.gemm.a;
  const int token = threadIdx.x / round_lanes;
  const int lane = threadIdx.x % round_lanes;
  const int blocks = static_cast<int>(x.gemm.b.k / MxBlock::k);
  const bool words =
      (reinterpret_cast<std::uintptr_t>(a.scales) | static_cast<std::uintptr_t>(a.scale_stride)) % 4 == 0;
  TokenScales scales{};
  if (token >= static_cast<int>(x.gemm.m)) return scales;  // zeros fold
  const std::uint8_t* const from = a.scales + token * a.scale_stride;
#pragma unroll
  for (int i = 0; i < groups_a_lane; ++i) {
    const int group = round.first + lane + i * round_lanes;
    if (group >= round.last) break;
    const int first = group * blocks_per_group;
    if (words && first + blocks_per_group <= blocks) {
      scales.groups[i] = __ldcg(reinterpret_cast<const unsigned int*>(from + first));
    } else {
#pragma unroll 1
      for (int j = 0; j < blocks_per_group; ++j) {
        scales.groups[i] |= std::uint32_t{from[first + j < blocks ? first + j : first]} << 8 * j;
      }
    }
  }
  return scales;
}

/// The largest and smallest of many codes, which it takes as pairs of 16 bits: the machine compares these at once.
class CodeRange {
 public:
  __device__ __forceinline__ void add(std::uint32_t four_codes) {
    constexpr std::uint32_t even = 0x00FF00FFU;
    add_pairs(four_codes & even, four_codes & even);
    add_pairs(four_codes >> 8 & even, four_codes >> 8 & even);
  }
  /// Joins the ranges of round_lanes lanes that stand together. The whole warp calls it.
  __device__ __forceinline__ void join_lanes() {
#pragma unroll
    for (int other = 1; other < round_lanes; other *= 2) {
      add_pairs(__shfl_xor_sync(0xFFFFFFFFU, largest_, other), __shfl_xor_sync(0xFFFFFFFFU, smallest_, other));
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

/// Finds each token's base, the largest of its scale codes in a round, and the steps of its blocks to it. Returns
/// whether the base that this thread has seen allows folding at all.
template <int Tiles>
__device__ __forceinline__ bool find_token_bases(const FoldedTokens& to, const TokenScales& scales) {
  const int token = threadIdx.x / round_lanes;
  const int lane = threadIdx.x % round_lanes;
  if (token >= Tiles * tokens_per_tile) return true;  // whole warps
  const int groups = to.groups.last - to.groups.first;
  CodeRange range;
#pragma unroll
  for (int i = 0; i < groups_a_lane; ++i) {
    if (lane + i * round_lanes >= groups) break;
    range.add(scales.groups[i]);
  }
  range.join_lanes();
  const std::uint32_t base = range.largest();
  const std::uint32_t to_steps = each_byte * step_of(0, base);
#pragma unroll
  for (int i = 0; i < groups_a_lane; ++i) {
    const int group = lane + i * round_lanes;
    if (group >= groups) break;
    // Byte by byte: a block out of reach must not borrow from the next.
    store_shared(to.steps + (group * Tiles * tokens_per_tile + token) * 4, __vadd4(scales.groups[i], to_steps));
  }
  if (lane == 0) store_shared(to.bases + token * 4, base);
  return base <= largest_base;
}

/// Byte i of four in the upper half of both f16 of a pair.
__device__ __forceinline__ std::uint32_t power_pair(std::uint32_t bytes, int i) {
  return __byte_perm(bytes, 0, 0x0404 | i << 4 | i << 12);
}

/// Products of two pairs of f16; exact where the scale is a power of two and the result an f16.
__device__ __forceinline__ std::uint32_t times(std::uint32_t pair, std::uint32_t power) {
  std::uint32_t product;
  asm("mul.rn.f16x2 %0, %1, %2;\n" : "=r"(product) : "r"(pair), "r"(power));
  return product;
}

__device__ __forceinline__ bool all_zero(const uint4& a, const uint4& b) {
  constexpr std::uint32_t magnitudes = 0x7F7F7F7FU;
  return ((a.x | a.y | a.z | a.w | b.x | b.y | b.z | b.w) & magnitudes) == 0;
}

/// Writes 64 codes of a token as f16: times the power that their block's step says, or as they are. Returns whether
/// that is exact.
template <int Tiles, bool Folded>
__device__ __forceinline__ bool widen_column(const FoldedTokens& to, int token, int column, const Codes64& codes) {
  bool exact = true;
  std::uint32_t powers = 0x3C3C;
  if constexpr (Folded) {
    constexpr int tokens = Tiles * tokens_per_tile;
    std::uint32_t steps = load_shared_half(to.steps + (column / 2 * tokens + token) * 4 + column % 2 * 2);
    if ((steps & beyond_reach * 0x0101U) != 0) {  // any power will do for zeros
      if ((steps & beyond_reach) != 0) {
        exact &= all_zero(codes.quarters[0], codes.quarters[1]);
        steps &= 0xFF00U;
      }
      if ((steps & beyond_reach << 8) != 0) {
        exact &= all_zero(codes.quarters[2], codes.quarters[3]);
        steps &= 0xFFU;
      }
    }
    powers = half_power_byte(steps) + (half_power_byte(0) << 8);
  }
  const int row = token % tokens_per_tile;
  const std::uint32_t at = to.values + column * SwizzledMatrix<Tiles>::k64_bytes + token * 128 + row * 16;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t power = power_pair(powers, i / 2);
    const HalfPairs a = to_half_pairs(codes.quarters[i].x);
    const HalfPairs b = to_half_pairs(codes.quarters[i].y);
    const HalfPairs c = to_half_pairs(codes.quarters[i].z);
    const HalfPairs d = to_half_pairs(codes.quarters[i].w);
    store_shared(at ^ (2 * i * 16),
                 make_uint4(times(a.low, power), times(b.low, power), times(c.low, power), times(d.low, power)));
    store_shared(at ^ ((2 * i + 1) * 16),
                 make_uint4(times(a.high, power), times(b.high, power), times(c.high, power), times(d.high, power)));
  }
  return exact;
}

/// Writes this thread's codes of a round as f16, folded, as soon as they come. A barrier must have come between
/// find_token_bases and this one, and must follow. Returns whether this is exact for all of them.
/// \param barriers, phase  of copy_token_codes
template <int Tiles>
__device__ __forceinline__ bool fold_tokens(const FoldedTokens& to, std::uint32_t barriers, std::uint32_t phase) {
  const StagingColumn<Tiles> at;
  const int half = to.groups.last - to.groups.first;  // columns whose values do not take the place of codes
  bool exact = true;
  wait_for_phase(barriers, phase);
  int column = at.first;
#pragma unroll 1
  for (; column < half; column += at.step) {
    exact &= widen_column<Tiles, true>(to, at.token, column, load_column<Tiles>(to, at.token, column));
  }
  wait_for_phase(barriers + 8, phase);
  Codes64 late[late_columns<Tiles>];
#pragma unroll
  for (int i = 0; i < late_columns<Tiles>; ++i) {
    if (column + i * at.step < 2 * half) late[i] = load_column<Tiles>(to, at.token, column + i * at.step);
  }
  __syncthreads();  // all have read
#pragma unroll
  for (int i = 0; i < late_columns<Tiles>; ++i) {
    if (column + i * at.step < 2 * half) {
      exact &= widen_column<Tiles, true>(to, at.token, column + i * at.step, late[i]);
    }
  }
  publish_to_matrix_unit();
  return exact;
}

/// The same from memory, folded or not: for tokens that are not aligned, or cannot be folded.
template <int Tiles, bool Folded>
__device__ __forceinline__ bool widen_from_memory(const WarpgroupGemmArguments& x, const FoldedTokens& to) {
  const TokensArguments& a = x.gemm.a;
  const StagingColumn<Tiles> at;
  const int columns = (to.groups.last - to.groups.first) * 2;
  const int existing = static_cast<int>(x.gemm.b.k) - to.groups.first * group_k;
  bool exact = true;
  if (at.token < static_cast<int>(x.gemm.m)) {
    const std::uint8_t* const from = a.values + at.token * a.value_stride + to.groups.first * group_k;
#pragma unroll 1
    for (int column = at.first; column < columns; column += at.step) {
      // By way of the place that they will have.
      const std::uint32_t place = to.values + column * SwizzledMatrix<Tiles>::k64_bytes + at.token * 128;
#pragma unroll 1
      for (int k = 0; k < 64; ++k) {
        store_shared(place + k, column * 64 + k < existing ? from[column * 64 + k] : std::uint8_t{0});
      }
      Codes64 codes;
#pragma unroll
      for (int i = 0; i < 4; ++i) codes.quarters[i] = load_shared_16(place + i * 16);
      exact &= widen_column<Tiles, Folded>(to, at.token, column, codes);
    }
  }
  publish_to_matrix_unit();
  return exact;
}

}  // namespace millet::hopper
