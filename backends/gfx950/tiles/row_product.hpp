// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/tiles/strip_product.hpp"

// What the dense and the grouped kernel on the vector units share: a lane's quarter of a row of B times a few tokens.

namespace millet::gfx950 {

/// Runs of 16 k of a lane in one step.
inline constexpr int gemv_runs = 2;
static_assert(gemv_runs * 16 == mfma_lane_bytes);

/// The block of 32 k in which run `run` of a lane lies.
[[nodiscard]] MILLET_HD constexpr int block_of_run(int lane, int run) noexcept {
  return mfma_k_of_byte(lane, run * 16) / static_cast<int>(MxBlock::k);
}

/// One of the two runs of an operand.
template <int Run>
MILLET_GPU Vec4u run_of(Vec8u codes) {
  return __builtin_shufflevector(codes, codes, 4 * Run, 4 * Run + 1, 4 * Run + 2, 4 * Run + 3);
}

/// What a lane multiplies of its row of B: 32 bytes a step, and the scales of the two blocks in which they lie. Those
/// are other scales than the ones that the lane supplies to a scaled MFMA.
template <int Steps, bool RowMajor>
struct RowShare {
  using Scales = typename StripBuffers<RowMajor>::template Scales<Steps>;

  Vec8u codes[Steps];
  Scales scales[gemv_runs];

  /// What lies beyond k is zero. There is no variant for steps within k: only row-major weights would gain from it.
  MILLET_GPU void load(const StripBuffers<RowMajor>& b, std::uint32_t first_step) {
    constexpr bool tail = true;
    Scales of_mfma;  // not used, so that the compiler drops its loads
    b.template load<Steps, tail>(first_step, codes, of_mfma);
    for_each_index<gemv_runs>([&](auto run) {
      const auto block = static_cast<std::uint32_t>(block_of_run(lane_id(), run));
      if constexpr (RowMajor) {
        const std::uint32_t at =
            b.scale_offset - static_cast<std::uint32_t>(mfma_group(lane_id())) + first_step * mfma_blocks + block;
        const auto blocks_left = static_cast<std::int32_t>(b.k / MxBlock::k - first_step * mfma_blocks - block);
        for_each_index<Steps>([&](auto step) {
          constexpr int in_share = step * mfma_blocks;
          scales[run].loaded[step] = load_u8(b.scales, offset_below(at + in_share, in_share, blocks_left));
        });
      } else {
        const auto row = static_cast<std::uint32_t>(mfma_row(lane_id()));
        const std::uint32_t at = first_step / steps_per_scale_dword * strip_scale_bytes + (block * mfma_rows + row) * 4;
        for_each_index<Scales::words>(
            [&](auto i) { scales[run].loaded[i] = load_b32(b.scales, at + i * strip_scale_bytes); });
        scales[run].loaded[Scales::words] = 0;
        scales[run].first_byte = first_step % steps_per_scale_dword;
      }
    });
  }

  /// The 16 codes of a run.
  template <class Run>
  MILLET_GPU Vec4u run(int step, Run) const {
    return run_of<Run::value>(codes[step]);
  }
  /// The biased exponent of its scale, 255 being NaN.
  MILLET_GPU std::uint32_t scale(int step, int run) const {
    return scales[run].word(step) >> 8 * Scales::selected(step) & 0xFFU;
  }
};

/// `Tokens` rows of A as a lane reads them: the k of its runs, the same for all rows of B. Each row is a buffer of its
/// own, which ends where k does: what lies beyond is zero.
template <int Tokens, bool Bf16>
struct TokenVectors {
  template <int Count>
  struct Loaded {
    Vec8u codes[Count][Tokens];
    std::uint32_t scales[Count][Tokens][gemv_runs];
  };
  /// What ready() makes of it.
  template <int Count>
  struct Ready {
    const Loaded<Count>& tokens;
    /// The 16 codes of a run. Parameters are constants of for_each_index, here and below.
    template <class Step, class Token, class Run>
    MILLET_GPU Vec4u codes(Step step, Token token, Run) const {
      return run_of<Run::value>(tokens.codes[step][token]);
    }
    /// The biased exponent of its scale.
    template <class Step, class Token, class Run>
    MILLET_GPU std::uint32_t scale(Step step, Token token, Run run) const {
      return tokens.scales[step][token][run];
    }
  };

