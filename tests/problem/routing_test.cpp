// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "error/fails_with.hpp"
#include "millet/problem/grouped_problem.hpp"

namespace millet {
namespace {

using Ids = std::vector<std::int32_t>;

/// top_k different experts for each token, as a router gives them.
Ids random_topk(std::mt19937& random, Index tokens, Index top_k, Index experts) {
  Ids ids;
  std::vector<std::int32_t> all(static_cast<std::size_t>(experts));
  std::iota(all.begin(), all.end(), 0);
  for (Index token = 0; token < tokens; ++token) {
    std::sample(all.begin(), all.end(), std::back_inserter(ids), top_k, random);
    std::shuffle(ids.end() - top_k, ids.end(), random);
  }
  return ids;
}

GroupedProblem problem_for(const Ids& topk_ids, const Routing& routing, Index experts, Index block_m) {
  return {.experts = experts,
          .slots = static_cast<Index>(topk_ids.size()),
          .n = 8,
          .k = 32,
          .a_div = 1,
          .block_m = block_m,
          .padded_slots = static_cast<Index>(routing.sorted_token_ids.size())};
}

/// Everything that build_routing promises, restated for any input.
void expect_sound(const Ids& topk_ids, Index experts, Index block_m) {
  SCOPED_TRACE(fmt::format("{} slots, {} experts, block_m={}", topk_ids.size(), experts, block_m));
  const Expected<Routing> built = build_routing(topk_ids, experts, block_m);
  ASSERT_TRUE(built) << built.error().message;
  const Routing& routing = *built;
  const auto slots = static_cast<std::int32_t>(topk_ids.size());
  const auto blocks = static_cast<Index>(routing.expert_ids.size());
  ASSERT_EQ(static_cast<Index>(routing.sorted_token_ids.size()), blocks * block_m);
  EXPECT_EQ(routing.num_tokens_post_padded, blocks * block_m);
  EXPECT_TRUE(std::is_sorted(routing.expert_ids.begin(), routing.expert_ids.end()));

  Ids seen;
  for (Index block = 0; block < blocks; ++block) {
    const auto first = routing.sorted_token_ids.begin() + block * block_m;
    const auto end_of_slots = std::find(first, first + block_m, slots);
    EXPECT_TRUE(std::all_of(end_of_slots, first + block_m, [&](std::int32_t slot) { return slot == slots; }));
    ASSERT_NE(end_of_slots, first) << "block " << block << " holds padding only";
    const bool last_of_expert = block + 1 == blocks || routing.expert_ids[block + 1] != routing.expert_ids[block];
    EXPECT_TRUE(last_of_expert || end_of_slots == first + block_m) << "padding inside an expert's list";
    for (auto slot = first; slot != end_of_slots; ++slot) {
      ASSERT_TRUE(*slot >= 0 && *slot < slots);
      EXPECT_EQ(topk_ids[*slot], routing.expert_ids[block]) << "slot " << *slot;
      const bool continues = !seen.empty() && topk_ids[seen.back()] == routing.expert_ids[block];
      EXPECT_TRUE(!continues || seen.back() < *slot) << "slots of an expert are not ascending";
      seen.push_back(*slot);
    }
  }
  std::sort(seen.begin(), seen.end());
  Ids every_slot(topk_ids.size());
  std::iota(every_slot.begin(), every_slot.end(), 0);
  EXPECT_EQ(seen, every_slot);  // each exactly once

  const GroupedProblem problem = problem_for(topk_ids, routing, experts, block_m);
  const Expected<void> valid = validate_routing(problem, routing);
  EXPECT_TRUE(valid) << valid.error().message;
  EXPECT_EQ(touched_experts(routing, problem),
            static_cast<Index>(std::set<std::int32_t>(topk_ids.begin(), topk_ids.end()).size()));
}

TEST(BuildRouting, HandMadeExample) {
  const Ids topk_ids = {3, 0, 3, 1, 3, 0};  // 3 tokens, top 2 of 5 experts; 2 and 4 get nothing
  const Expected<Routing> routing = build_routing(topk_ids, 5, 2);
  ASSERT_TRUE(routing) << routing.error().message;
  EXPECT_EQ(routing->sorted_token_ids, (Ids{1, 5, 3, 6, 0, 2, 4, 6}));
  EXPECT_EQ(routing->expert_ids, (Ids{0, 1, 3, 3}));
  EXPECT_EQ(routing->num_tokens_post_padded, 8);
}

TEST(BuildRouting, IsSoundForRandomTokens) {
  std::mt19937 random(10);
  for (const Index experts : {Index{1}, Index{31}, Index{257}, Index{1025}}) {
    for (const Index block_m : {Index{1}, Index{4}, Index{16}}) {
      for (const Index tokens : {Index{1}, Index{7}, Index{128}}) {
        const Index top_k = std::min<Index>(experts, 8);
        expect_sound(random_topk(random, tokens, top_k, experts), experts, block_m);
      }
    }
  }
}

TEST(BuildRouting, IsSoundWhenOneExpertTakesEverything) {
  for (const std::int32_t expert : {0, 17, 30}) {
    for (const Index slots : {15, 16, 17}) expect_sound(Ids(static_cast<std::size_t>(slots), expert), 31, 16);
  }
}

TEST(BuildRouting, IsSoundWhenOnlyTheOutermostExpertsWork) {
  Ids topk_ids;
  for (int token = 0; token < 9; ++token) topk_ids.insert(topk_ids.end(), {1024, 0});
  expect_sound(topk_ids, 1025, 4);
}

TEST(BuildRouting, NamesTheIdThatIsOutOfRange) {
  constexpr ErrorCode code = ErrorCode::invalid_routing;
  EXPECT_TRUE(
      fails_with(build_routing(Ids{0, 3, -1}, 4, 2), code, {"topk_ids[2]=-1 is outside [0, 4)", "drop or remap"}));
  EXPECT_TRUE(fails_with(build_routing(Ids{4, 0}, 4, 2), code, {"topk_ids[0]=4 is outside [0, 4)"}));
  const std::int32_t lowest = std::numeric_limits<std::int32_t>::min();
  EXPECT_TRUE(fails_with(build_routing(Ids{0, lowest}, 4, 2), code, {"topk_ids[1]=-2147483648"}));
}

TEST(BuildRouting, RejectsNothingToRoute) {
  constexpr ErrorCode code = ErrorCode::invalid_problem;
  EXPECT_TRUE(fails_with(build_routing({}, 4, 2), code, {"build_routing: slots must be at least 1, got slots=0"}));
  EXPECT_TRUE(fails_with(build_routing(Ids{0}, 0, 2), code, {"experts must be at least 1, got experts=0"}));
  EXPECT_TRUE(fails_with(build_routing(Ids{0}, 4, 0), code, {"block_m must be at least 1, got block_m=0"}));
  EXPECT_TRUE(fails_with(build_routing(Ids{0}, -4, 2), code, {"got experts=-4"}));
}

TEST(BuildRouting, RejectsPaddingBeyond32Bits) {
  const Ids topk_ids = {0, 1};
  for (const auto& [experts, block_m] :
       {std::pair{Index{2}, Index{1} << 30}, std::pair{Index{2}, std::numeric_limits<Index>::max()},
        std::pair{std::numeric_limits<Index>::max(), Index{2}}}) {
    EXPECT_TRUE(fails_with(build_routing(topk_ids, experts, block_m), ErrorCode::invalid_problem,
                           {fmt::format("2 slots, {} experts and block_m={}", experts, block_m), "32-bit ids"}));
  }
}

class ValidateRouting : public testing::Test {
 protected:
  // Slots 1 and 5 to expert 0, 3 to 1, the others to 3; one block of two entries unused at the end.
  Routing routing_{.sorted_token_ids = {1, 5, 3, 6, 0, 2, 4, 6, -7, 99},
                   .expert_ids = {0, 1, 3, 3, -9},
                   .num_tokens_post_padded = 8};
  GroupedProblem problem_{.experts = 5, .slots = 6, .n = 8, .k = 32, .a_div = 2, .block_m = 2, .padded_slots = 10};

