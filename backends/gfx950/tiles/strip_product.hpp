// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "millet/backends/gfx950/instructions.hpp"
#include "millet/backends/gfx950/tiles/arguments.hpp"
#include "millet/backends/gfx950/tiles/token_steps.hpp"
#include "millet/backends/gfx950/tiles/weight_strips.hpp"
#include "millet/numeric/bf16.hpp"
#include "millet/quantize/quantize_block.hpp"

// What the dense and the grouped kernel share: a wave's strip of 16 weight rows times up to 64 tokens over a share of
// k.

namespace millet::gfx950 {

/// Calls f(std::integral_constant<int, 0>) .. f(std::integral_constant<int, Count - 1>): loops whose index an
/// instruction needs as a constant.
template <int Count, class F>
MILLET_GPU void for_each_index(F&& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) { (f(std::integral_constant<int, I>{}), ...); }
  (std::make_integer_sequence<int, Count>{});
}

/// A lane's 32 bytes of an operand.
MILLET_GPU Vec8u operand(Vec4u first_run, Vec4u second_run) {
  return __builtin_shufflevector(first_run, second_run, 0, 1, 2, 3, 4, 5, 6, 7);
}

/// `offset` where position < end, else one that no buffer reaches. By the sign of a difference instead of a comparison:
/// lane masks for every load would not fit the scalar registers.
MILLET_GPU std::uint32_t offset_below(std::uint32_t offset, std::int32_t position, std::int32_t end) {
  return offset | (static_cast<std::uint32_t>(end - 1 - position) & out_of_buffer);
}

/// One strip of B as its wave reads it: fragment order, or the rows of a checkpoint.
template <bool RowMajor>
struct StripBuffers;

template <>
struct StripBuffers<false> {
  Buffer values;
  Buffer scales;

  MILLET_GPU StripBuffers(const WeightsArguments& b, std::uint32_t expert, std::uint32_t strip) {
    const std::uint32_t value_bytes = b.steps * strip_step_bytes;
    const std::uint32_t scale_bytes = (b.steps + 3) / steps_per_scale_dword * strip_scale_bytes;
    values = make_buffer(b.values + expert * b.expert_value_stride + Index{strip} * value_bytes, value_bytes);
    scales = make_buffer(b.scales + expert * b.expert_scale_stride + Index{strip} * scale_bytes, scale_bytes);
  }

  /// The scales of a wave's steps: in step s, byte `selected(s)` of word(s).
  template <int Steps>
  struct Scales {
    // A wave's first step is a multiple of Steps, so that this many dwords always cover its steps ...
    static constexpr int alignment = Steps % 4 == 0 ? 4 : Steps % 2 == 0 ? 2 : 1;
    static constexpr int words = (4 - alignment + Steps + 3) / 4;
    std::uint32_t loaded[words + 1];
    std::uint32_t first_byte;  ///< 0 .. 3, the same for all lanes

    // ... which start at byte 0 after a shift.
    MILLET_GPU std::uint32_t word(int step) const {
      return alignment == 4 ? loaded[step / 4] : align_bytes(loaded[step / 4 + 1], loaded[step / 4], first_byte);
    }
    static constexpr int selected(int step) { return step % 4; }

    /// Keeps the compiler from shifting, and so from waiting for the weights, before all loads are issued.
    MILLET_GPU void settle() { first_byte = not_hoisted(first_byte); }
  };

  /// All that the wave multiplies in `Steps` steps from `first_step`: 16-byte loads, 1 KB a wave. What lies beyond k is
  /// zero: padding of the layout, or the end of the buffer.
  template <int Steps, bool Tail>
  MILLET_GPU void load(std::uint32_t first_step, Vec8u (&weights)[Steps], Scales<Steps>& to) const {
    const auto lane = static_cast<std::uint32_t>(lane_id());
    const std::uint32_t first = first_step * strip_step_bytes + lane * 16;
    for_each_index<Steps>([&](auto step) {
      const std::uint32_t at = first + step * strip_step_bytes;
      weights[step] =
          operand(load_b128<Cache::streaming>(values, at), load_b128<Cache::streaming>(values, at + wave_lanes * 16));
    });
    const std::uint32_t word = first_step / steps_per_scale_dword;
    for_each_index<Scales<Steps>::words>(
        [&](auto i) { to.loaded[i] = load_b32(scales, (word + i) * strip_scale_bytes + lane * 4); });
    to.loaded[Scales<Steps>::words] = 0;
    to.first_byte = first_step % 4;
  }
};