  Buffer values[Tokens];
  Buffer scales[Tokens];

  /// \param row_of  from token (0 .. Tokens - 1) to a row that A has, the same for all lanes
  template <class RowOf>
  MILLET_GPU TokenVectors(const TokensArguments& a, std::uint32_t k, const RowOf& row_of) {
    for_each_index<Tokens>([&](auto token) {
      const std::uint32_t row = row_of(token);
      values[token] = make_buffer(a.values + Index{row} * a.value_stride, k);
      scales[token] = make_buffer(a.scales + Index{row} * a.scale_stride, k / MxBlock::k);
    });
  }

  /// Loads `Count` steps from step `first_step`.
  template <int Count>
  MILLET_GPU void load(std::uint32_t first_step, Loaded<Count>& to) const {
    constexpr int blocks_between_runs = mfma_run_distance / static_cast<int>(MxBlock::k);
    const std::uint32_t first_block = first_step * mfma_blocks + static_cast<std::uint32_t>(block_of_run(lane_id(), 0));
    const std::uint32_t first_byte = first_step * mfma_k + static_cast<std::uint32_t>(mfma_k_of_byte(lane_id(), 0));
    // Scales first: then a step's products wait for no load of a later step.
    for_each_index<Count>([&](auto step) {
      for_each_index<Tokens>([&](auto token) {
        for_each_index<gemv_runs>([&](auto run) {
          to.scales[step][token][run] =
              load_u8(scales[token], first_block + (step * mfma_blocks + run * blocks_between_runs));
        });
      });
    });
    for_each_index<Count>([&](auto step) {
      for_each_index<Tokens>([&](auto token) {
        const std::uint32_t at = first_byte + step * mfma_k;
        to.codes[step][token] = operand(load_b128(values[token], at), load_b128(values[token], at + mfma_run_distance));
      });
    });
  }

  template <int Count>
  static MILLET_GPU Ready<Count> ready(const Loaded<Count>& loaded) {
    return {loaded};
  }
};

/// The same of rows in bf16, quantized by the wave that multiplies them.
///
/// The 16 lanes of a group multiply the same runs of A, each with a row of B of its own. So they share the work: lane r
/// loads and quantizes runs r, r + 16, ... of the group's, and whoever multiplies a run takes it from the lane that has
/// it. A block's other run is with the same lane of the neighbouring group.
template <int Tokens>
struct TokenVectors<Tokens, true> {
  static constexpr std::uint32_t element_bytes = sizeof(BF16);
  static constexpr int runs_a_step = gemv_runs * Tokens;
  /// Steps whose runs the lanes of a group hold one each.
  static constexpr int steps_a_round = mfma_rows / runs_a_step;
  template <int Count>
  static constexpr int rounds = (Count + steps_a_round - 1) / steps_a_round;

  template <int Count>
  struct Loaded {
    Vec4u halves[rounds<Count>][2];
  };
  template <int Count>
  struct Ready {
    Vec4u quantized[rounds<Count>];
    std::uint32_t scales[rounds<Count>];

    /// The lane of a group that has a run.
    static constexpr int lane_of(int step, int token, int run) {
      return step % steps_a_round * runs_a_step + run * Tokens + token;
    }
    template <class Step, class Token, class Run>
    MILLET_GPU Vec4u codes(Step step, Token, Run) const {
      constexpr int lane = lane_of(Step::value, Token::value, Run::value);
      const Vec4u x = quantized[step / steps_a_round];
      return Vec4u{broadcast_in_group<lane>(+x[0]), broadcast_in_group<lane>(+x[1]), broadcast_in_group<lane>(+x[2]),
                   broadcast_in_group<lane>(+x[3])};
    }
    template <class Step, class Token, class Run>
    MILLET_GPU std::uint32_t scale(Step step, Token, Run) const {
      return broadcast_in_group<lane_of(Step::value, Token::value, Run::value)>(scales[step / steps_a_round]);
    }
  };

