// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/tiles/folded_tokens.hpp"

// The product of a team of warpgroups by `wgmma` on f16 with scales folded in: 64 rows of B a warpgroup, up to 64
// tokens. Device code only.
//
// "Scale, then dot": weights and tokens become f16 with their block scales multiplied in, exactly (folded_scales.hpp),
// so that one f32 accumulator runs through all blocks of a round and is scaled once at its end. Where a row's or a
// token's scales differ by more than f16 has room for, a team computes that round by block dots, each scaled in f32.

namespace millet::hopper {

/// The scale codes of rows g and g + 8 of this lane's strip in a round, shared out over the four lanes of a row: loads
/// that may still be under way.
struct RowCodes {
  uint2 groups[groups_a_lane];
};

/// \param strip_scales  of the strip, as StripScales puts them
__device__ __forceinline__ RowCodes load_row_codes(const std::uint8_t* strip_scales, GroupRange round, int lane) {
  RowCodes codes;
#pragma unroll
  for (int i = 0; i < groups_a_lane; ++i) {
    const int group = round.first + lane % round_lanes + i * round_lanes;
    if (group >= round.last) break;
    codes.groups[i] =
        __ldg(reinterpret_cast<const uint2*>(strip_scales + Index{group} * group_scale_bytes + lane / 4 * 8));
  }
  return codes;
}

/// The largest of these codes, the same in all four lanes of a row.
struct RowBases {
  std::uint32_t low;
  std::uint32_t high;
  bool foldable;
};

__device__ __forceinline__ RowBases find_row_bases(const RowCodes& loaded, GroupRange round, int blocks, int lane) {
  CodeRange low;
  CodeRange high;
#pragma unroll
  for (int i = 0; i < groups_a_lane; ++i) {
    const int group = round.first + lane % round_lanes + i * round_lanes;
    if (group >= round.last) break;
    uint2 codes = loaded.groups[i];
    const int existing = blocks - group * blocks_per_group;
    if (existing < blocks_per_group) {
      codes = make_uint2(with_first_repeated(codes.x, existing), with_first_repeated(codes.y, existing));
    }
    low.add(codes.x);
    high.add(codes.y);
  }
  low.join_lanes();
  high.join_lanes();
  const std::uint32_t low_base = low.largest();
  const std::uint32_t high_base = high.largest();
  return {low_base, high_base, within_reach(low_base, low.smallest()) && within_reach(high_base, high.smallest())};
}

/// The two left operands that a block's 16 codes of this lane make (StripValues), times a power for each row.
__device__ __forceinline__ void widen_weights(uint4 codes, std::uint32_t low, std::uint32_t high,
                                              std::uint32_t (&to)[2][4]) {
  const HalfPairs a = to_half_pairs(codes.x);
  const HalfPairs b = to_half_pairs(codes.y);
  const HalfPairs c = to_half_pairs(codes.z);
  const HalfPairs d = to_half_pairs(codes.w);
  to[0][0] = times(a.low, low);
  to[0][1] = times(b.low, high);
  to[0][2] = times(a.high, low);
  to[0][3] = times(b.high, high);
  to[1][0] = times(c.low, low);
  to[1][1] = times(d.low, high);
  to[1][2] = times(c.high, low);
  to[1][3] = times(d.high, high);
}

/// A lane's part of a group: four blocks of its values, and the scale codes of its two rows.
struct GroupCodes {
  uint4 values[blocks_per_group];
  uint2 scales;
};

__device__ __forceinline__ GroupCodes load_group(std::uint32_t values, std::uint32_t scales) {
  GroupCodes codes;
  codes.scales = load_shared_8(scales);
#pragma unroll
  for (int i = 0; i < blocks_per_group; ++i) codes.values[i] = load_shared_16(values + i * 512);
  return codes;
}

/// Makes a group whole of which only the first `existing` blocks have come: zeros with the scales of the first block.
__device__ __forceinline__ void complete_group(std::uint32_t values, std::uint32_t scales, int existing) {
#pragma unroll 1
  for (int i = existing; i < blocks_per_group; ++i) store_shared(values + i * 512, make_uint4(0, 0, 0, 0));
  const uint2 codes = load_shared_8(scales);
  __syncwarp();  // the four lanes of a row have read them
  store_shared(scales, with_first_repeated(codes.x, existing));
  store_shared(scales + 4, with_first_repeated(codes.y, existing));
  __syncwarp();
}

/// Calls visit(address of this lane's values, of its two rows' scale codes, groups) for each part of a round that comes
/// from the strip's ring.
template <class Visit>
__device__ __forceinline__ void for_each_part(const WarpgroupGemmArguments& x, WeightRing& ring, GroupRange round,
                                              int lane, const Visit& visit) {
  const int stage_groups = x.plan.stage_groups;
  int existing = static_cast<int>(x.gemm.b.k / MxBlock::k) - round.first * blocks_per_group;
#pragma unroll 1
  for (int part = round.first; part < round.last; part += stage_groups) {
    const std::uint32_t stage = ring.wait();
    const std::uint32_t values = stage + lane * 16;
    const std::uint32_t scales = stage + stage_groups * group_value_bytes + lane / 4 * 8;
    const int groups = min(round.last - part, stage_groups);
    existing -= groups * blocks_per_group;
    if (existing < 0) {
      complete_group(values + (groups - 1) * group_value_bytes, scales + (groups - 1) * group_scale_bytes,
                     existing + blocks_per_group);
    }
    visit(values, scales, groups);
    ring.release(part);
  }
}

/// Blocks whose products are under way while the next are being widened.
inline constexpr int blocks_a_step = 2;

/// Adds the products of one step of a group, and leaves them under way. The whole warpgroup calls it.
/// \param low, high  the powers of this lane's two rows, a byte a block
template <int Tiles>
__device__ __forceinline__ void add_step(const GroupCodes& codes, int step, std::uint32_t low, std::uint32_t high,
                                         const SwizzledMatrix<Tiles>& matrix,
                                         std::uint32_t (&weights)[blocks_a_step][2][4], float (&sum)[Tiles][4]) {
#pragma unroll
  for (int i = 0; i < blocks_a_step; ++i) {
    const int block = step * blocks_a_step + i;
    widen_weights(codes.values[block], power_pair(low, block), power_pair(high, block), weights[i]);
  }
  fence_before_products();
#pragma unroll
  for (int i = 0; i < blocks_a_step; ++i) {
    const int block = step * blocks_a_step + i;
    wgmma_m64k16(sum, weights[i][0], matrix.block(2 * block));
    wgmma_m64k16(sum, weights[i][1], matrix.block(2 * block + 1));
  }
  commit_products();
}

/// Adds some groups, folded, and leaves the last products under way.
/// \param values, scales  addresses of this lane's values and scale codes
/// \param low, high  power_bytes_offset of the bases of its two rows
template <int Tiles>
__device__ __forceinline__ void add_folded_groups(std::uint32_t values, std::uint32_t scales, int groups,
                                                  std::uint32_t low, std::uint32_t high, SwizzledMatrix<Tiles>& matrix,
                                                  std::uint32_t (&weights)[2][blocks_a_step][2][4],
                                                  float (&sum)[Tiles][4]) {
  static_assert(blocks_per_group == 2 * blocks_a_step);
  GroupCodes codes = load_group(values, scales);
#pragma unroll 1
  do {
    const std::uint32_t low_powers = codes.scales.x * 4 + low;
    const std::uint32_t high_powers = codes.scales.y * 4 + high;
    add_step(codes, 0, low_powers, high_powers, matrix, weights[0], sum);
    wait_for_products<1>();  // so weights[1] are free
    add_step(codes, 1, low_powers, high_powers, matrix, weights[1], sum);
    // The next group's codes come while these products run. The last loads its own again: a branch takes longer.
    --groups;
    values += groups > 0 ? group_value_bytes : 0;
    scales += groups > 0 ? group_scale_bytes : 0;
    codes = load_group(values, scales);
    matrix.advance(2);
    wait_for_products<1>();
  } while (groups > 0);
}

/// Adds one group by block dots, each scaled, to sums that are not scaled any more.
/// \param tokens  of the round; their values are not folded
template <int Tiles>
__device__ __forceinline__ void add_group_by_blocks(std::uint32_t values, uint2 codes, const FoldedTokens& tokens,
                                                    int group, const SwizzledMatrix<Tiles>& matrix, int lane,
                                                    float (&total)[Tiles][4]) {
  constexpr std::uint32_t one = 0x3C003C00U;
#pragma unroll 1
  for (int i = 0; i < blocks_per_group; ++i) {
    std::uint32_t weights[2][4];
    float sum[Tiles][4] = {};
    widen_weights(load_shared_16(values + i * 512), one, one, weights);
    fence_before_products();
    wgmma_m64k16(sum, weights[0], matrix.block(2 * i));
    wgmma_m64k16(sum, weights[1], matrix.block(2 * i + 1));
    commit_products();
    wait_for_products<0>();
    after_wait(sum);
    const std::uint32_t low = codes.x >> 8 * i & 0xFFU;
    const std::uint32_t high = codes.y >> 8 * i & 0xFFU;
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int token = tile * tokens_per_tile + lane % 4 * 2 + j;
        const std::uint32_t step = load_shared_byte(tokens.steps + (group * Tiles * tokens_per_tile + token) * 4 + i);
        const std::uint32_t code = (step + load_shared_word(tokens.bases + token * 4) - fold_reach) & 0xFFU;
        total[tile][j] += scale_block_sum(sum[tile][j], low, code);
        total[tile][2 + j] += scale_block_sum(sum[tile][2 + j], high, code);
      }
    }
  }
}

