// SPDX-License-Identifier: Apache-2.0
// AVX2 and FMA: 16 registers of 8 f32.
#include <immintrin.h>

#include "millet/backends/cpu/tiles/strip_kernels.hpp"

namespace millet::cpu {

namespace {

struct Avx2 {
  static constexpr int W = 8;
  static constexpr int accumulators = 8;  // two pipes of four cycles; the other registers hold weights and masks
  static constexpr int tile_rows = 6;
  static constexpr int tile_strips = 1;
  static constexpr int strips_at_once(int m) noexcept { return m == 1 ? 4 : m == 2 ? 2 : 1; }

  using Float = __m256;
  using Codes = __m256i;

  static MILLET_INLINE Codes load_codes(const std::uint8_t* p) noexcept {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }

  // Eight operations for the four codes of a lane. A multiplication by 16 brings a byte, sign-extended, to the fields
  // of a bf16 whose exponent is e4m3's; one instruction does it for every other byte. The mask leaves the sign's first
  // copy.
  template <int Pair>
  static MILLET_INLINE void decode_normal(Codes codes, Float (&w)[2]) noexcept {
    const __m256i mask = _mm256_set1_epi32(static_cast<int>(0x87F00000U));
    const __m256i both = _mm256_maddubs_epi16(_mm256_set1_epi16(Pair == 0 ? 0x0010 : 0x1000), codes);
    w[0] = _mm256_castsi256_ps(_mm256_and_si256(_mm256_slli_epi32(both, 16), mask));
    w[1] = _mm256_castsi256_ps(_mm256_and_si256(both, mask));
  }

  // Magnitudes corrected as bytes, then as above: 17 operations for the four codes of a lane.
  template <int Pair>
  static MILLET_INLINE void decode_exact(Codes codes, Float (&w)[2]) noexcept {
    const __m256i magnitude = _mm256_and_si256(codes, _mm256_set1_epi8(0x7F));
    const __m256i index = _mm256_add_epi8(magnitude, _mm256_set1_epi8(correction_index));
    const __m256i table = _mm256_load_si256(reinterpret_cast<const __m256i*>(corrections.bytes));
    const __m256i corrected = _mm256_sub_epi8(magnitude, _mm256_shuffle_epi8(table, index));
    const __m256i fields =
        _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_set1_epi16(Pair == 0 ? 0x0010 : 0x1000), corrected),
                         _mm256_set1_epi16(corrected_zero));
    const __m256i sign = _mm256_and_si256(Pair == 0 ? _mm256_slli_epi16(codes, 8) : codes,
                                          _mm256_set1_epi16(static_cast<short>(0x8000)));
    const __m256i both = _mm256_or_si256(fields, sign);
    w[0] = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
    w[1] = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(static_cast<int>(0xFFFF0000U))));
  }

  /// Twice a code drops its sign; then NaN is the largest byte.
  struct NanScan {
    __m256i largest = _mm256_setzero_si256();

    MILLET_INLINE void add(Codes codes) noexcept { largest = _mm256_max_epu8(largest, _mm256_add_epi8(codes, codes)); }
    [[nodiscard]] MILLET_INLINE Float poison(Float sum) const noexcept {
      const __m256i nans = _mm256_cmpeq_epi8(largest, _mm256_set1_epi8(static_cast<char>(0xFE)));
      const __m256i clean = _mm256_cmpeq_epi32(nans, _mm256_setzero_si256());
      return _mm256_or_ps(sum, _mm256_castsi256_ps(_mm256_xor_si256(clean, _mm256_set1_epi32(-1))));
    }
  };

  static MILLET_INLINE Float scale_factor(const std::uint8_t* codes, int offset) noexcept {
    const __m256i fields = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(fields, _mm256_set1_epi32(offset)), 23));
  }

  static MILLET_INLINE Float zero() noexcept { return _mm256_setzero_ps(); }
  static MILLET_INLINE Float broadcast(const float* p) noexcept { return _mm256_broadcast_ss(p); }
  static MILLET_INLINE Float load(const float* p) noexcept { return _mm256_loadu_ps(p); }
  static MILLET_INLINE void store(float* p, Float x) noexcept { _mm256_storeu_ps(p, x); }
  static MILLET_INLINE Float multiply(Float a, Float b) noexcept { return _mm256_mul_ps(a, b); }
  static MILLET_INLINE Float multiply_add(Float a, Float b, Float c) noexcept { return _mm256_fmadd_ps(a, b, c); }
};

}  // namespace

const StripKernels& avx2_kernels() noexcept { return kernels_of<Avx2>; }

}  // namespace millet::cpu
