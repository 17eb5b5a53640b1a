// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <immintrin.h>

#include "millet/backends/cpu/tiles/strip_kernels.hpp"

namespace millet::cpu {

/// AVX-512 F, BW, DQ and VL: 32 registers of 16 f32, a strip a vector. \tparam File  a type of the file that uses them
template <class File>
struct Avx512Lanes {
  static constexpr int W = 16;
  static constexpr int accumulators = 16;
  static constexpr int tile_rows = 6;
  static constexpr int tile_strips = 4;
  static constexpr int strips_at_once(int m) noexcept { return m <= 4 ? 4 : 2; }

  using Float = __m512;
  using Codes = __m512i;

  static MILLET_INLINE Codes load_codes(const std::uint8_t* p) noexcept { return _mm512_loadu_si512(p); }

  // Eight operations for the four codes of a lane. A multiplication by 16 brings a byte, sign-extended, to the fields
  // of a bf16 whose exponent is e4m3's; one instruction does it for every other byte. The mask leaves the sign's first
  // copy.
  template <int Pair>
  static MILLET_INLINE void decode_normal(Codes codes, Float (&w)[2]) noexcept {
    const __m512i mask = _mm512_set1_epi32(static_cast<int>(0x87F00000U));
    const __m512i both = _mm512_maddubs_epi16(_mm512_set1_epi16(Pair == 0 ? 0x0010 : 0x1000), codes);
    w[0] = _mm512_castsi512_ps(_mm512_and_si512(_mm512_slli_epi32(both, 16), mask));
    w[1] = _mm512_castsi512_ps(_mm512_and_si512(both, mask));
  }

  // Magnitudes corrected as bytes, then as above: 15 operations for the four codes of a lane.
  template <int Pair>
  static MILLET_INLINE void decode_exact(Codes codes, Float (&w)[2]) noexcept {
    const __m512i magnitude = _mm512_and_si512(codes, _mm512_set1_epi8(0x7F));
    const __m512i index = _mm512_add_epi8(magnitude, _mm512_set1_epi8(correction_index));
    const __m512i corrected =
        _mm512_sub_epi8(magnitude, _mm512_shuffle_epi8(_mm512_load_si512(corrections.bytes), index));
    const __m512i fields =
        _mm512_add_epi16(_mm512_maddubs_epi16(_mm512_set1_epi16(Pair == 0 ? 0x0010 : 0x1000), corrected),
                         _mm512_set1_epi16(corrected_zero));
    constexpr int or_with_and = 0xF8;  // a | (b & c)
    const __m512i both = _mm512_ternarylogic_epi32(fields, Pair == 0 ? _mm512_slli_epi16(codes, 8) : codes,
                                                   _mm512_set1_epi16(static_cast<short>(0x8000)), or_with_and);
    w[0] = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    w[1] = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xFFFF0000U))));
  }

  /// Twice a code drops its sign; then NaN is the largest byte.
  struct NanScan {
    __m512i largest = _mm512_setzero_si512();

    MILLET_INLINE void add(Codes codes) noexcept { largest = _mm512_max_epu8(largest, _mm512_add_epi8(codes, codes)); }
    [[nodiscard]] MILLET_INLINE Float poison(Float sum) const noexcept {
      const __mmask64 nans = _mm512_cmpeq_epi8_mask(largest, _mm512_set1_epi8(static_cast<char>(0xFE)));
      const __m512i marked = _mm512_maskz_mov_epi8(nans, _mm512_set1_epi8(1));
      return _mm512_mask_mov_ps(sum, _mm512_test_epi32_mask(marked, marked),
                                _mm512_castsi512_ps(_mm512_set1_epi32(0x7FC00000)));
    }
  };

  static MILLET_INLINE Float scale_factor(const std::uint8_t* codes, int offset) noexcept {
    const __m512i fields = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(fields, _mm512_set1_epi32(offset)), 23));
  }

  static MILLET_INLINE Float zero() noexcept { return _mm512_setzero_ps(); }
  static MILLET_INLINE Float broadcast(const float* p) noexcept { return _mm512_set1_ps(*p); }
  static MILLET_INLINE Float load(const float* p) noexcept { return _mm512_loadu_ps(p); }
  static MILLET_INLINE void store(float* p, Float x) noexcept { _mm512_storeu_ps(p, x); }
  static MILLET_INLINE Float multiply(Float a, Float b) noexcept { return _mm512_mul_ps(a, b); }
  static MILLET_INLINE Float multiply_add(Float a, Float b, Float c) noexcept { return _mm512_fmadd_ps(a, b, c); }
};

}  // namespace millet::cpu