  void expect_rejected(std::initializer_list<std::string_view> parts) const {
    EXPECT_TRUE(fails_with(validate_routing(problem_, routing_), ErrorCode::invalid_routing, parts));
  }
};

TEST_F(ValidateRouting, IgnoresWhatLiesBeyondTheEntriesInUse) {
  const Expected<void> valid = validate_routing(problem_, routing_);
  EXPECT_TRUE(valid) << valid.error().message;
}

TEST_F(ValidateRouting, AcceptsSlotsThatNobodyRoutes) {
  routing_.num_tokens_post_padded = 4;
  EXPECT_TRUE(validate_routing(problem_, routing_));
  routing_.num_tokens_post_padded = 0;
  EXPECT_TRUE(validate_routing(problem_, routing_));
}

TEST_F(ValidateRouting, RejectsOtherLengths) {
  routing_.sorted_token_ids.pop_back();
  expect_rejected({"9 slot ids and 5 expert ids given, the problem needs 10 and 5"});
  routing_.sorted_token_ids.push_back(6);
  routing_.expert_ids.push_back(0);
  expect_rejected({"10 slot ids and 6 expert ids given, the problem needs 10 and 5"});
}

TEST_F(ValidateRouting, RejectsMoreEntriesThanThereAre) {
  routing_.num_tokens_post_padded = 12;
  expect_rejected({"num_tokens_post_padded=12 is outside [0, 10]"});
  routing_.num_tokens_post_padded = -2;
  expect_rejected({"num_tokens_post_padded=-2 is outside [0, 10]"});
}

TEST_F(ValidateRouting, RejectsPartialBlocks) {
  routing_.num_tokens_post_padded = 7;
  expect_rejected({"num_tokens_post_padded=7 is not a multiple of block_m=2"});
}

TEST_F(ValidateRouting, RejectsUnknownExperts) {
  routing_.expert_ids[3] = 5;
  expect_rejected({"expert_ids[3]=5 is outside [0, 5)"});
  routing_.expert_ids[3] = -1;
  expect_rejected({"expert_ids[3]=-1 is outside [0, 5)"});
}

TEST_F(ValidateRouting, RejectsUnknownSlots) {
  routing_.sorted_token_ids[7] = 7;  // 6 pads
  expect_rejected({"sorted_token_ids[7]=7 is outside [0, 6] (6 pads)"});
  routing_.sorted_token_ids[7] = -1;
  expect_rejected({"sorted_token_ids[7]=-1 is outside [0, 6] (6 pads)"});
}

TEST_F(ValidateRouting, RejectsSlotsThatTwoBlocksWouldWrite) {
  routing_.sorted_token_ids[7] = 1;
  expect_rejected({"slot 1 appears twice, the second time at sorted_token_ids[7]"});
}

TEST_F(ValidateRouting, TouchedExpertsCountsBlocksInUseOnce) {
  EXPECT_EQ(touched_experts(routing_, problem_), 3);
  routing_.expert_ids[4] = 4;  // not in use
  EXPECT_EQ(touched_experts(routing_, problem_), 3);
  routing_.num_tokens_post_padded = 10;
  EXPECT_EQ(touched_experts(routing_, problem_), 4);
  routing_.expert_ids[4] = 5;  // kernels skip such a block
  EXPECT_EQ(touched_experts(routing_, problem_), 3);
  routing_.expert_ids[4] = -1;
  EXPECT_EQ(touched_experts(routing_, problem_), 3);
  routing_.num_tokens_post_padded = 1000;                         // clamped to the entries that the problem has,
  routing_.expert_ids.insert(routing_.expert_ids.end(), {2, 4});  // whatever follows them
  EXPECT_EQ(touched_experts(routing_, problem_), 3);
  routing_.num_tokens_post_padded = 0;
  EXPECT_EQ(touched_experts(routing_, problem_), 0);
  routing_.num_tokens_post_padded = -4;
  EXPECT_EQ(touched_experts(routing_, problem_), 0);
}

TEST(RoutingView, PointsAtTheHostVectors) {
  const Routing routing = *build_routing(Ids{0, 1}, 2, 1);
  const float weights[2] = {0.25F, 0.75F};
  const RoutingView view = routing.view(weights);
  EXPECT_EQ(view.sorted_token_ids, routing.sorted_token_ids.data());
  EXPECT_EQ(view.expert_ids, routing.expert_ids.data());
  EXPECT_EQ(*view.num_tokens_post_padded, 2);
  EXPECT_EQ(view.slot_weights, weights);
}

}  // namespace
}  // namespace millet