  Buffer values;
  std::uint32_t k;
  std::uint32_t in_round;  ///< k of the lane's run, from the start of a round
  std::uint32_t offset;    ///< of its token's row plus in_round, in bytes

  template <class RowOf>
  MILLET_GPU TokenVectors(const TokensArguments& a, std::uint32_t k_, const RowOf& row_of)
      : values(make_buffer(a.values, a.value_bytes)), k(k_) {
    const auto mine = static_cast<std::uint32_t>(mfma_row(lane_id()));
    in_round = mine / runs_a_step * mfma_k + mine / Tokens % gemv_runs * mfma_run_distance +
               static_cast<std::uint32_t>(mfma_group(lane_id())) * 16;
    std::uint32_t row = 0;
    for_each_index<Tokens>([&](auto token) { row = mine % Tokens == token ? row_of(token) : row; });
    offset = row * a.value_stride + in_round * element_bytes;
  }

  template <int Count>
  MILLET_GPU void load(std::uint32_t first_step, Loaded<Count>& to) const {
    const auto k_left = static_cast<std::int32_t>(k - first_step * mfma_k);
    const std::int32_t end = k_left < Count * mfma_k ? k_left : Count * mfma_k;  // no runs that nobody multiplies
    for_each_index<rounds<Count>>([&](auto round) {
      constexpr int first = round * steps_a_round * mfma_k;
      const std::uint32_t at = offset_below(offset + (first_step * mfma_k + first) * element_bytes,
                                            first + static_cast<std::int32_t>(in_round), end);
      to.halves[round][0] = load_b128(values, at);
      to.halves[round][1] = load_b128(values, at + 16);
    });
  }

  template <int Count>
  static MILLET_GPU Ready<Count> ready(const Loaded<Count>& loaded) {
    Ready<Count> to;
    for_each_index<rounds<Count>>([&](auto round) {
      const auto& [first, second] = loaded.halves[round];
      const E8M0 scale = scale_of_block(first, second);
      to.quantized[round] = quantized_run(first, second, scale);
      to.scales[round] = scale.bits;
    });
    return to;
  }
};

/// The 16 values of a run, two to an element.
MILLET_GPU void decode_run(Vec4u codes, Vec2f (&to)[8]) {
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = decode_e4m3<0>(+codes[i]);
    to[2 * i + 1] = decode_e4m3<1>(+codes[i]);
  }
}

/// Adds the products of `Steps` steps from `first_step` to the sums of `Tokens` tokens. Each run of 16 products is
/// summed unscaled, as even and odd k, and then takes both scales in one rounding: the two powers of two alone, or
/// either's product with the sum, may be outside of f32 where the scaled sum is not.
template <int Steps, int Tokens, bool Bf16, bool RowMajor>
MILLET_GPU void multiply_tokens(RowShare<Steps, RowMajor>& b, const TokenVectors<Tokens, Bf16>& a,
                                std::uint32_t first_step, float (&sums)[Tokens]) {
  constexpr int held = vector_token_steps(Tokens, Steps, Bf16);
  constexpr int two_biases = 2 * E8M0::bias;
  // A NaN scale makes the whole sum NaN, so that it need be found only once.
  std::uint32_t largest_weight_scale = 0;
  std::uint32_t largest_scale[Tokens] = {};
  for_each_index<(Steps + held - 1) / held>([&](auto round) {
    constexpr int from = round * held;
    constexpr int count = Steps - from < held ? Steps - from : held;
    typename TokenVectors<Tokens, Bf16>::template Loaded<count> tokens;
    a.load(first_step + from, tokens);
    schedule_fence();
    const auto ready = a.ready(tokens);
    for_each_index<count>([&](auto step) {
      pin(b.codes[from + step]);  // or the values of all steps would be kept from one chunk of tokens to the next
      for_each_index<gemv_runs>([&](auto run) {
        Vec2f weights[8];
        decode_run(b.run(from + step, run), weights);
        const std::uint32_t weight_scale = b.scale(from + step, run);
        largest_weight_scale = weight_scale > largest_weight_scale ? weight_scale : largest_weight_scale;
        for_each_index<Tokens>([&](auto token) {
          Vec2f values[8];
          decode_run(ready.codes(step, token, run), values);
          Vec2f products = weights[0] * values[0];
          for (int i = 1; i < 8; ++i) products = packed_fma(weights[i], values[i], products);
          const std::uint32_t scale = ready.scale(step, token, run);
          largest_scale[token] = scale > largest_scale[token] ? scale : largest_scale[token];
          sums[token] += ldexp_f32(products[0] + products[1], static_cast<int>(weight_scale + scale) - two_biases);
        });
      });
      if constexpr (Tokens > 2) schedule_fence();  // enough to overlap without the next step, which takes registers
    });
    schedule_fence();
  });
  for_each_index<Tokens>([&](auto token) {
    const bool is_nan = largest_weight_scale == E8M0::nan_bits || largest_scale[token] == E8M0::nan_bits;
    sums[token] = is_nan ? __builtin_nanf("") : sums[token];
  });
}

