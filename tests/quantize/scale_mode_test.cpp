// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "millet/quantize/quantize_mx.hpp"
#include "numeric/floating_point_mode.hpp"
#include "numeric/oracle.hpp"
#include "quantize/scale_oracle.hpp"

namespace millet {
namespace {

using oracle::bits_of;
using oracle::float_of;

constexpr std::uint32_t last_finite = 0x7F7FFFFFU;

static_assert(scale_for_amax(0, ScaleMode::rceil).bits == 0);
static_assert(scale_for_amax(0x43E00000U, ScaleMode::rceil).bits == 127);  // 448
static_assert(scale_for_amax(0x7F800000U, ScaleMode::floor).is_nan());

/// Magnitudes where some mode changes its mind: the neighbourhoods of 1, 1.75, 1.8125 (464 / 256) and 1.9375 times
/// every power of two, the subnormals included; then random ones.
std::vector<std::uint32_t> interesting_magnitudes(int random_count) {
  std::vector<std::uint32_t> all;
  for (int exponent = -149; exponent <= 127; ++exponent) {
    for (const float significand : {1.0F, 1.75F, 1.8125F, 1.9375F}) {
      const std::uint32_t centre = bits_of(std::ldexp(significand, exponent));
      for (int ulps = -4; ulps <= 4; ++ulps) {
        const std::int64_t bits = std::int64_t{centre} + ulps;
        if (bits >= 0 && bits <= last_finite) all.push_back(static_cast<std::uint32_t>(bits));
      }
    }
  }
  all.push_back(last_finite);
  std::mt19937 random(1);
  std::uniform_int_distribution<std::uint32_t> any(0, last_finite);
  for (int i = 0; i < random_count; ++i) all.push_back(any(random));
  return all;
}

class ScaleModes : public testing::TestWithParam<ScaleMode> {};

TEST_P(ScaleModes, IsTheFormulaOfTheMode) {
  for (const std::uint32_t amax : interesting_magnitudes(1 << 22)) {
    ASSERT_EQ(scale_for_amax(amax, GetParam()).bits, oracle::scale_code(float_of(amax), GetParam()))
        << std::hex << amax;
  }
}

// Around 448 * 2^-127 the quotient by 448 is a subnormal f32: every input there, not a sample.
TEST_P(ScaleModes, IsTheFormulaWhereTheQuotientIsSubnormal) {
  for (std::uint32_t amax = 0x045FF000U; amax <= 0x04610000U; ++amax) {
    ASSERT_EQ(scale_for_amax(amax, GetParam()).bits, oracle::scale_code(float_of(amax), GetParam()))
        << std::hex << amax;
  }
}

TEST_P(ScaleModes, OnlyNanAndInfinityGiveNan) {
  for (const std::uint32_t amax : {0x7F800000U, 0x7F800001U, 0x7FC00000U, 0x7FFFFFFFU}) {
    EXPECT_EQ(scale_for_amax(amax, GetParam()).bits, 255) << std::hex << amax;
  }
  EXPECT_LE(scale_for_amax(last_finite, GetParam()).bits, 247);
}

TEST_P(ScaleModes, NeverDecreases) {
  int last = 0;
  for (std::uint32_t amax = 0; amax <= last_finite; amax += 0x1003) {
    const int code = scale_for_amax(amax, GetParam()).bits;
    ASSERT_GE(code, last) << std::hex << amax;
    last = code;
  }
  EXPECT_GE(last, 246);
}

TEST_P(ScaleModes, NamesComeBack) {
  EXPECT_EQ(parse_scale_mode(to_string(GetParam())), GetParam());
  EXPECT_EQ(parse_scale_mode("rounded"), std::nullopt);
  EXPECT_EQ(parse_scale_mode(""), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(All, ScaleModes, testing::ValuesIn(scale_modes),
                         [](const auto& tested) { return std::string(to_string(tested.param)); });

/// amax / scale, exactly; a magnitude above 464 clips.
double unscaled(std::uint32_t amax, ScaleMode mode) {
  return std::ldexp(static_cast<double>(float_of(amax)), -scale_for_amax(amax, mode).exponent());
}

/// How much the block maximum loses, relative to itself.
double loss_of_maximum(std::uint32_t amax, ScaleMode mode) {
  const E8M0 scale = scale_for_amax(amax, mode);
  const double code = E4M3::round(float_of(amax), -scale.exponent()).value();
  return std::abs(code - unscaled(amax, mode)) / unscaled(amax, mode);
}

// Half an e4m3 ulp of a normal is at most 2^-4 of the value.
constexpr double rounding_loss = 0x1p-4;

TEST(ScaleModeRules, RceilNeverClipsAndWastesNothing) {
  for (const std::uint32_t amax : interesting_magnitudes(1 << 18)) {
    const E8M0 scale = scale_for_amax(amax, ScaleMode::rceil);
    if (amax == 0x04600001U) {  // the one value that the f32 quotient rounds down: an ulp above 448, which rounds back
      EXPECT_EQ(scale.bits, 0);
      EXPECT_EQ(E4M3::round(float_of(amax), 127, Overflow::to_nan).bits, 0x7E);
      continue;
    }
    ASSERT_LE(unscaled(amax, ScaleMode::rceil), 448.0) << std::hex << amax;
    if (scale.bits == 0) continue;  // clamped: nothing smaller exists
    ASSERT_GT(unscaled(amax, ScaleMode::rceil), 224.0) << "half the scale would do: " << std::hex << amax;
    ASSERT_LE(loss_of_maximum(amax, ScaleMode::rceil), rounding_loss) << std::hex << amax;
  }
}

TEST(ScaleModeRules, FloorClipsAtMostAnEighthOfTheMaximum) {
  double worst = 0;
  for (const std::uint32_t amax : interesting_magnitudes(1 << 18)) {
    if (amax < bits_of(0x1p-119F)) continue;  // the scale is clamped to 2^-127
    ASSERT_GE(unscaled(amax, ScaleMode::floor), 256.0) << std::hex << amax;
    ASSERT_LT(unscaled(amax, ScaleMode::floor), 512.0) << std::hex << amax;
    worst = std::max(worst, loss_of_maximum(amax, ScaleMode::floor));
  }
  EXPECT_LT(worst, 0.125);
  EXPECT_GT(worst, 0.125 - 1e-6);  // approached just below the next power of two
}

TEST(ScaleModeRules, EvenClipsOnlyBelow496) {
  double largest = 0;
  for (const std::uint32_t amax : interesting_magnitudes(1 << 18)) {
    if (amax < bits_of(0x1p-119F)) continue;
    ASSERT_GE(unscaled(amax, ScaleMode::even), 248.0) << std::hex << amax;
    largest = std::max(largest, unscaled(amax, ScaleMode::even));
  }
  EXPECT_LT(largest, 496.0);
  EXPECT_GT(largest, 495.99);
}

TEST(ScaleModeRules, CeilWastesABinadeUnlessRceilNeedsItToo) {
  for (const std::uint32_t amax : interesting_magnitudes(1 << 18)) {
    if (amax < bits_of(0x1p-118F)) continue;
    ASSERT_LE(unscaled(amax, ScaleMode::ceil), 256.0) << std::hex << amax;
    ASSERT_GT(unscaled(amax, ScaleMode::ceil), 128.0) << std::hex << amax;
    const double significand = std::ldexp(static_cast<double>(float_of(amax)), -std::ilogb(float_of(amax)));
    const int wasted = significand > 1.0 && significand <= 1.75 ? 1 : 0;
    ASSERT_EQ(scale_for_amax(amax, ScaleMode::ceil).bits - scale_for_amax(amax, ScaleMode::rceil).bits, wasted)
        << std::hex << amax;
  }
}

TEST(ScaleModeRules, DoNotDependOnTheFloatingPointMode) {
  if (!can_set_floating_point_mode) GTEST_SKIP() << "setting flush-to-zero is implemented for x86-64 only";
  std::vector<std::uint32_t> magnitudes = interesting_magnitudes(0);
  for (std::uint32_t amax = 0x04600002U; amax <= 0x04DFFFFEU; amax += 0x1001) magnitudes.push_back(amax);
  const auto codes_of_all = [&] {
    std::vector<E8M0> codes;
    for (const std::uint32_t amax : magnitudes) {
      for (const ScaleMode mode : scale_modes) codes.push_back(scale_for_amax(amax, mode));
    }
    return codes;
  };
  const std::vector<E8M0> expected = codes_of_all();
  for (const FloatingPointMode& mode : hostile_modes) {
    std::vector<E8M0> codes;
    in_mode(mode, [&] { codes = codes_of_all(); });
    EXPECT_EQ(codes, expected) << mode.name;
  }
}

}  // namespace
}  // namespace millet