/// sum * 2^(a + b - 2 fold_headroom - 254), where a and b are the bases of a row and a token, below 241.
///
/// A nonzero sum is 2^-48 at least and less than 2^60, so below -225 it is nearer to zero than to the smallest
/// subnormal, and above 180 infinite. The power is applied in halves, since it is wider than f32.
__device__ __forceinline__ float scale_row_sum(float sum, std::uint32_t a, std::uint32_t b) {
  const int power = max(-225, min(180, static_cast<int>(a + b) - 2 * fold_headroom - 254));
  const int half = power >> 1;
  return sum * __int_as_float((half + 127) << 23) * __int_as_float((power - half + 127) << 23);
}

/// Whether the product of this base's power and that of another plain one, both less the headroom, is a normal f32.
__device__ __forceinline__ bool is_plain_base(std::uint32_t base) {
  return base - (smallest_plain_scale + fold_headroom) <= largest_plain_scale - smallest_plain_scale - fold_headroom;
}

/// Adds a round's folded sums, scaled, to those of the rounds before it.
template <int Tiles>
__device__ __forceinline__ void add_folded_sums(const float (&sum)[Tiles][4], const RowBases& rows,
                                                std::uint32_t token_bases, int lane, float (&total)[Tiles][4]) {
  uint2 bases[Tiles];
  bool plain = is_plain_base(rows.low) && is_plain_base(rows.high);
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) {
    bases[tile] = load_shared_8(token_bases + (tile * tokens_per_tile + lane % 4 * 2) * 4);
    plain &= is_plain_base(bases[tile].x) && is_plain_base(bases[tile].y);
  }
  if (plain) {
    const float low = plain_power(rows.low - fold_headroom);
    const float high = plain_power(rows.high - fold_headroom);
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
      const float even = plain_power(bases[tile].x - fold_headroom);
      const float odd = plain_power(bases[tile].y - fold_headroom);
      total[tile][0] += sum[tile][0] * (low * even);
      total[tile][1] += sum[tile][1] * (low * odd);
      total[tile][2] += sum[tile][2] * (high * even);
      total[tile][3] += sum[tile][3] * (high * odd);
    }
  } else {
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
      total[tile][0] += scale_row_sum(sum[tile][0], rows.low, bases[tile].x);
      total[tile][1] += scale_row_sum(sum[tile][1], rows.low, bases[tile].y);
      total[tile][2] += scale_row_sum(sum[tile][2], rows.high, bases[tile].x);
      total[tile][3] += scale_row_sum(sum[tile][3], rows.high, bases[tile].y);
    }
  }
}

