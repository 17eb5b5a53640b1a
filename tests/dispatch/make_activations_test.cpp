// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <vector>

#include "error/fails_with.hpp"
#include "millet/dispatch/host_operands.hpp"

namespace millet {
namespace {

/// 2 x 64 values. Element 1 rounds to one e4m3 code directly and to the next by way of bf16: at scale 2^0, 1.0625 is
/// the tie of 1 and 1.125, and 1.0625 + 2^-9 becomes that tie in bf16, which goes to the even code.
std::vector<float> samples() {
  std::vector<float> x(2 * 64);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) - 60.0F;
  x[0] = 448.0F;
  x[1] = 1.0625F + 0x1p-9F;
  return x;
}

TEST(MakeActivations, MxIsTheQuantization) {
  const std::vector<float> x = samples();
  const auto a = make_activations(ActivationFormat::mx, x, 2, 64);
  ASSERT_TRUE(a) << a.error().message;
  EXPECT_EQ(a->format, ActivationFormat::mx);
  EXPECT_EQ(a->mx.rows(), 2);
  EXPECT_EQ(a->mx.cols(), 64);
  EXPECT_EQ(a->mx.values(), quantize_mx(x, 2, 64)->values());
  EXPECT_EQ(a->mx.scales(), quantize_mx(x, 2, 64)->scales());
  EXPECT_EQ(a->mx.values()[1], E4M3::round(1.125F));
  EXPECT_TRUE(a->bf16.empty());
  EXPECT_TRUE(a->f32.empty());
}

TEST(MakeActivations, F32KeepsTheValues) {
  const std::vector<float> x = samples();
  const auto a = make_activations(ActivationFormat::f32, x, 2, 64);
  ASSERT_TRUE(a) << a.error().message;
  EXPECT_EQ(a->format, ActivationFormat::f32);
  EXPECT_EQ(a->f32, x);
  EXPECT_TRUE(a->bf16.empty());
  EXPECT_EQ(a->mx.values(), quantize_mx(x, 2, 64)->values());
}

TEST(MakeActivations, Bf16IsQuantizedAfterItsOwnRounding) {
  const auto a = make_activations(ActivationFormat::bf16, samples(), 2, 64);
  ASSERT_TRUE(a) << a.error().message;
  EXPECT_EQ(a->format, ActivationFormat::bf16);
  EXPECT_TRUE(a->f32.empty());
  ASSERT_EQ(a->bf16.size(), 2U * 64);
  EXPECT_EQ(a->bf16[1].value(), 1.0625F);
  EXPECT_EQ(a->mx.values()[1], E4M3::round(1.0F));
  std::vector<float> rounded;
  for (const BF16 value : a->bf16) rounded.push_back(value.value());
  EXPECT_EQ(a->mx.values(), quantize_mx(rounded, 2, 64)->values());
  EXPECT_EQ(a->mx.scales(), quantize_mx(rounded, 2, 64)->scales());
}

TEST(MakeActivations, PassesTheQuantizersErrorsOn) {
  const std::vector<float> x(64);
  for (const ActivationFormat format : {ActivationFormat::mx, ActivationFormat::bf16, ActivationFormat::f32}) {
    EXPECT_TRUE(fails_with(make_activations(format, x, 1, 48), ErrorCode::invalid_layout, {"48"}));
    EXPECT_TRUE(fails_with(make_activations(format, x, 2, 64), ErrorCode::invalid_layout,
                           {"2 x 64 elements wanted, the input holds 64"}));
    EXPECT_TRUE(fails_with(make_activations(format, x, 0, 64), ErrorCode::invalid_layout, {"0"}));
  }
}

}  // namespace
}  // namespace millet
