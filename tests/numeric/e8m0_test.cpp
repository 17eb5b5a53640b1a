// SPDX-License-Identifier: Apache-2.0
#include "millet/numeric/e8m0.hpp"

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

constexpr E8M0 code_of(int code) { return E8M0{static_cast<std::uint8_t>(code)}; }

static_assert(code_of(127).value() == 1.0F && code_of(0).value() == 0x1p-127F && code_of(254).value() == 0x1p127F);
static_assert(E8M0::round(3.0F, PowerRounding::up).bits == 129);

/// The power of two next to a finite |x| as an exponent, by comparing with powers; zero counts as the smallest power.
int neighbouring_exponent(double magnitude, PowerRounding rounding) {
  if (magnitude == 0) return -127;
  int exponent = std::ilogb(magnitude);
  if (rounding == PowerRounding::up && std::ldexp(1.0, exponent) < magnitude) ++exponent;
  return exponent;
}

/// What E8M0::round must give for any f32.
int rounded_code(float x, PowerRounding rounding, Overflow overflow) {
  const int limit = overflow == Overflow::saturate ? 254 : 255;
  if (std::isnan(x)) return 255;
  if (std::isinf(x)) return limit;
  const int code = neighbouring_exponent(std::abs(static_cast<double>(x)), rounding) + 127;
  return code < 0 ? 0 : code > 254 ? limit : code;
}

void expect_rounding(std::uint32_t bits) {
  for (const PowerRounding rounding : {PowerRounding::up, PowerRounding::toward_zero}) {
    for (const Overflow overflow : {Overflow::saturate, Overflow::to_nan}) {
      ASSERT_EQ(E8M0::round(float_of(bits), rounding, overflow).bits, rounded_code(float_of(bits), rounding, overflow))
          << std::hex << bits << (rounding == PowerRounding::up ? " up" : " toward zero");
    }
  }
}

TEST(E8M0Decode, EveryCodeIsTheGoldenValue) {
  for (const golden::E8M0Decode& record : golden::vectors().e8m0_decode) {
    const int code = record.code.bits;
    if (!record.exponent) {
      EXPECT_TRUE(record.code.is_nan()) << code;
      EXPECT_TRUE(std::isnan(record.code.value())) << code;
      EXPECT_TRUE(record.bf16.is_nan() && BF16::round(record.code.value()).is_nan()) << code;
      continue;
    }
    EXPECT_FALSE(record.code.is_nan()) << code;
    EXPECT_EQ(bits_of(record.code.value()), bits_of(record.value)) << code;
    EXPECT_EQ(BF16::round(record.code.value()), record.bf16) << code;
    EXPECT_EQ(record.code.exponent(), *record.exponent) << code;
  }
}

TEST(E8M0Decode, EveryCodeButTheLastIsAPowerOfTwo) {
  for (int code = 0; code < 255; ++code) EXPECT_EQ(code_of(code).value(), std::ldexp(1.0, code - 127)) << code;
  EXPECT_TRUE(std::isnan(code_of(255).value()));
}

TEST(E8M0Round, GoldenVectors) {
  for (const golden::E8M0Rounding& record : golden::vectors().f32_to_e8m0) {
    const auto rounded = [&](PowerRounding rounding, Overflow overflow) {
      return int{E8M0::round(record.input, rounding, overflow).bits};
    };
    EXPECT_EQ(rounded(PowerRounding::up, Overflow::saturate), record.up_saturated.bits) << record.note;
    EXPECT_EQ(rounded(PowerRounding::up, Overflow::to_nan), record.up_or_nan.bits) << record.note;
    EXPECT_EQ(rounded(PowerRounding::toward_zero, Overflow::saturate), record.toward_zero_saturated.bits)
        << record.note;
    EXPECT_EQ(rounded(PowerRounding::toward_zero, Overflow::to_nan), record.toward_zero_or_nan.bits) << record.note;
  }
}

TEST(E8M0Round, EveryPowerComesBackWithoutItsSign) {
  for (int code = 0; code < 256; ++code) {
    for (const PowerRounding rounding : {PowerRounding::up, PowerRounding::toward_zero}) {
      EXPECT_EQ(E8M0::round(code_of(code).value(), rounding).bits, code);
      EXPECT_EQ(E8M0::round(-code_of(code).value(), rounding).bits, code);
    }
  }
}

TEST(E8M0Round, NeighboursOfEveryPower) {
  for (int exponent = -149; exponent <= 127; ++exponent) {
    const std::uint32_t power = bits_of(std::ldexp(1.0F, exponent));
    for (const std::uint32_t bits : {power - 1, power, power + 1}) {
      expect_rounding(bits);
      expect_rounding(bits | 0x80000000U);
    }
  }
}

TEST(E8M0Round, IsTheNeighbouringPower) {
  std::mt19937 random(4);
  std::uniform_int_distribution<std::uint32_t> any;
  for (int i = 0; i < 1 << 18; ++i) {
    expect_rounding(any(random));
    expect_rounding(any(random) & 0x80FFFFFFU);  // subnormal, or the first normal binade
  }
}

TEST(E8M0Round, DoesNotDependOnTheFloatingPointMode) {
  if (!can_set_floating_point_mode) GTEST_SKIP() << "setting flush-to-zero is implemented for x86-64 only";
  std::vector<std::uint32_t> inputs;
  for (std::uint32_t bits = 0; bits < 0x01800000U; bits += 0x101) inputs.push_back(bits);
  const auto round_all = [&] {
    std::vector<E8M0> codes;
    for (const std::uint32_t bits : inputs) {
      codes.push_back(E8M0::round(float_of(bits), PowerRounding::up));
      codes.push_back(E8M0::round(float_of(bits), PowerRounding::toward_zero));
    }
    return codes;
  };
  const std::vector<E8M0> expected = round_all();
  for (const FloatingPointMode& mode : hostile_modes) {
    std::vector<E8M0> codes;
    std::vector<std::uint32_t> values;
    in_mode(mode, [&] {
      codes = round_all();
      for (int code = 0; code < 255; ++code) values.push_back(bits_of(code_of(code).value()));
    });
    EXPECT_EQ(codes, expected) << mode.name;
    for (int code = 0; code < 255; ++code) EXPECT_EQ(values[code], bits_of(code_of(code).value())) << mode.name;
  }
}

}  // namespace
}  // namespace millet