template <>
struct StripBuffers<true> {
  Buffer values;
  Buffer scales;
  std::uint32_t value_offset;  ///< of this lane's first run in step 0
  std::uint32_t scale_offset;
  std::uint32_t k;

  MILLET_GPU StripBuffers(const WeightsArguments& b, std::uint32_t expert, std::uint32_t strip) : k(b.k) {
    const std::uint32_t first_row = strip * mfma_rows;
    const std::uint32_t rows = b.n - first_row < mfma_rows ? b.n - first_row : mfma_rows;  // beyond n: zero
    const std::uint32_t blocks = k / MxBlock::k;
    values = make_buffer(b.values + expert * b.expert_value_stride + Index{first_row} * k, rows * k);
    scales = make_buffer(b.scales + expert * b.expert_scale_stride + Index{first_row} * blocks, rows * blocks);
    const auto row = static_cast<std::uint32_t>(mfma_row(lane_id()));
    const auto group = static_cast<std::uint32_t>(mfma_group(lane_id()));
    value_offset = row * k + group * 16;
    scale_offset = row * blocks + group;
  }

  template <int Steps>
  struct Scales {
    std::uint32_t loaded[Steps];
    MILLET_GPU std::uint32_t word(int step) const { return loaded[step]; }
    static constexpr int selected(int) { return 0; }
    MILLET_GPU void settle() {}
  };

  /// As above; scales come a byte a lane, since a checkpoint's rows of scales need not be aligned.
  template <int Steps, bool Tail>
  MILLET_GPU void load(std::uint32_t first_step, Vec8u (&weights)[Steps], Scales<Steps>& to) const {
    const auto k_left = static_cast<std::int32_t>(k - first_step * mfma_k);
    const std::int32_t runs_end = k_left - mfma_group(lane_id()) * 16;
    const std::int32_t scales_end = k_left - mfma_group(lane_id()) * static_cast<std::int32_t>(MxBlock::k);
    for_each_index<Steps>([&](auto step) {
      const std::uint32_t at = value_offset + (first_step + step) * mfma_k;
      const auto run = [&](int in_step) {
        // Where the row has ended the next one begins, which must not be multiplied.
        const std::uint32_t offset = at + static_cast<std::uint32_t>(in_step);
        return load_b128<Cache::streaming>(values,
                                           Tail ? offset_below(offset, step * mfma_k + in_step, runs_end) : offset);
      };
      weights[step] = operand(run(0), run(mfma_run_distance));
    });
    for_each_index<Steps>([&](auto step) {
      const std::uint32_t at = scale_offset + (first_step + step) * mfma_blocks;
      to.loaded[step] = load_u8(scales, Tail ? offset_below(at, step * mfma_k, scales_end) : at);
    });
  }
};

/// What a lane needs to multiply a tile's tokens in one step: its operand, and its scale in byte 0.
struct TokenOperand {
  Vec8u codes;
  std::uint32_t scale;
};

/// Up to 16 Tiles rows of A in e4m3 and e8m0, as a lane reads them.
template <int Tiles, bool Bf16>
struct TokenRows {
  using Loaded = TokenOperand;

  Buffer values;
  Buffer scales;
  std::uint32_t k;
  std::uint32_t value_offset[Tiles];  ///< of this lane's first run in step 0
  std::uint32_t scale_offset[Tiles];

  /// Made anew where it stands, behind the loads of weights, even in a loop.
  /// \param row_of  from token (0 .. 16 Tiles - 1) to row of A, or -1 where there is none: such tokens read as zero
  template <class RowOf>
  MILLET_GPU TokenRows(const TokensArguments& a, std::uint32_t k_, const RowOf& row_of) : k(k_) {
    values = make_buffer(not_hoisted(a.values), a.value_bytes);
    scales = make_buffer(not_hoisted(a.scales), a.scale_bytes);
    const int lane = lanes_not_hoisted(lane_id());
    const auto group = static_cast<std::uint32_t>(mfma_group(lane));
    for_each_index<Tiles>([&](auto tile) {
      const std::int32_t row = row_of(tile * mfma_rows + mfma_row(lane));
      const auto valid_row = static_cast<std::uint32_t>(row);
      value_offset[tile] = row < 0 ? out_of_buffer : valid_row * a.value_stride + group * 16;
      scale_offset[tile] = row < 0 ? out_of_buffer : valid_row * a.scale_stride + group;
    });
  }

