// SPDX-License-Identifier: Apache-2.0
// Scales folded into f16 values: which codes fit, and what each becomes. The arithmetic that the kernels call, on the
// host.

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "millet/backends/hopper/tiles/folded_scales.hpp"
#include "millet/numeric/e4m3.hpp"

namespace millet::hopper {
namespace {

/// A normal f16, from its upper byte; the lower is 0.
double half_of(std::uint32_t upper_byte) {
  return std::ldexp(1.0 + (upper_byte & 3U) / 4.0, static_cast<int>(upper_byte >> 2 & 31U) - 15);
}

TEST(HopperFoldedScales, PowersAreThoseOfTheCodes) {
  for (std::uint32_t base = 0; base <= largest_base; ++base) {
    for (std::uint32_t code = base < fold_reach ? 0 : base - fold_reach; code <= base; ++code) {
      ASSERT_TRUE(within_reach(base, code));
      const std::uint32_t byte = half_power_byte(step_of(code, base));
      ASSERT_LT(byte, 0x7CU) << "infinite or negative: base " << base << " code " << code;
      ASSERT_EQ(half_of(byte), std::ldexp(1.0, static_cast<int>(code) - static_cast<int>(base) + fold_headroom))
          << "base " << base << " code " << code;
    }
  }
}

TEST(HopperFoldedScales, EveryValueTimesEveryPowerIsAnF16) {
  for (std::uint32_t step = 0; step <= fold_reach; ++step) {
    for (int bits = 0; bits < 256; ++bits) {
      const double value = E4M3{static_cast<std::uint8_t>(bits)}.value();
      if (std::isnan(value)) continue;
      const double folded = value * half_of(half_power_byte(step));
      ASSERT_LE(std::abs(folded), 65504.0) << "step " << step << " value " << value;
      const double quanta = std::ldexp(folded, 24);  // of the smallest f16; four significant bits always fit
      ASSERT_EQ(quanta, std::trunc(quanta)) << "step " << step << " value " << value;
    }
  }
}

TEST(HopperFoldedScales, StepsBeyondReachShow) {
  for (std::uint32_t base = 0; base <= largest_base; ++base) {
    for (std::uint32_t code = 0; code <= base; ++code) {
      ASSERT_EQ((step_of(code, base) & beyond_reach) == 0, within_reach(base, code))
          << "base " << base << " code " << code;
    }
  }
  EXPECT_FALSE(within_reach(255, 255));  // NaN
}

TEST(HopperFoldedScales, FourCodesAtOnceAreEachOnItsOwn) {
  std::mt19937 random(3);
  for (std::uint32_t base = 0; base <= largest_base; ++base) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::uint32_t codes = 0;
      std::uint32_t wanted = 0;
      for (int i = 0; i < 4; ++i) {
        const std::uint32_t below = static_cast<std::uint32_t>(random()) % (std::min(base, fold_reach) + 1);
        codes |= (base - below) << 8 * i;
        wanted |= half_power_byte(step_of(base - below, base)) << 8 * i;
      }
      ASSERT_EQ(codes * 4 + power_bytes_offset(base), wanted) << "base " << base << " codes " << codes;
    }
  }
}

TEST(HopperFoldedScales, AbsentCodesEqualTheFirst) {
  EXPECT_EQ(with_first_repeated(0x04030201U, 1), 0x01010101U);
  EXPECT_EQ(with_first_repeated(0x04030201U, 2), 0x01010201U);
  EXPECT_EQ(with_first_repeated(0x04030201U, 3), 0x01030201U);
}

}  // namespace
}  // namespace millet::hopper
