// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>

#include "golden/golden_vectors.hpp"
#include "millet/quantize/quantize_mx.hpp"
#include "numeric/floating_point_mode.hpp"
#include "numeric/oracle.hpp"
#include "quantize/scale_oracle.hpp"

namespace millet {
namespace {

using oracle::bits_of;
using oracle::float_of;

using Input = std::array<float, 32>;
using Codes = std::array<E4M3, 32>;

constexpr bool quantizes_at_compile_time() {
  float x[32] = {448.0F, 1.0F};
  E4M3 codes[32] = {};
  const E8M0 scale = quantize_block(x, 1, ScaleMode::rceil, codes);
  return scale.bits == 127 && codes[0].bits == 0x7E && codes[1].bits == 0x38 && codes[31].bits == 0;
}
static_assert(quantizes_at_compile_time());

void expect_golden(const Input& input, Index stride, ScaleMode mode, const golden::Block& block) {
  std::vector<float> spread(static_cast<std::size_t>(31 * stride + 1), 3e38F);  // what lies between must not count
  for (Index i = 0; i < 32; ++i) spread[i * stride] = input[i];
  std::array<E4M3, 34> codes;  // guards on both sides
  codes.fill(E4M3{0x55});
  const golden::EncodedBlock& expected = block.encoded(mode);
  const std::string where = fmt::format("{} {} stride {}: {}", block.id, to_string(mode), stride, block.note);
  EXPECT_EQ(int{quantize_block(spread.data(), stride, mode, codes.data() + 1).bits}, int{expected.scale.bits}) << where;
  EXPECT_EQ(codes[0].bits, 0x55) << where;
  EXPECT_EQ(codes[33].bits, 0x55) << where;
  if (expected.scale.is_nan()) return;  // the element bytes are unspecified
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(int{codes[i + 1].bits}, int{expected.codes[i].bits}) << where << " element " << i;
  }
}

TEST(QuantizeBlock, GoldenVectors) {
  for (const golden::Block& block : golden::vectors().blocks) {
    for (const ScaleMode mode : scale_modes) {
      for (const Index stride : {Index{1}, Index{7}}) expect_golden(block.input, stride, mode, block);
    }
  }
}

TEST(QuantizeBlock, GoldenVectorsInEveryFloatingPointMode) {
  if (!can_set_floating_point_mode) GTEST_SKIP() << "setting flush-to-zero is implemented for x86-64 only";
  for (const FloatingPointMode& hostile : hostile_modes) {
    SCOPED_TRACE(hostile.name);
    for (const golden::Block& block : golden::vectors().blocks) {
      for (const ScaleMode mode : scale_modes) {
        Codes codes;
        E8M0 scale{};
        in_mode(hostile, [&] { scale = quantize_block(block.input.data(), 1, mode, codes.data()); });
        const golden::EncodedBlock& expected = block.encoded(mode);
        EXPECT_EQ(int{scale.bits}, int{expected.scale.bits}) << block.id;
        if (!expected.scale.is_nan()) {
          EXPECT_EQ(codes, expected.codes) << block.id;
        }
      }
    }
  }
}

TEST(QuantizeBlock, DequantizesToTheGoldenValues) {
  for (const golden::Dequantization& record : golden::vectors().dequant) {
    const MxMatrixView<> view{&record.code, &record.scale, RowMajor(1, 32), row_major_scales(1, 32)};
    const float value = view(0, 0);
    const std::string where =
        fmt::format("scale {} code {:#04x}: {}", record.scale.bits, record.code.bits, record.note);
    if (std::isnan(record.value)) {
      EXPECT_TRUE(std::isnan(value)) << where;
      EXPECT_TRUE(BF16::round(value).is_nan()) << where;
    } else {
      EXPECT_EQ(bits_of(value), bits_of(record.value)) << where;
      EXPECT_EQ(BF16::round(value), record.bf16) << where;
    }
  }
}

TEST(QuantizeBlock, OneNanOrInfinityAnywherePoisonsTheBlock) {
  for (const std::uint32_t bad : {0x7F800000U, 0xFF800000U, 0x7FC00000U, 0xFF800001U}) {
    for (std::size_t lane = 0; lane < 32; ++lane) {
      for (const ScaleMode mode : scale_modes) {
        Input input;
        input.fill(1.0F);
        input[lane] = float_of(bad);
        Codes codes{};
        EXPECT_EQ(int{quantize_block(input.data(), 1, mode, codes.data()).bits}, 255) << lane;
        for (const E4M3 code : codes) EXPECT_EQ(code.bits, 0x7F);  // what the header promises
      }
    }
  }
}

/// Blocks whose magnitudes spread over `spread` binades around a random exponent anywhere in the range of f32.
Input random_block(std::mt19937& random, int spread) {
  const int centre = static_cast<int>(random() % 278) - 149;
  Input input;
  for (float& x : input) {
    const int exponent = centre - static_cast<int>(random() % static_cast<unsigned>(spread));
    const double significand = 1.0 + static_cast<double>(random()) * 0x1p-32;
    x = static_cast<float>(std::ldexp((random() & 1) != 0 ? -significand : significand, exponent));
    if (std::isinf(x)) x = std::copysign(float_of(0x7F7FFFFF), x);
  }
  return input;
}

// The elements are the nearest codes to x / scale, saturated, for the scale that the mode's formula gives.
TEST(QuantizeBlock, EveryElementIsTheNearestCode) {
  std::mt19937 random(6);
  for (int i = 0; i < 2000; ++i) {
    const Input input = random_block(random, 1 + i % 24);
    float amax = 0;
    for (const float x : input) amax = std::max(amax, std::abs(x));
    for (const ScaleMode mode : scale_modes) {
      Codes codes;
      const E8M0 scale = quantize_block(input.data(), 1, mode, codes.data());
      ASSERT_EQ(scale.bits, oracle::scale_code(amax, mode));
      for (std::size_t lane = 0; lane < 32; ++lane) {
        const double unscaled = std::ldexp(static_cast<double>(input[lane]), 127 - scale.bits);
        ASSERT_EQ(codes[lane].bits, oracle::nearest_e4m3(unscaled, Overflow::saturate)) << unscaled;
      }
    }
  }
}

}  // namespace
}  // namespace millet
