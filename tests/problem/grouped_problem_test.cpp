// SPDX-License-Identifier: Apache-2.0
#include "millet/problem/grouped_problem.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "error/fails_with.hpp"

namespace millet {
namespace {

constexpr ErrorCode invalid = ErrorCode::invalid_problem;

GroupedProblem fields() {
  return {.experts = 128, .slots = 16, .n = 1536, .k = 6144, .a_div = 4, .block_m = 4, .padded_slots = 48};
}

TEST(GroupedProblem, KeepsItsFieldsAndDerivesTheRest) {
  GroupedProblem p = fields();
  p.weighted = true;
  p.activation = ActivationFormat::bf16;
  p.output = OutputType::f32;
  const Expected<GroupedProblem> made = make_grouped_problem(p);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(*made, p);
  EXPECT_EQ(made->a_rows(), 4);
  EXPECT_EQ(made->blocks(), 12);
  p.slots = 17;
  EXPECT_EQ(p.a_rows(), 5);  // the last row of A serves one slot
}

TEST(GroupedProblem, CountsHandComputedWork) {
  const GroupedProblem p = *make_grouped_problem(fields());
  EXPECT_EQ(p.flops(), 301989888.0);
  EXPECT_EQ(p.expert_bytes(), 9732096.0);
  EXPECT_EQ(p.bytes(10), 97320960.0 + 25344.0 + 49152.0);  // 10 experts, 4 rows of A, 16 rows of C in bf16
  EXPECT_EQ(p.bytes(0), 25344.0 + 49152.0);
}

TEST(GroupedProblem, NamesTheExtentThatIsTooSmall) {
  const std::pair<Index GroupedProblem::*, std::string> members[] = {{&GroupedProblem::experts, "experts"},
                                                                     {&GroupedProblem::slots, "slots"},
                                                                     {&GroupedProblem::n, "n"},
                                                                     {&GroupedProblem::k, "k"},
                                                                     {&GroupedProblem::a_div, "a_div"},
                                                                     {&GroupedProblem::block_m, "block_m"},
                                                                     {&GroupedProblem::padded_slots, "padded_slots"},
                                                                     {&GroupedProblem::top_k, "top_k"}};
  for (const auto& [member, name] : members) {
    for (const Index bad : {Index{0}, Index{-4}}) {
      GroupedProblem p = fields();
      p.*member = bad;
      EXPECT_TRUE(fails_with(make_grouped_problem(p), invalid,
                             {fmt::format("GroupedProblem: {0} must be at least 1, got {0}={1}", name, bad)}));
    }
  }
}

TEST(GroupedProblem, RejectsPartialScaleBlocks) {
  GroupedProblem p = fields();
  p.k = 6145;
  EXPECT_TRUE(fails_with(make_grouped_problem(p), invalid, {"GroupedProblem: k must", "got k=6145", "to k=6176"}));
}

TEST(GroupedProblem, RejectsPartialRoutingBlocks) {
  GroupedProblem p = fields();
  p.padded_slots = 50;
  EXPECT_TRUE(fails_with(make_grouped_problem(p), invalid, {"padded_slots must be a multiple of block_m=4, got 50"}));
}

TEST(GroupedProblem, RejectsIdsBeyond32Bits) {
  constexpr Index too_many = Index{1} << 31;
  GroupedProblem p = fields();
  p.n = 1;
  p.k = 32;
  p.experts = too_many;
  EXPECT_TRUE(fails_with(make_grouped_problem(p), invalid, {"32-bit, got experts=2147483648", "split the batch"}));
  p.experts = too_many - 1;
  EXPECT_TRUE(make_grouped_problem(p));
  p.slots = too_many;
  EXPECT_TRUE(fails_with(make_grouped_problem(p), invalid, {"slots=2147483648"}));
  p.slots = too_many - 2;
  EXPECT_TRUE(make_grouped_problem(p));
  p.padded_slots = too_many;
  EXPECT_TRUE(fails_with(make_grouped_problem(p), invalid, {"padded_slots=2147483648"}));
}

TEST(GroupedProblem, RejectsOperandsThatOffsetsCannotReach) {
  constexpr Index big = Index{1} << 30;
  GroupedProblem weights = fields();  // 2^62 bytes, were the elements f32
  weights.experts = big;
  weights.n = 1 << 10;
  weights.k = 1 << 20;
  EXPECT_TRUE(make_grouped_problem(weights));
  weights.n += 1;
  EXPECT_TRUE(fails_with(make_grouped_problem(weights), invalid, {"1073741824 x 1025 x 1048576 x 4 bytes", "2^62"}));
  GroupedProblem activations = fields();
  activations.experts = 1;
  activations.slots = big + 1;
  activations.n = 1;
  activations.k = big;
  EXPECT_TRUE(fails_with(make_grouped_problem(activations), invalid, {"1073741825 x 1073741824 x 4 bytes"}));
  GroupedProblem output = fields();
  output.experts = 1;
  output.slots = big + 1;
  output.n = big;
  output.k = 32;
  EXPECT_TRUE(fails_with(make_grouped_problem(output), invalid, {"1073741825 x 1073741824 x 4 bytes"}));
}

TEST(GroupedProblem, AnEpilogueChangesTheShapeOfC) {
  GroupedProblem p = fields();
  EXPECT_EQ(p.c_rows(), 16);
  EXPECT_EQ(p.c_cols(), 1536);
  p.epilogue = Epilogue::swiglu;
  EXPECT_EQ(make_grouped_problem(p)->c_rows(), 16);
  EXPECT_EQ(make_grouped_problem(p)->c_cols(), 768);
  EXPECT_EQ(p.bytes(0), 25344.0 + 24576.0);
  p.epilogue = Epilogue::topk_sum;
  p.top_k = 4;
  EXPECT_EQ(make_grouped_problem(p)->c_rows(), 4);
  EXPECT_EQ(make_grouped_problem(p)->c_cols(), 1536);
  EXPECT_EQ(p.bytes(0), 25344.0 + 12288.0);
}

TEST(GroupedProblem, RejectsWhatAnEpilogueCannotTake) {
  GroupedProblem p = fields();
  p.epilogue = Epilogue::swiglu;
  p.n = 1535;
  EXPECT_TRUE(fails_with(make_grouped_problem(p), invalid, {"n must be even, got 1535"}));
  p.n = 1536;
  p.swiglu.limit = 0.0F;
  EXPECT_TRUE(fails_with(make_grouped_problem(p), invalid, {"limit above 0", "limit=0"}));
  p.swiglu.limit = NAN;
  EXPECT_TRUE(fails_with(make_grouped_problem(p), invalid, {"limit=nan"}));
  p.swiglu = {INFINITY, 1.0F, 0.0F};
  EXPECT_TRUE(fails_with(make_grouped_problem(p), invalid, {"alpha=inf"}));
  p.swiglu = {1.0F, 1.0F, NAN};
  EXPECT_TRUE(fails_with(make_grouped_problem(p), invalid, {"up_offset=nan"}));
  p.epilogue = Epilogue::topk_sum;  // whose parameters these are not
  p.top_k = 5;
  EXPECT_TRUE(fails_with(make_grouped_problem(p), invalid, {"a multiple of top_k=5 slots, got 16"}));
  p.top_k = 16;
  EXPECT_TRUE(make_grouped_problem(p));
}

TEST(Epilogue, NamesAreReadBack) {
  for (const Epilogue epilogue : {Epilogue::none, Epilogue::swiglu, Epilogue::topk_sum}) {
    EXPECT_EQ(parse_epilogue(to_string(epilogue)), epilogue);
  }
  EXPECT_EQ(parse_epilogue("gelu"), std::nullopt);
}

TEST(GroupedProblem, PrintsWhatDiffersFromTheDefault) {
  GroupedProblem p = fields();
  EXPECT_EQ(to_string(p), "e=128 slots=16 n=1536 k=6144 a_div=4");
  p.weighted = true;
  p.activation = ActivationFormat::f32;
  p.output = OutputType::f32;
  EXPECT_EQ(to_string(p), "e=128 slots=16 n=1536 k=6144 a_div=4 weighted a=f32 c=f32");
  p = fields();
  p.epilogue = Epilogue::swiglu;
  EXPECT_EQ(to_string(p), "e=128 slots=16 n=1536 k=6144 a_div=4 swiglu");
  p.swiglu = swiglu_oai;
  EXPECT_EQ(to_string(p), "e=128 slots=16 n=1536 k=6144 a_div=4 swiglu(1.702, 7, 1)");
  p.epilogue = Epilogue::topk_sum;
  p.top_k = 4;
  EXPECT_EQ(to_string(p), "e=128 slots=16 n=1536 k=6144 a_div=4 topk_sum(4)");
}

}  // namespace
}  // namespace millet