/// The sums of a round of groups. Every thread calls it, with the tokens widened as `folded` says.
template <int Tiles>
__device__ __forceinline__ void add_round(const WarpgroupGemmArguments& x, WeightRing& ring, const FoldedTokens& tokens,
                                          const RowBases& rows, bool folded, int lane, float (&total)[Tiles][4]) {
  SwizzledMatrix<Tiles> matrix(tokens.values);
#pragma unroll
  for (int i = 0; i < Tiles * 4; ++i) total[i / 4][i % 4] = 0.0F;
  if (folded) {
    const std::uint32_t low = power_bytes_offset(rows.low);
    const std::uint32_t high = power_bytes_offset(rows.high);
    std::uint32_t weights[2][blocks_a_step][2][4];
    float sum[Tiles][4] = {};
    after_wait(sum);  // else the first products get code of their own
    for_each_part(x, ring, tokens.groups, lane, [&](std::uint32_t values, std::uint32_t scales, int groups) {
      add_folded_groups<Tiles>(values, scales, groups, low, high, matrix, weights, sum);
    });
    wait_for_products<0>();
    after_wait(sum);
    add_folded_sums<Tiles>(sum, rows, tokens.bases, lane, total);
  } else {
    int group = 0;
    for_each_part(x, ring, tokens.groups, lane, [&](std::uint32_t values, std::uint32_t scales, int groups) {
#pragma unroll 1
      for (int i = 0; i < groups; ++i) {
        add_group_by_blocks<Tiles>(values + i * group_value_bytes, load_shared_8(scales + i * group_scale_bytes),
                                   tokens, group++, matrix, lane, total);
        matrix.advance(2);
      }
    });
  }
}

}  // namespace millet::hopper