/// Stores one element of C.
MILLET_GPU void store_element(const OutputArguments& c, Index row, std::uint32_t column, float value) {
  const Index at = row * c.row_stride + column;
  if (c.bf16 != 0) {
    store(static_cast<BF16*>(c.values) + at, BF16::round(value));
  } else {
    store(static_cast<float*>(c.values) + at, value);
  }
}

/// Lanes that share a row of B.
inline constexpr std::uint32_t row_lanes = wave_lanes / mfma_rows;

/// Where the lanes of a work-group leave their sums of up to `Tokens` tokens: [wave][token][row][lane of the row].
template <int Waves, std::uint32_t Tokens>
struct LaneSums {
  static constexpr int size = static_cast<int>(Waves * Tokens * wave_lanes);

  LdsArray<float> lds;
  std::uint32_t first;  ///< element of `lds`
  std::uint32_t k_waves_log2;

  /// This lane's place.
  MILLET_GPU int place(std::uint32_t token) const {
    const auto in_token =
        static_cast<std::uint32_t>(mfma_row(lane_id())) * row_lanes + static_cast<std::uint32_t>(mfma_group(lane_id()));
    return static_cast<int>(first + (static_cast<std::uint32_t>(wave_id()) * Tokens + token) * wave_lanes + in_token);
  }

  /// Rows of B that the work-group multiplies, as a power of two.
  MILLET_GPU std::uint32_t rows_log2() const {
    return static_cast<std::uint32_t>(__builtin_ctz(Waves * mfma_rows)) - k_waves_log2;
  }

  /// The sum of a token's product with row `row` of the work-group's, over the waves of its strip in their order.
  MILLET_GPU float sum(std::uint32_t token, std::uint32_t row) const {
    const std::uint32_t k_waves_mask = (1U << k_waves_log2) - 1;
    // All waves' parts at once, those of other strips being ignored: waiting for each in turn takes longer.
    const std::uint32_t first_wave = row / mfma_rows << k_waves_log2;
    float parts[Waves][row_lanes];
    for_each_index<Waves>([&](auto other) {
      const std::uint32_t from = first_wave + (other & k_waves_mask);
      const std::uint32_t at = first + (from * Tokens + token) * wave_lanes + row % mfma_rows * row_lanes;
      for_each_index<static_cast<int>(row_lanes)>(
          [&](auto lane) { parts[other][lane] = lds.read(static_cast<int>(at) + lane); });
    });
    float sum = 0.0F;
    for_each_index<Waves>([&](auto other) {
      const float part = (parts[other][0] + parts[other][1]) + (parts[other][2] + parts[other][3]);
      sum = static_cast<std::uint32_t>(other) <= k_waves_mask ? sum + part : sum;
    });
    return sum;
  }
};

}  // namespace millet::gfx950
