// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/envelope.hpp"

#include <gtest/gtest.h>

namespace millet {
namespace {

constexpr Envelope tile_kernel{
    .m_min = 2, .m_max = 64, .n_multiple = 16, .k_multiple = 128, .k_max = 8192, .bf16_activations = true};

std::string_view reason(Index m, Index n, Index k, ActivationFormat activation = ActivationFormat::mx) {
  return tile_kernel.contains(GemmProblem{m, n, k, activation}).reason;
}

std::string_view grouped_reason(Index slots, Index n, Index k, ActivationFormat activation = ActivationFormat::mx) {
  GroupedProblem problem;
  problem.experts = 8;
  problem.slots = slots;
  problem.n = n;
  problem.k = k;
  problem.activation = activation;
  return tile_kernel.contains(problem).reason;
}

TEST(Envelope, TakesItsCorners) {
  EXPECT_EQ(reason(2, 16, 128), "");
  EXPECT_EQ(reason(64, 16 * 1001, 8192), "");
  EXPECT_EQ(reason(64, 16, 8192, ActivationFormat::bf16), "");
}

TEST(Envelope, SaysWhichLimitAProblemPasses) {
  EXPECT_EQ(reason(1, 16, 128), "m outside the envelope");
  EXPECT_EQ(reason(65, 16, 128), "m outside the envelope");
  EXPECT_EQ(reason(2, 8, 128), "n not a multiple of the n tile");
  EXPECT_EQ(reason(2, 17, 128), "n not a multiple of the n tile");
  EXPECT_EQ(reason(2, 16, 96), "k not a multiple of the k tile");
  EXPECT_EQ(reason(2, 16, 8192 + 128), "k outside the envelope");
  EXPECT_EQ(reason(2, 16, 128, ActivationFormat::f32), "f32 activations unsupported");
  constexpr Envelope only_mx{};
  EXPECT_EQ(only_mx.contains(GemmProblem{1, 1, 32, ActivationFormat::bf16}).reason, "bf16 activations unsupported");
  constexpr Envelope f32_too{.f32_activations = true};
  EXPECT_TRUE(f32_too.contains(GemmProblem{1, 1, 32, ActivationFormat::f32}));
}

TEST(Envelope, LimitsOnMDoNotHoldForSlots) {
  for (const Index slots : {1, 2, 64, 65, 4096}) EXPECT_EQ(grouped_reason(slots, 16, 128), "") << slots;
  EXPECT_EQ(grouped_reason(4, 8, 128), "n not a multiple of the n tile");
  EXPECT_EQ(grouped_reason(4, 16, 96), "k not a multiple of the k tile");
  EXPECT_EQ(grouped_reason(4, 16, 8192 + 128), "k outside the envelope");
  EXPECT_EQ(grouped_reason(4, 16, 128, ActivationFormat::f32), "f32 activations unsupported");
}

TEST(Envelope, EpiloguesAreDeclaredOneByOne) {
  GroupedProblem p{.experts = 1, .slots = 4, .n = 16, .k = 32, .padded_slots = 4, .epilogue = Epilogue::swiglu};
  EXPECT_EQ(Envelope{}.contains(p).reason, "the swiglu epilogue is unsupported");
  EXPECT_TRUE(Envelope{.swiglu = true}.contains(p));
  p.epilogue = Epilogue::topk_sum;
  EXPECT_EQ(Envelope{.swiglu = true}.contains(p).reason, "the topk_sum epilogue is unsupported");
  EXPECT_TRUE(Envelope{.topk_sum = true}.contains(p));
}

TEST(Envelope, TheDefaultTakesEveryMxProblem) {
  constexpr Index huge = Index{1} << 40;
  static_assert(Envelope{}.contains(GemmProblem{1, 1, 32}));
  EXPECT_TRUE(Envelope{}.contains(GemmProblem{huge, huge + 1, huge + 32}));
  EXPECT_EQ(Envelope{}.contains(GemmProblem{1, 1, 33}).reason, "k not a multiple of the k tile");
}

}  // namespace
}  // namespace millet