  /// Loads the tiles' tokens of `Count` steps from step first_step + from.
  template <bool Tail, int Count>
  MILLET_GPU void load(std::uint32_t first_step, int from, Loaded (&to)[Count][Tiles]) const {
    const auto k_left = static_cast<std::int32_t>(k - first_step * mfma_k);
    const std::int32_t runs_end = k_left - mfma_group(lane_id()) * 16;
    const std::int32_t scales_end = k_left - mfma_group(lane_id()) * static_cast<std::int32_t>(MxBlock::k);
    // Scales first: then a step's multiplication waits for no load of a later step.
    for_each_index<Count>([&](auto i) {
      const int step = from + i;
      for_each_index<Tiles>([&](auto tile) {
        const std::uint32_t at = scale_offset[tile] + (first_step + static_cast<std::uint32_t>(step)) * mfma_blocks;
        to[i][tile].scale = load_u8(scales, Tail ? offset_below(at, step * mfma_k, scales_end) : at);
      });
    });
    for_each_index<Count>([&](auto i) {
      const int in_share = (from + i) * mfma_k;
      for_each_index<Tiles>([&](auto tile) {
        const std::uint32_t at = value_offset[tile] + first_step * mfma_k + static_cast<std::uint32_t>(in_share);
        const auto run = [&](int in_step) {
          const std::uint32_t offset = at + static_cast<std::uint32_t>(in_step);
          return load_b128(values, Tail ? offset_below(offset, in_share + in_step, runs_end) : offset);
        };
        to[i][tile].codes = operand(run(0), run(mfma_run_distance));
      });
    });
  }

  static MILLET_GPU TokenOperand ready(const Loaded& loaded) { return loaded; }
};

/// The largest magnitude of a run of 16 bf16 values, as the bits of an f32; NaN is above infinity, that above the rest.
MILLET_GPU std::uint32_t largest_magnitude(Vec4u first_half, Vec4u second_half) {
  std::uint32_t even = 0;  // in the upper half of the dword
  std::uint32_t odd = 0;
  for_each_index<8>([&](auto i) {
    const std::uint32_t two = i < 4 ? +first_half[i % 4] : +second_half[i % 4];
    const std::uint32_t high = two & 0x7FFF0000U;
    const std::uint32_t low = two << 16 & 0x7FFF0000U;
    odd = high > odd ? high : odd;
    even = low > even ? low : even;
  });
  return even > odd ? even : odd;
}

/// Four e4m3 codes in a dword, of four bf16 values times 2^exponent, which stay within +-448.
MILLET_GPU std::uint32_t quantized(std::uint32_t first_two, std::uint32_t second_two, int exponent) {
  const auto scaled = [exponent](std::uint32_t bits) { return ldexp_f32(__builtin_bit_cast(float, bits), exponent); };
  return convert_e4m3(scaled(first_two << 16), scaled(first_two & 0xFFFF0000U), scaled(second_two << 16),
                      scaled(second_two & 0xFFFF0000U));
}
MILLET_GPU Vec4u quantized_run(Vec4u first_half, Vec4u second_half, E8M0 scale) {
  const int exponent = -scale.exponent();
  return Vec4u{quantized(+first_half[0], +first_half[1], exponent), quantized(+first_half[2], +first_half[3], exponent),
               quantized(+second_half[0], +second_half[1], exponent),
               quantized(+second_half[2], +second_half[3], exponent)};
}

/// The scale of the block of 32 k of which this lane and the one 16 lanes on or back have a run each: RCEIL, the
/// framework's default; 255 where a value is not finite.
MILLET_GPU E8M0 scale_of_block(Vec4u first_half, Vec4u second_half) {
  const std::uint32_t mine = largest_magnitude(first_half, second_half);
  const std::uint32_t others = shuffle(mine, lane_id() ^ mfma_rows);
  const std::uint32_t amax = mine > others ? mine : others;
  // Without the early return for NaN and infinity, which lanes would have to branch for.
  constexpr std::uint32_t largest_finite = 0x7F7FFFFFU;
  const E8M0 finite = scale_for_amax(amax < largest_finite ? amax : largest_finite, ScaleMode::rceil);
  return amax > largest_finite ? E8M0{E8M0::nan_bits} : finite;
}

/// Rows of A in bf16, quantized by the wave that multiplies them. The scale that a lane supplies is of another block
/// than its runs, and comes from the lane that has it.
template <int Tiles>
struct TokenRows<Tiles, true> {
  struct Loaded {
    Vec4u halves[4];  ///< both halves of run 0, then of run 1
  };

  Buffer values;
  std::uint32_t k;
  std::uint32_t value_offset[Tiles];  ///< in bytes

