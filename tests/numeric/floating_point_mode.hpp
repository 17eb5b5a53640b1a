// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace millet {

#if defined(__x86_64__)
inline constexpr bool can_set_floating_point_mode = true;

struct FloatingPointMode {
  const char* name;
  unsigned mxcsr_bits;
};

/// Flushing both subnormal inputs and results, alone and with each directed rounding.
inline constexpr FloatingPointMode hostile_modes[] = {
    {"flush to zero", 0x8040}, {"flush, round down", 0xA040}, {"flush, round up", 0xC040}, {"flush, truncate", 0xE040}};

/// Calls work() in `mode` and restores the caller's. The call goes through a volatile pointer, so that no arithmetic
/// moves across the change of mode.
template <class Work>
void in_mode(const FloatingPointMode& mode, Work work) {
  void (*volatile call)(Work&) = [](Work& w) { w(); };
  const unsigned saved = _mm_getcsr();
  _mm_setcsr((saved & ~0xE040U) | mode.mxcsr_bits);
  volatile float smallest_normal = 0x1p-126F;
  volatile float half = 0.5F;
  const bool flushes = smallest_normal * half == 0.0F;
  call(work);
  _mm_setcsr(saved);
  ASSERT_TRUE(flushes) << "the processor did not enter the mode: " << mode.name;
}
#else
// Elsewhere the control register is not ours to name; the tests that need it say so and skip.
inline constexpr bool can_set_floating_point_mode = false;
struct FloatingPointMode {
  const char* name;
};
inline constexpr FloatingPointMode hostile_modes[] = {{"none"}};
template <class Work>
void in_mode(const FloatingPointMode&, Work) {}
#endif

}  // namespace millet
