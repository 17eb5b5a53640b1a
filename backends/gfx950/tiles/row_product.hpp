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

  /// The biased exponent of a run's scale, 255 being NaN.
  MILLET_GPU std::uint32_t scale(int step, int run) const {
    return scales[run].word(step) >> 8 * Scales::selected(step) & 0xFFU;
  }
};

/// `Tokens` rows of A as a lane reads them: the k of its runs, the same for all rows of B. Each row is a buffer of its
/// own, which ends where k does: what lies beyond is zero.
template <int Tokens>
struct TokenVectors {
  template <int Count>
  struct Loaded {
    Vec8u codes[Count][Tokens];
    std::uint32_t scales[Count][Tokens][gemv_runs];
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
};

/// The 16 values of a run, two to an element.
template <int Run>
MILLET_GPU void decode_run(Vec8u codes, Vec2f (&to)[8]) {
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = decode_e4m3<0>(+codes[Run * 4 + i]);
    to[2 * i + 1] = decode_e4m3<1>(+codes[Run * 4 + i]);
  }
}

/// Adds the products of `Steps` steps from `first_step` to the sums of `Tokens` tokens. Each run of 16 products is
/// summed unscaled, as even and odd k, and then takes both scales in one rounding: the two powers of two alone, or
/// either's product with the sum, may be outside of f32 where the scaled sum is not.
template <int Steps, int Tokens, bool RowMajor>
MILLET_GPU void multiply_tokens(RowShare<Steps, RowMajor>& b, const TokenVectors<Tokens>& a, std::uint32_t first_step,
                                float (&sums)[Tokens]) {
  constexpr int held = token_steps(Tokens, Steps, false);
  constexpr int two_biases = 2 * E8M0::bias;
  // A NaN scale makes the whole sum NaN, so that it need be found only once.
  std::uint32_t largest_weight_scale = 0;
  std::uint32_t largest_scale[Tokens] = {};
  for_each_index<(Steps + held - 1) / held>([&](auto round) {
    constexpr int from = round * held;
    constexpr int count = Steps - from < held ? Steps - from : held;
    typename TokenVectors<Tokens>::template Loaded<count> tokens;
    a.load(first_step + from, tokens);
    schedule_fence();
    for_each_index<count>([&](auto step) {
      pin(b.codes[from + step]);  // or the values of all steps would be kept from one chunk of tokens to the next
      for_each_index<gemv_runs>([&](auto run) {
        Vec2f weights[8];
        decode_run<run>(b.codes[from + step], weights);
        const std::uint32_t weight_scale = b.scale(from + step, run);
        largest_weight_scale = weight_scale > largest_weight_scale ? weight_scale : largest_weight_scale;
        for_each_index<Tokens>([&](auto token) {
          Vec2f values[8];
          decode_run<run>(tokens.codes[step][token], values);
          Vec2f products = weights[0] * values[0];
          for (int i = 1; i < 8; ++i) products = packed_fma(weights[i], values[i], products);
          const std::uint32_t scale = tokens.scales[step][token][run];
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

  /// Columns of C that the work-group computes, as a power of two.
  MILLET_GPU std::uint32_t columns_log2() const {
    return static_cast<std::uint32_t>(__builtin_ctz(Waves * mfma_rows)) - k_waves_log2;
  }

  /// The sum of a token's product with column `column` of the work-group, over the waves of its strip in their order.
  MILLET_GPU float sum(std::uint32_t token, std::uint32_t column) const {
    const std::uint32_t k_waves_mask = (1U << k_waves_log2) - 1;
    // All waves' parts at once, those of other strips being ignored: waiting for each in turn takes longer.
    const std::uint32_t first_wave = column / mfma_rows << k_waves_log2;
    float parts[Waves][row_lanes];
    for_each_index<Waves>([&](auto other) {
      const std::uint32_t from = first_wave + (other & k_waves_mask);
      const std::uint32_t at = first + (from * Tokens + token) * wave_lanes + column % mfma_rows * row_lanes;
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