  template <class RowOf>
  MILLET_GPU TokenRows(const TokensArguments& a, std::uint32_t k_, const RowOf& row_of) : k(k_) {
    values = make_buffer(not_hoisted(a.values), a.value_bytes);
    const int lane = lanes_not_hoisted(lane_id());
    const auto group = static_cast<std::uint32_t>(mfma_group(lane));
    for_each_index<Tiles>([&](auto tile) {
      const std::int32_t row = row_of(tile * mfma_rows + mfma_row(lane));
      value_offset[tile] = row < 0 ? out_of_buffer : static_cast<std::uint32_t>(row) * a.value_stride + group * 32;
    });
  }

  template <bool Tail, int Count>
  MILLET_GPU void load(std::uint32_t first_step, int from, Loaded (&to)[Count][Tiles]) const {
    const std::int32_t runs_end = static_cast<std::int32_t>(k - first_step * mfma_k) - mfma_group(lane_id()) * 16;
    for_each_index<Count>([&](auto i) {
      const int in_share = (from + i) * mfma_k;
      for_each_index<Tiles>([&](auto tile) {
        const std::uint32_t at = value_offset[tile] + 2 * (first_step * mfma_k + static_cast<std::uint32_t>(in_share));
        for_each_index<4>([&](auto half) {
          constexpr int in_step = half / 2 * mfma_run_distance;
          const std::uint32_t offset = at + 2 * in_step + half % 2 * 16;
          to[i][tile].halves[half] =
              load_b128(values, Tail ? offset_below(offset, in_share + in_step, runs_end) : offset);
        });
      });
    });
  }

  static MILLET_GPU TokenOperand ready(const Loaded& x) {
    E8M0 scale[2];
    for_each_index<2>([&](auto run) { scale[run] = scale_of_block(x.halves[2 * run], x.halves[2 * run + 1]); });
    // A NaN or an infinity makes the scale 255, and the product NaN whatever the codes are.
    const Vec8u codes =
        operand(quantized_run(x.halves[0], x.halves[1], scale[0]), quantized_run(x.halves[2], x.halves[3], scale[1]));
    // Blocks 0 and 1 are run 0 of groups 0 and 2, blocks 2 and 3 are run 1 of the same.
    const int block = mfma_scale_block(lane_id());
    const std::uint32_t both = scale[0].bits | static_cast<std::uint32_t>(scale[1].bits) << 8;
    const std::uint32_t supplied = shuffle(both, block % 2 * 2 * mfma_rows + mfma_row(lane_id()));
    return {codes, block < 2 ? supplied : supplied >> 8};
  }
};

/// Adds the products of `Steps` steps from `first_step`, which is below the steps of k. \tparam Tail  k may end within
/// these steps. Every weight load of the wave is issued before its first multiplication, and before anything is
/// computed about tokens. \param tokens_of  makes the TokenRows
template <int Steps, bool Tail, bool Bf16, int Tiles, bool RowMajor, class TokensOf>
MILLET_GPU void multiply_steps(const StripBuffers<RowMajor>& b, const TokensOf& tokens_of, std::uint32_t first_step,
                               Vec4f (&sums)[Tiles]) {
  constexpr int held = token_steps(Tiles, Steps, Bf16);
  Vec8u weights[Steps];
  typename StripBuffers<RowMajor>::template Scales<Steps> weight_scales;
  b.template load<Steps, Tail>(first_step, weights, weight_scales);
  schedule_fence();
  const TokenRows<Tiles, Bf16> a = tokens_of();
  for_each_index<(Steps + held - 1) / held>([&](auto round) {
    constexpr int from = round * held;
    constexpr int count = Steps - from < held ? Steps - from : held;
    typename TokenRows<Tiles, Bf16>::Loaded tokens[count][Tiles];
    a.template load<Tail>(first_step, from, tokens);
    schedule_fence();
    if constexpr (from == 0) weight_scales.settle();
    for_each_index<count>([&](auto step) {
      for_each_index<Tiles>([&](auto tile) {
        constexpr int byte = StripBuffers<RowMajor>::template Scales<Steps>::selected(from + step);
        const TokenOperand ready = a.ready(tokens[step][tile]);
        sums[tile] = mfma_scale_16x16x128<byte, 0>(weights[from + step], weight_scales.word(from + step), ready.codes,
                                                   ready.scale, sums[tile]);
        if constexpr (Bf16) {  // or the codes of all steps would wait in registers for multiplications put off
          pin(sums[tile]);
          schedule_fence();
        }
      });
    });
    schedule_fence();
  });
}

