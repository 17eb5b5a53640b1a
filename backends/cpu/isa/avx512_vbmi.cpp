// SPDX-License-Identifier: Apache-2.0
// AVX-512 with VBMI: every code by look-up, so that blocks with subnormals cost little more than others.
#include "millet/backends/cpu/isa/avx512_lanes.hpp"

namespace millet::cpu {

namespace {

/// The upper and the lower byte of the bf16 of w * 2^exact_weight_exponent for every magnitude.
struct Bf16Bytes {
  alignas(64) std::uint8_t upper[128];
  alignas(64) std::uint8_t lower[128];
};

constexpr Bf16Bytes make_bf16_bytes() noexcept {
  Bf16Bytes table{};
  for (unsigned magnitude = 0; magnitude < 128; ++magnitude) {
    unsigned bits = (magnitude << 4) + (static_cast<unsigned>(120 + exact_weight_exponent) << 7);
    if (magnitude == 0) bits = 0;
    if (magnitude > 0 && magnitude < 8) {
      // m * 2^-9: the leading one of m becomes the implicit one.
      const unsigned log2 = magnitude >= 4 ? 2 : magnitude >= 2 ? 1 : 0;
      const unsigned fraction = (magnitude << (3 - log2)) & 7U;
      bits = ((static_cast<unsigned>(127 - 9 + exact_weight_exponent) + log2) << 7) | (fraction << 4);
    }
    table.upper[magnitude] = static_cast<std::uint8_t>(bits >> 8);
    table.lower[magnitude] = static_cast<std::uint8_t>(bits);
  }
  return table;
}

constexpr Bf16Bytes bf16_bytes = make_bf16_bytes();

struct Avx512Vbmi : Avx512Lanes<Avx512Vbmi> {
  template <int Pair>
  static MILLET_INLINE void decode_exact(Codes codes, Float (&w)[2]) noexcept {
    // The look-ups ignore a code's sign.
    const __m512i magnitude_upper =
        _mm512_permutex2var_epi8(_mm512_load_si512(bf16_bytes.upper), codes, _mm512_load_si512(bf16_bytes.upper + 64));
    const __m512i lower =
        _mm512_permutex2var_epi8(_mm512_load_si512(bf16_bytes.lower), codes, _mm512_load_si512(bf16_bytes.lower + 64));
    constexpr int or_with_and = 0xF8;  // a | (b & c)
    const __m512i upper =
        _mm512_ternarylogic_epi32(magnitude_upper, codes, _mm512_set1_epi8(static_cast<char>(0x80)), or_with_and);
    const __m512i upper_bytes = _mm512_set1_epi16(static_cast<short>(0xFF00));
    constexpr int select = 0xCA;  // a ? b : c
    const __m512i both = Pair == 0 ? _mm512_ternarylogic_epi32(upper_bytes, _mm512_slli_epi16(upper, 8), lower, select)
                                   : _mm512_ternarylogic_epi32(upper_bytes, upper, _mm512_srli_epi16(lower, 8), select);
    w[0] = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    w[1] = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xFFFF0000U))));
  }
};

}  // namespace

const StripKernels& avx512_vbmi_kernels() noexcept { return kernels_of<Avx512Vbmi>; }

}  // namespace millet::cpu
