// SPDX-License-Identifier: Apache-2.0
#pragma once
// Stands in for the compiler's header where the AVX-512 kernels are compiled for any machine: SIMDe has most of the
// intrinsics as portable code. Below is what SIMDe 0.7.4 lacks of those in use.
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

#if !defined(__AVX512F__)
using __mmask16 = simde__mmask16;
using __mmask64 = simde__mmask64;

inline simde__m512 convert_to_float(simde__m512i x) {
  simde__m512i_private from = simde__m512i_to_private(x);
  simde__m512_private to;
  for (int i = 0; i < 16; ++i) to.f32[i] = static_cast<float>(from.i32[i]);
  return simde__m512_from_private(to);
}
inline simde__m512i widen_bytes(simde__m128i x) {
  simde__m128i_private from = simde__m128i_to_private(x);
  simde__m512i_private to;
  for (int i = 0; i < 16; ++i) to.i32[i] = from.u8[i];
  return simde__m512i_from_private(to);
}
#define _mm512_cvtepi32_ps convert_to_float
#define _mm512_cvtepu8_epi32 widen_bytes
#endif
