// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "millet/backends/cpu/tiles/strip_product.hpp"

// A, from what the caller has to f32.

namespace millet::cpu {

/// As many words as there are lanes, as vectors of the compiler.
template <int W>
struct Words {
  typedef float Float __attribute__((vector_size(4 * W)));
  typedef std::int32_t Int __attribute__((vector_size(4 * W)));
  typedef std::uint16_t Half __attribute__((vector_size(2 * W)));
  typedef std::uint8_t Byte __attribute__((vector_size(W)));
};

/// The bits of W values from `first` on, as f32.
template <int W, bool Bf16>
MILLET_INLINE typename Words<W>::Int load_as_f32(const void* values, Index first) noexcept {
  if constexpr (Bf16) {
    typename Words<W>::Half halves;
    __builtin_memcpy(&halves, static_cast<const std::uint16_t*>(values) + first, sizeof(halves));
    return __builtin_convertvector(halves, typename Words<W>::Int) << 16;
  } else {
    typename Words<W>::Int words;
    __builtin_memcpy(&words, static_cast<const float*>(values) + first, sizeof(words));
    return words;
  }
}

template <int W>
MILLET_INLINE std::uint32_t largest_lane(typename Words<W>::Int x) noexcept {
  std::int32_t largest = x[0];
  for (int i = 1; i < W; ++i) largest = x[i] > largest ? x[i] : largest;
  return static_cast<std::uint32_t>(largest);
}

/// The e8m0 code of scale_for_amax(amax, rceil), which a file of one instruction set must not share with others.
MILLET_INLINE int rceil_code(std::uint32_t amax) noexcept {
  if (amax >= 0x7F800000U) return 255;
  const int field = static_cast<int>(amax >> 23);
  const std::uint32_t last_covered = field == 8 ? 0x600001U : 0x600000U;
  const int code = field - 8 + ((amax & 0x7FFFFFU) > last_covered ? 1 : 0);
  return code < 0 ? 0 : code;
}

/// Rounds magnitudes up to 464 to e4m3, ties to even. Adding 2^20 times its power of two leaves a value four
/// significant bits; those below the smallest normal keep multiples of 2^-9.
template <int W>
MILLET_INLINE typename Words<W>::Float round_to_e4m3(typename Words<W>::Float x) noexcept {
  using Float = typename Words<W>::Float;
  using Int = typename Words<W>::Int;
  const Int smallest_normal = Int{} + (121 << 23);
  Int power = reinterpret_cast<Int>(x) & 0x7F800000;
  power = power > smallest_normal ? power : smallest_normal;
  const auto large = reinterpret_cast<Float>(power + (20 << 23));
  return (x + large) - large;
}

/// In the order of the sums: the middle two of each four change places.
template <int W>
MILLET_INLINE typename Words<W>::Float in_order_of_sums(typename Words<W>::Float x) noexcept {
  return [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    return __builtin_shufflevector(x, x, (I % 4 == 1 ? I + 1 : I % 4 == 2 ? I - 1 : I)...);
  }
  (std::make_integer_sequence<int, W>{});
}

/// The values of e4m3 codes, of NaN's a NaN. The exponent field of a subnormal counts a power of two too little and an
/// implicit one too much: twice the value less the smallest normal is right there, and too large elsewhere.
template <int W>
MILLET_INLINE typename Words<W>::Float value_of_e4m3(typename Words<W>::Int codes) noexcept {
  using Float = typename Words<W>::Float;
  using Int = typename Words<W>::Int;
  const Int magnitude = codes & 0x7F;
  const auto normal = reinterpret_cast<Float>((magnitude << 20) + (120 << 23));
  const Float subnormal = normal + normal - 0x1p-6F;
  const Float finite = normal < subnormal ? normal : subnormal;
  const Int nan = magnitude == 0x7F;  // all ones are a NaN
  const Int sign = (codes << 24) & static_cast<std::int32_t>(0x80000000U);
  return reinterpret_cast<Float>(reinterpret_cast<Int>(finite) | nan | sign);
}

/// One row of bf16 or f32 to what its e4m3 codes and RCEIL scales would be decoded to, without forming the codes.
/// Needs rounding to nearest and subnormals. \return whether all scales are plain
template <class L, bool Bf16>
MILLET_INLINE bool quantize_row(const void* values, Index blocks, const DecodedActivations& a, Index row) noexcept {
  using Float = typename Words<L::W>::Float;
  using Int = typename Words<L::W>::Int;
  constexpr int vectors = block_k / L::W;
  bool all_plain = true;
  for (Index block = 0; block < blocks; ++block) {
    Int words[vectors];
    Int largest{};
    for (int v = 0; v < vectors; ++v) {
      words[v] = load_as_f32<L::W, Bf16>(values, block * block_k + v * L::W);
      const Int magnitude = words[v] & 0x7FFFFFFF;
      largest = magnitude > largest ? magnitude : largest;  // as integers, NaN > infinity > finite
    }
    const std::uint32_t amax = largest_lane<L::W>(largest);
    const int code = rceil_code(amax);
    float* const to = a.values + (block * a.rows + row) * block_k;
    bool plain = false;
    if (code == 255) [[unlikely]] {
      // The very NaN that the codes 0x7F of such a block decode to.
      const Float nan = value_of_e4m3<L::W>(Int{} + 0x7F) * power_of_two(activation_exponent + code_of_one);
      for (int v = 0; v < vectors; ++v) __builtin_memcpy(to + v * L::W, &nan, sizeof(nan));
    } else {
      const float up = power_of_two(254 - code);
      const bool zeros = __builtin_bit_cast(float, amax) * up <= 0x1p-10F;
      plain = code <= largest_plain_scale && (code >= smallest_plain_scale || zeros);
      const float down =
          power_of_two(activation_exponent + (plain && code >= smallest_plain_scale ? code : code_of_one));
      for (int v = 0; v < vectors; ++v) {
        const Float rounded = round_to_e4m3<L::W>(reinterpret_cast<Float>(words[v] & 0x7FFFFFFF) * up);
        const Int sign = words[v] & static_cast<std::int32_t>(0x80000000U);
        const auto value = reinterpret_cast<Float>(reinterpret_cast<Int>(rounded * down) | sign);
        const Float ordered = in_order_of_sums<L::W>(value);
        __builtin_memcpy(to + v * L::W, &ordered, sizeof(ordered));
      }
    }
    a.scales[block * a.rows + row] = static_cast<std::uint8_t>(plain ? code_of_one : code);
    all_plain = all_plain && plain;
  }
  return all_plain;
}

template <class L>
bool quantize_activations(const void* values, bool bf16, Index blocks, const DecodedActivations& a,
                          Index row) noexcept {
  return bf16 ? quantize_row<L, true>(values, blocks, a, row) : quantize_row<L, false>(values, blocks, a, row);
}

template <class L>
bool decode_activations(const std::uint8_t* codes, const std::uint8_t* scales, Index blocks,
                        const DecodedActivations& a, Index row) noexcept {
  bool all_plain = true;
  for (Index block = 0; block < blocks; ++block) {
    const std::uint8_t* const from = codes + block * block_k;
    const int scale = scales[block];
    unsigned magnitudes = 0;
    if (scale < smallest_plain_scale) {
      for (int i = 0; i < block_k; ++i) magnitudes |= from[i] & 0x7FU;
    }
    const bool plain = scale <= largest_plain_scale && (scale >= smallest_plain_scale || magnitudes == 0);
    // A block of zeros has any of the small scales.
    const float factor =
        power_of_two(activation_exponent + (plain && scale >= smallest_plain_scale ? scale : code_of_one));
    float* const to = a.values + (block * a.rows + row) * block_k;
    for (int i = 0; i < block_k; i += L::W) {
      typename Words<L::W>::Byte bytes;
      __builtin_memcpy(&bytes, from + i, sizeof(bytes));
      const auto values = value_of_e4m3<L::W>(__builtin_convertvector(bytes, typename Words<L::W>::Int));
      const auto ordered = in_order_of_sums<L::W>(values * factor);
      __builtin_memcpy(to + i, &ordered, sizeof(ordered));
    }
    a.scales[block * a.rows + row] = static_cast<std::uint8_t>(plain ? code_of_one : scale);
    all_plain = all_plain && plain;
  }
  return all_plain;
}

}  // namespace millet::cpu
