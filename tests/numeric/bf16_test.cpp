// SPDX-License-Identifier: Apache-2.0
#include "millet/numeric/bf16.hpp"

#include <gtest/gtest.h>

#include <random>

#include "numeric/floating_point_mode.hpp"
#include "numeric/oracle.hpp"

namespace millet {
namespace {

using oracle::bits_of;
using oracle::float_of;

static_assert(BF16::round(1.0F).bits == 0x3F80 && BF16{0xC000}.value() == -2.0F);

/// The magnitude of a bf16 code; the code of infinity gives 2^128, the value that it displaced.
double magnitude(std::uint32_t code) {
  return (code & 0x7FFF) == 0x7F80 ? 0x1p128 : std::abs(static_cast<double>(float_of(code << 16)));
}

/// The nearer of the two codes around a finite x, in double.
std::uint32_t nearest(std::uint32_t bits) {
  const std::uint32_t below = bits >> 16;
  const double x = std::abs(static_cast<double>(float_of(bits)));
  const double gap_below = x - magnitude(below);
  const double gap_above = magnitude(below + 1) - x;
  if (gap_below == gap_above) return below % 2 == 0 ? below : below + 1;
  return gap_below < gap_above ? below : below + 1;
}

TEST(BF16, ValueIsTheUpperHalfOfAnF32) {
  for (std::uint32_t code = 0; code < 0x10000; ++code) {
    const BF16 x{static_cast<std::uint16_t>(code)};
    EXPECT_EQ(bits_of(x.value()), code << 16);
    EXPECT_EQ(x.is_nan(), std::isnan(x.value())) << code;
  }
}

TEST(BF16Round, IsTheNearestCodeForEveryUpperHalf) {
  std::mt19937 random(5);
  std::uniform_int_distribution<std::uint32_t> half_word(0, 0xFFFF);
  for (std::uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const std::uint32_t lower : {0x0000U, 0x0001U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU, half_word(random)}) {
      const std::uint32_t bits = upper << 16 | lower;
      const BF16 rounded = BF16::round(float_of(bits));
      if (std::isnan(float_of(bits))) {
        ASSERT_TRUE(rounded.is_nan()) << std::hex << bits;
        ASSERT_EQ(rounded.bits >> 15, upper >> 15) << std::hex << bits;
        ASSERT_NE(rounded.bits & 0x40, 0) << "signalling: " << std::hex << bits;
      } else if (std::isinf(float_of(bits))) {
        ASSERT_EQ(rounded.bits, upper);
      } else {
        ASSERT_EQ(rounded.bits, nearest(bits)) << std::hex << bits;
      }
    }
  }
}

TEST(BF16Round, OverflowIsInfinity) {
  EXPECT_EQ(BF16::round(float_of(0x7F7F7FFF)).bits, 0x7F7F);  // the last that stays finite
  EXPECT_EQ(BF16::round(float_of(0x7F7F8000)).bits, 0x7F80);  // tie, to the even neighbour
  EXPECT_EQ(BF16::round(float_of(0x7F7FFFFF)).bits, 0x7F80);
  EXPECT_EQ(BF16::round(float_of(0xFF7FFFFF)).bits, 0xFF80);
}

TEST(BF16Round, DoesNotDependOnTheFloatingPointMode) {
  if (!can_set_floating_point_mode) GTEST_SKIP() << "setting flush-to-zero is implemented for x86-64 only";
  for (const FloatingPointMode& mode : hostile_modes) {
    int wrong = 0;
    in_mode(mode, [&] {
      for (std::uint32_t bits = 0; bits < 0x01000000U; bits += 0x1001) {
        const std::uint32_t up = (bits & 0xFFFF) > 0x8000 || ((bits & 0xFFFF) == 0x8000 && (bits >> 16) % 2 == 1);
        wrong += BF16::round(float_of(bits)).bits != (bits >> 16) + up;
      }
    });
    EXPECT_EQ(wrong, 0) << mode.name;
  }
}

}  // namespace
}  // namespace millet
