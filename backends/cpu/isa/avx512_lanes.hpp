// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <immintrin.h>

#include "millet/backends/cpu/tiles/strip_product.hpp"

namespace millet::cpu {

/// AVX-512 F, BW, DQ and VL: 32 registers of 16 f32, a strip a vector. \tparam File  a type of the file that uses them
template <class File>
struct Avx512Lanes {
  static constexpr int W = 16;
  static constexpr int accumulators = 16;
  static constexpr int tile_rows = 12;
  static constexpr int tile_strips = 2;
  static constexpr int strips_at_once(int m) noexcept { return m <= 2 ? 4 : 2; }

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

  template <int Pair>
  static MILLET_INLINE void decode_exact(Codes codes, Float (&w)[2]) noexcept {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const unsigned shift = 8U * static_cast<unsigned>(Pair + 2 * j);
      const __m512i magnitude = _mm512_and_si512(_mm512_srli_epi32(codes, shift), _mm512_set1_epi32(0x7F));
      const __m512i normal =
          _mm512_add_epi32(_mm512_slli_epi32(magnitude, 20), _mm512_set1_epi32((120 + exact_weight_exponent) << 23));
      const __mmask16 is_subnormal = _mm512_cmpgt_epi32_mask(_mm512_set1_epi32(8), magnitude);
      const __m512 finite = _mm512_mask_mul_ps(_mm512_castsi512_ps(normal), is_subnormal, _mm512_cvtepi32_ps(magnitude),
                                               _mm512_set1_ps(0x1p-69F));
      const __mmask16 is_nan = _mm512_cmpeq_epi32_mask(magnitude, _mm512_set1_epi32(0x7F));
      const __m512i bits = _mm512_mask_mov_epi32(_mm512_castps_si512(finite), is_nan, _mm512_set1_epi32(0x7FC00000));
      const __m512i sign =
          _mm512_and_si512(_mm512_slli_epi32(codes, 24U - shift), _mm512_set1_epi32(static_cast<int>(0x80000000U)));
      w[j] = _mm512_castsi512_ps(_mm512_or_si512(bits, sign));
    }
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
