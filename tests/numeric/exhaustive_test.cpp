// SPDX-License-Identifier: Apache-2.0
// Every f32 bit pattern through every rounding. The oracles walk upwards with the inputs: the answer changes only where
// the magnitude passes the next boundary, which is compared in double.
#include <gtest/gtest.h>

#include <algorithm>

#include "millet/numeric/bf16.hpp"
#include "millet/numeric/e8m0.hpp"
#include "numeric/oracle.hpp"

namespace millet {
namespace {

using oracle::float_of;

constexpr std::uint32_t infinity_bits = 0x7F800000U;
constexpr std::uint32_t sign_bit = 0x80000000U;

TEST(Exhaustive, E4M3Round) {
  int code = 0;  // the nearest to x; 0x7F beyond the last
  double boundary = oracle::e4m3_midpoint(0);
  for (std::uint32_t bits = 0; bits < infinity_bits; ++bits) {
    const double x = float_of(bits);
    if (code < 0x7F && (x > boundary || (x == boundary && code % 2 == 1))) boundary = oracle::e4m3_midpoint(++code);
    const int saturated = code == 0x7F ? 0x7E : code;
    const bool equal = E4M3::round(float_of(bits)).bits == saturated &&
                       E4M3::round(float_of(bits | sign_bit)).bits == (saturated | 0x80) &&
                       E4M3::round(float_of(bits), 0, Overflow::to_nan).bits == code &&
                       E4M3::round(float_of(bits | sign_bit), 0, Overflow::to_nan).bits == (code | 0x80);
    ASSERT_TRUE(equal) << std::hex << bits;
  }
  EXPECT_EQ(code, 0x7F);
  for (const std::uint32_t sign : {0U, sign_bit}) {
    const auto sign_code = static_cast<int>(sign >> 24);
    EXPECT_EQ(E4M3::round(float_of(infinity_bits | sign)).bits, sign_code | 0x7E);
    EXPECT_EQ(E4M3::round(float_of(infinity_bits | sign), 0, Overflow::to_nan).bits, sign_code | 0x7F);
    for (std::uint32_t bits = infinity_bits + 1; bits < sign_bit; ++bits) {
      ASSERT_EQ(E4M3::round(float_of(bits | sign)).bits, sign_code | 0x7F) << std::hex << bits;
      ASSERT_EQ(E4M3::round(float_of(bits | sign), 0, Overflow::to_nan).bits, sign_code | 0x7F) << std::hex << bits;
    }
  }
}

TEST(Exhaustive, E8M0Round) {
  int up = 0;    // smallest code whose power is at least x
  int down = 0;  // largest code whose power is at most x, or 0
  double up_power = 0x1p-127;
  double down_limit = 0x1p-126;
  for (std::uint32_t bits = 0; bits < infinity_bits; ++bits) {
    const double x = float_of(bits);
    if (x > up_power) {
      ++up;
      up_power *= 2;
    }
    if (x >= down_limit) {
      ++down;
      down_limit *= 2;
    }
    const bool equal = E8M0::round(float_of(bits), PowerRounding::up).bits == std::min(up, 254) &&
                       E8M0::round(float_of(bits | sign_bit), PowerRounding::up, Overflow::to_nan).bits == up &&
                       E8M0::round(float_of(bits | sign_bit), PowerRounding::toward_zero).bits == down &&
                       E8M0::round(float_of(bits), PowerRounding::toward_zero, Overflow::to_nan).bits == down;
    ASSERT_TRUE(equal) << std::hex << bits;
  }
  EXPECT_EQ(up, 255);
  EXPECT_EQ(down, 254);
}

TEST(Exhaustive, BF16Round) {
  for (std::uint32_t code = 0; code < 0x7F80; ++code) {
    const double below = float_of(code << 16);
    const double above = code + 1 == 0x7F80 ? 0x1p128 : float_of((code + 1) << 16);
    const double middle = (below + above) / 2;
    for (std::uint32_t lower = 0; lower < 0x10000; ++lower) {
      const std::uint32_t bits = code << 16 | lower;
      const double x = float_of(bits);
      const std::uint32_t expected = x < middle || (x == middle && code % 2 == 0) ? code : code + 1;
      const bool equal = BF16::round(float_of(bits)).bits == expected &&
                         BF16::round(float_of(bits | sign_bit)).bits == (expected | 0x8000);
      ASSERT_TRUE(equal) << std::hex << bits;
    }
  }
}

}  // namespace
}  // namespace millet
