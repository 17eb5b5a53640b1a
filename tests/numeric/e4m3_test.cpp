// SPDX-License-Identifier: Apache-2.0
#include "millet/numeric/e4m3.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "golden/golden_vectors.hpp"
#include "numeric/floating_point_mode.hpp"
#include "numeric/oracle.hpp"

namespace millet {
namespace {

using oracle::bits_of;
using oracle::float_of;

constexpr E4M3 code_of(int code) { return E4M3{static_cast<std::uint8_t>(code)}; }
constexpr Overflow overflows[] = {Overflow::saturate, Overflow::to_nan};

static_assert(E4M3::round(448.0F).bits == 0x7E && E4M3::round(-0.0F).bits == 0x80);
static_assert(E4M3::round(464.0F, 0, Overflow::to_nan).bits == 0x7E && E4M3::round(1.0F, -9).bits == 0x01);
static_assert(code_of(0x01).value() == 0x1p-9F && e4m3_table.value[0x7E] == E4M3::max_finite);

TEST(E4M3Decode, EveryCodeIsTheGoldenValue) {
  for (const golden::E4M3Decode& record : golden::vectors().e4m3_decode) {
    const int code = record.code.bits;
    if (std::isnan(record.value)) {
      EXPECT_TRUE(std::isnan(record.code.value())) << code;
    } else {
      EXPECT_EQ(bits_of(record.code.value()), bits_of(record.value)) << code;
    }
  }
}

TEST(E4M3Decode, EveryFiniteCodeIsTheFormulaOfTheSpecification) {
  for (int code = 0; code < 0x7F; ++code) {
    EXPECT_EQ(code_of(code).value(), oracle::e4m3_magnitude(code)) << code;
    EXPECT_EQ(code_of(code | 0x80).value(), -oracle::e4m3_magnitude(code)) << code;
  }
}

TEST(E4M3Decode, TheTableIsTheArithmetic) {
  for (int code = 0; code < 256; ++code) {
    EXPECT_EQ(bits_of(e4m3_table.value[code]), bits_of(code_of(code).value())) << code;
  }
}

TEST(E4M3Decode, NanIsOnlyS1111111AndZeroHasASign) {
  for (int code = 0; code < 256; ++code) {
    const bool nan = code == 0x7F || code == 0xFF;
    EXPECT_EQ(code_of(code).is_nan(), nan) << code;
    EXPECT_EQ(std::isnan(code_of(code).value()), nan) << code;
    EXPECT_EQ(std::signbit(code_of(code).value()), code >= 0x80) << code;
  }
  EXPECT_EQ(bits_of(code_of(0x80).value()), 0x80000000U);
}

TEST(E4M3Round, GoldenVectors) {
  for (const golden::E4M3Rounding& record : golden::vectors().f32_to_e4m3) {
    EXPECT_EQ(E4M3::round(record.input).bits, record.saturated.bits) << record.input << " " << record.note;
    EXPECT_EQ(E4M3::round(record.input, 0, Overflow::to_nan).bits, record.or_nan.bits)
        << record.input << " " << record.note;
  }
}

TEST(E4M3Round, EveryCodeComesBack) {
  for (int code = 0; code < 256; ++code) {  // NaN too: the sign is kept
    for (const Overflow overflow : overflows) {
      EXPECT_EQ(E4M3::round(code_of(code).value(), 0, overflow).bits, code);
    }
  }
}

TEST(E4M3Round, NeighboursOfEveryBoundary) {
  for (int code = 0; code <= 0x7E; ++code) {
    const auto tie = static_cast<float>(oracle::e4m3_midpoint(code));
    ASSERT_EQ(tie, oracle::e4m3_midpoint(code));
    const int above = code + 1 == 0x7F ? 0x7E : code + 1;  // saturated
    const int even = code % 2 == 0 ? code : code + 1;
    for (const int sign : {0, 0x80}) {
      const auto rounded = [&](std::uint32_t magnitude, Overflow overflow) {
        return E4M3::round(float_of(magnitude | static_cast<std::uint32_t>(sign) << 24), 0, overflow).bits;
      };
      for (const Overflow overflow : overflows) {
        const int beyond = overflow == Overflow::to_nan ? code + 1 : above;  // code + 1 after 448 is the NaN
        EXPECT_EQ(rounded(bits_of(tie) - 1, overflow), sign | code);
        EXPECT_EQ(rounded(bits_of(tie), overflow), sign | even);
        EXPECT_EQ(rounded(bits_of(tie) + 1, overflow), sign | beyond);
      }
    }
  }
}

TEST(E4M3Round, NeverDecreases) {
  int last = 0;
  for (std::uint32_t bits = 0; bits <= 0x7F800000U; bits += 0x0801) {
    const int code = E4M3::round(float_of(bits)).bits;
    ASSERT_GE(code, last) << std::hex << bits;
    last = code;
  }
  EXPECT_EQ(last, 0x7E);
}

TEST(E4M3Round, IsTheNearestCode) {
  std::mt19937 random(1);
  std::uniform_int_distribution<std::uint32_t> any;
  std::uniform_int_distribution<std::uint32_t> in_range(bits_of(0x1p-11F), bits_of(512.0F));
  for (int i = 0; i < 1 << 18; ++i) {
    for (const std::uint32_t bits : {any(random), in_range(random) | (any(random) & 0x80000000U)}) {
      const float x = float_of(bits);
      for (const Overflow overflow : overflows) {
        ASSERT_EQ(E4M3::round(x, 0, overflow).bits, oracle::nearest_e4m3(x, overflow)) << std::hex << bits;
      }
    }
  }
}

TEST(E4M3Round, NansKeepTheirSign) {
  for (const std::uint32_t payload : {0x1U, 0x3FFFFFU, 0x400000U, 0x7FFFFFU}) {
    for (const Overflow overflow : overflows) {
      for (const int exponent : {-1024, 0, 1024}) {
        EXPECT_EQ(E4M3::round(float_of(0x7F800000U | payload), exponent, overflow).bits, 0x7F);
        EXPECT_EQ(E4M3::round(float_of(0xFF800000U | payload), exponent, overflow).bits, 0xFF);
      }
    }
  }
}

// x * 2^exponent is exact in double wherever the result is not plainly zero or overflow, so the oracle rounds once.
TEST(E4M3RoundScaled, IsTheNearestCodeForEveryExponent) {
  std::mt19937 random(2);
  std::uniform_int_distribution<std::uint32_t> any;
  for (int exponent = -1024; exponent <= 1024; ++exponent) {
    std::vector<std::uint32_t> inputs = {0x00000001U, 0x00400000U, 0x007FFFFFU, 0x00800000U, 0x7F7FFFFFU, 0x7F800000U};
    for (int i = 0; i < 8; ++i) inputs.push_back(any(random));
    for (int code = 0; code <= 0x7E; ++code) {
      const double tie = std::ldexp(oracle::e4m3_midpoint(code), -exponent);
      const auto input = static_cast<float>(tie);
      if (input != tie || std::isinf(input)) continue;  // this boundary is no f32 at this exponent
      for (const std::uint32_t bits : {bits_of(input) - 1, bits_of(input), bits_of(input) + 1}) inputs.push_back(bits);
    }
    for (const std::uint32_t bits : inputs) {
      for (const std::uint32_t signed_bits : {bits, bits ^ 0x80000000U}) {
        const float x = float_of(signed_bits);
        const double scaled = std::ldexp(static_cast<double>(x), exponent);
        for (const Overflow overflow : overflows) {
          ASSERT_EQ(E4M3::round(x, exponent, overflow).bits, oracle::nearest_e4m3(scaled, overflow))
              << std::hex << signed_bits << std::dec << " * 2^" << exponent;
        }
      }
    }
  }
}

TEST(E4M3RoundScaled, SubnormalInputsAreExact) {
  EXPECT_EQ(E4M3::round(0x1p-149F, 149).bits, 0x38);
  EXPECT_EQ(E4M3::round(0x1p-149F, 149 - 9).bits, 0x01);
  EXPECT_EQ(E4M3::round(0x1p-149F, 149 - 10).bits, 0x00);  // tie to even
  EXPECT_EQ(E4M3::round(float_of(0x00400000), 127).bits, 0x38);
  EXPECT_EQ(E4M3::round(float_of(0x00440000), 127).bits, 0x38);  // 1.0625: tie to even
  EXPECT_EQ(E4M3::round(float_of(0x00440001), 127).bits, 0x39);
  EXPECT_EQ(E4M3::round(float_of(0x804C0000), 127).bits, 0xBA);  // 1.1875: tie to even
}

std::vector<E4M3> round_all(const std::vector<std::uint32_t>& inputs, const std::vector<int>& exponents) {
  std::vector<E4M3> codes;
  for (std::size_t i = 0; i < inputs.size(); ++i) codes.push_back(E4M3::round(float_of(inputs[i]), exponents[i]));
  return codes;
}

TEST(E4M3Round, DoesNotDependOnTheFloatingPointMode) {
  if (!can_set_floating_point_mode) GTEST_SKIP() << "setting flush-to-zero is implemented for x86-64 only";
  std::mt19937 random(3);
  std::uniform_int_distribution<std::uint32_t> any;
  std::vector<std::uint32_t> inputs;
  std::vector<int> exponents;
  for (int i = 0; i < 1 << 14; ++i) {
    inputs.push_back(any(random));
    exponents.push_back(127 - static_cast<int>((inputs.back() >> 23) & 0xFF) + static_cast<int>(any(random) % 24) - 14);
    inputs.push_back(any(random) & 0x807FFFFFU);  // subnormal
    exponents.push_back(127 + static_cast<int>(any(random) % 24));
  }
  const std::vector<E4M3> expected = round_all(inputs, exponents);
  for (const FloatingPointMode& mode : hostile_modes) {
    std::vector<E4M3> codes;
    std::vector<float> values;
    in_mode(mode, [&] {
      codes = round_all(inputs, exponents);
      for (int code = 0; code < 256; ++code) values.push_back(code_of(code).value());
    });
    EXPECT_EQ(codes, expected) << mode.name;
    for (int code = 0; code < 256; ++code)
      EXPECT_EQ(bits_of(values[code]), bits_of(e4m3_table.value[code])) << mode.name;
  }
}

}  // namespace
}  // namespace millet