/// Share `share` of `shares` of a strip's k, in runs of `Steps` steps: share s has runs s, s + shares, s + 2 shares,
/// ...
template <int Steps, bool Bf16, int Tiles, bool RowMajor, class TokensOf>
MILLET_GPU void multiply_share(const StripBuffers<RowMajor>& b, const TokensOf& tokens_of, const WeightsArguments& x,
                               std::uint32_t share, std::uint32_t shares, Vec4f (&sums)[Tiles]) {
  for (std::uint32_t next = share * Steps; next < x.steps; next += shares * Steps) {
    const std::uint32_t first = not_hoisted(next);
    if (first + Steps <= x.k / mfma_k) {
      multiply_steps<Steps, false, Bf16>(b, tokens_of, first, sums);
    } else {
      multiply_steps<Steps, true, Bf16>(b, tokens_of, first, sums);
    }
  }
}

/// Four neighbouring columns of C, of one token: what a lane holds of D.
struct Quad {
  std::uint32_t token;
  std::uint32_t column;  ///< of the strip, a multiple of 4
};
[[nodiscard]] MILLET_HD constexpr Quad quad_of(std::uint32_t tile, int lane) noexcept {
  return {tile * mfma_rows + static_cast<std::uint32_t>(mfma_d_column(lane)),
          static_cast<std::uint32_t>(mfma_d_row(lane, 0))};
}

/// What the waves of a work-group hold of D, summed over the k_waves waves of each strip, in their order. A quad is
/// named by (strip of the work-group * Tiles + tile) * 64 + lane.
template <int Waves, int Tiles>
struct WaveSums {
  LdsArray<Vec4f> lds;  ///< Waves * Tiles * 64
  std::uint32_t k_waves_log2;

  MILLET_GPU void write(const Vec4f (&sums)[Tiles]) const {
    for_each_index<Tiles>(
        [&](auto tile) { lds.write((wave_id() * Tiles + tile) * wave_lanes + lane_id(), sums[tile]); });
  }
  MILLET_GPU std::uint32_t quads() const { return (Waves * Tiles * wave_lanes) >> k_waves_log2; }
  MILLET_GPU Vec4f sum(std::uint32_t quad) const {
    constexpr std::uint32_t quads_a_strip = Tiles * wave_lanes;
    const std::uint32_t first_wave = quad / quads_a_strip << k_waves_log2;
    const auto from = static_cast<int>(first_wave * quads_a_strip + quad % quads_a_strip);
    Vec4f sum = lds.read(from);
    for (int i = 1; i < 1 << k_waves_log2; ++i) sum += lds.read(from + i * static_cast<int>(quads_a_strip));
    return sum;
  }
  MILLET_GPU static std::uint32_t strip(std::uint32_t quad) { return quad / (Tiles * wave_lanes); }
  MILLET_GPU static Quad in_strip(std::uint32_t quad) {
    return quad_of(quad / wave_lanes % Tiles, static_cast<int>(quad % wave_lanes));
  }
};

/// Stores columns [column, column + 4) of row `row`; those at or beyond n are left out.
MILLET_GPU void store_quad(const OutputArguments& c, std::uint32_t n, Index row, std::uint32_t column, Vec4f values) {
  const Index at = row * c.row_stride + column;
  if (c.bf16 != 0) {
    auto* const to = static_cast<BF16*>(c.values) + at;
    BF16 rounded[4];
    for (int i = 0; i < 4; ++i) rounded[i] = BF16::round(+values[i]);
    if (column + 4 <= n && reinterpret_cast<std::uintptr_t>(to) % 8 == 0) {
      const Vec2u packed = {rounded[0].bits | static_cast<std::uint32_t>(rounded[1].bits) << 16,
                            rounded[2].bits | static_cast<std::uint32_t>(rounded[3].bits) << 16};
      store(reinterpret_cast<Vec2u*>(to), packed);
      return;
    }
    for (std::uint32_t i = 0; i < 4; ++i) {
      if (column + i < n) store(to + i, rounded[i]);
    }
    return;
  }
  auto* const to = static_cast<float*>(c.values) + at;
  if (column + 4 <= n && reinterpret_cast<std::uintptr_t>(to) % 16 == 0) {
    store(reinterpret_cast<Vec4f*>(to), values);
    return;
  }
  for (std::uint32_t i = 0; i < 4; ++i) {
    if (column + i < n) store(to + i, +values[i]);
  }
}

}  // namespace millet::gfx950
