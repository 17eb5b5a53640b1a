// SPDX-License-Identifier: Apache-2.0
// The gated activation of the gfx950 kernels, whose operations are the same on the host and the device.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "millet/backends/gfx950/tiles/swiglu.hpp"

namespace millet::gfx950 {
namespace {

/// What it should be, with the gate's product with alpha rounded as in f32.
long double exact(const Swiglu& s, float gate, float up) {
  const float g = std::fmin(gate, s.limit);
  const long double u = static_cast<long double>(std::fmin(std::fmax(up, -s.limit), s.limit) + s.up_offset);
  const auto z = static_cast<long double>(s.alpha * g);
  return static_cast<long double>(g) * u / (1.0L + std::exp(-z));
}

double places(float got, long double wanted) {
  const double place = std::fmax(std::exp2(std::logb(static_cast<double>(wanted)) - 23), 0x1p-149);
  return std::fabs(static_cast<double>(static_cast<long double>(got) - wanted)) / place;
}

TEST(Gfx950Swiglu, IsWithinFiveUnitsInTheLastPlace) {
  for (const Swiglu& s : {Swiglu{}, swiglu_oai, Swiglu{0.5F, 0.25F, -1.0F}}) {
    double worst = 0;
    for (int i = -30000; i <= 30000; ++i) {
      const float gate = static_cast<float>(i) * 0x1.01p-8F;  // +-117: into the subnormal results
      for (const float up : {1.0F, -3.7F, 0x1.3p+90F})
        worst = std::fmax(worst, places(swiglu(s, gate, up), exact(s, gate, up)));
    }
    EXPECT_LT(worst, 5.0);
    EXPECT_GT(worst, 0.4);  // it rounds
  }
}

TEST(Gfx950Swiglu, KeepsSmallGatesAndSaturatesLargeOnes) {
  const Swiglu silu{};
  for (int exponent = -149; exponent < 100; ++exponent) {
    const float gate = std::ldexp(1.0F, exponent);
    EXPECT_LE(places(swiglu(silu, gate, 8.0F), exact(silu, gate, 8.0F)), 5.0) << exponent;
    EXPECT_LE(places(swiglu(silu, -gate, 8.0F), exact(silu, -gate, 8.0F)), 5.0) << exponent;
  }
  EXPECT_EQ(swiglu(silu, 1e30F, 2.0F), 2e30F);
  EXPECT_EQ(swiglu(silu, -1e30F, 2.0F), 0.0F);
  EXPECT_EQ(swiglu(silu, std::numeric_limits<float>::infinity(), 1.0F), std::numeric_limits<float>::infinity());
}

TEST(Gfx950Swiglu, PassesNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Swiglu& s : {Swiglu{}, swiglu_oai}) {
    EXPECT_TRUE(std::isnan(swiglu(s, nan, 1.0F)));
    EXPECT_TRUE(std::isnan(swiglu(s, 1.0F, nan)));
    EXPECT_TRUE(std::isnan(swiglu(s, nan, 0.0F)));
  }
}

}  // namespace
}  // namespace millet::gfx950
