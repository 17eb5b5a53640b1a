// SPDX-License-Identifier: Apache-2.0
#include "arguments.hpp"

#include <gtest/gtest.h>

#include <map>

#include "cases/shard.hpp"
#include "error/fails_with.hpp"
#include "near_names.hpp"
#include "run/budget.hpp"

namespace millet {
namespace {

using Names = std::vector<std::string>;

TEST(ParsePercent, WantsThePercentSign) {
  EXPECT_EQ(parse_percent("--x", "3%").value(), 0.03);
  EXPECT_EQ(parse_percent("--x", "0%").value(), 0.0);
  EXPECT_EQ(parse_percent("--x", "0.5%").value(), 0.005);
  for (const char* bad : {"3", "0.03", "-1%", "100%", "%", "", "x%", "3 %", "nan%", "inf%"}) {
    const auto parsed = parse_percent("--x", bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().code, ErrorCode::invalid_argument);
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "--x", parsed.error().message);
  }
}

TEST(Arguments, ExtentsKeepTheirOrderWithoutRepeats) {
  EXPECT_EQ(parse_extents("--m", "4,1,4,16").value(), (std::vector<Index>{4, 1, 16}));
  for (const char* text : {"", ",", "1,", "0", "-4", "1x", " 1", "1e3", "9223372036854775808"}) {
    EXPECT_TRUE(fails_with(parse_extents("--m", text), ErrorCode::invalid_argument, {"--m"})) << text;
  }
}

TEST(Arguments, DurationsHaveUnits) {
  EXPECT_EQ(parse_duration("--budget", "60s").value(), 60.0);
  EXPECT_EQ(parse_duration("--budget", "60").value(), 60.0);
  EXPECT_EQ(parse_duration("--budget", "500ms").value(), 0.5);
  EXPECT_EQ(parse_duration("--budget", "1.5m").value(), 90.0);
  for (const char* text : {"", "s", "0", "-1s", "1h", "1 s", "nan", "inf", "1e999"}) {
    EXPECT_TRUE(fails_with(parse_duration("--budget", text), ErrorCode::invalid_argument, {"--budget", "60s"})) << text;
  }
}

TEST(Arguments, ShardsCountFromOne) {
  const auto shard = parse_shard("--shard", "2/8");
  ASSERT_TRUE(shard);
  EXPECT_EQ(shard->number, 2U);
  EXPECT_EQ(shard->count, 8U);
  EXPECT_EQ(parse_shard("--shard", "1/1")->count, 1U);
  for (const char* text : {"", "/", "1", "1/", "/2", "0/2", "3/2", "-1/2", "1/-2", "1/2/3", "1/2 ", "x/2", "1/0"}) {
    EXPECT_TRUE(fails_with(parse_shard("--shard", text), ErrorCode::invalid_argument, {"--shard", "1/8 to 8/8"}))
        << text;
  }
}

TEST(Shards, EveryIdIsInExactlyOneWhateverTheOrder) {
  std::vector<std::string> ids;
  for (int i = 0; i < 29; ++i) ids.push_back("id" + std::to_string(i * 7919 % 1000));
  ids.push_back(ids[3]);  // a problem that two presets have
  std::vector<std::string> reversed(ids.rbegin(), ids.rend());
  for (const std::size_t count : {1U, 2U, 7U, 40U}) {
    std::map<std::string, int> seen;
    for (std::size_t number = 1; number <= count; ++number) {
      const std::set<std::string> mine = shard_of(ids, {number, count});
      EXPECT_EQ(mine, shard_of(reversed, {number, count}));
      EXPECT_GE(mine.size(), 29 / count);
      EXPECT_LE(mine.size(), 29 / count + 1);
      for (const std::string& id : mine) ++seen[id];
    }
    EXPECT_EQ(seen.size(), 29U);
    for (const auto& [id, times] : seen) EXPECT_EQ(times, 1) << id;
  }
}

TEST(Arguments, ShellWordsSurviveAShell) {
  EXPECT_EQ(shell_word("a/b-c_1.5,x=y"), "a/b-c_1.5,x=y");
  EXPECT_EQ(shell_word(""), "''");
  EXPECT_EQ(shell_word("a b"), "'a b'");
  EXPECT_EQ(shell_word("^a$"), "'^a$'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
}

TEST(NearNames, CountsEditsAndSwaps) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("abc", "abc"), 0);
  EXPECT_EQ(edit_distance("abc", "acb"), 1);
  EXPECT_EQ(edit_distance("seed-dens", "seed-dense"), 1);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

TEST(NearNames, NearestFirstAndNothingFar) {
  const Names names{"seed-dense", "seed-moe", "m3", "tp"};
  EXPECT_EQ(near_names("seed-dens", names).front(), "seed-dense");
  EXPECT_EQ(near_names("moe", names), Names{"seed-moe"});
  EXPECT_TRUE(near_names("resnet50", names).empty());
  EXPECT_EQ(unknown_name("preset", "seed-mo", names).message,
            "no preset 'seed-mo'; did you mean seed-moe? There are: seed-dense, seed-moe, m3, tp");
  EXPECT_EQ(unknown_name("preset", "x", Names{"only"}).message, "no preset 'x'. There is: only");
}

TEST(Budget, SharesWhatPreparationLeaves) {
  const Budget budget(100);
  EXPECT_NEAR(budget.share(4, 20), 20.0, 0.1);  // (100 - 20) / 4
  EXPECT_EQ(budget.share(4, 200), 0.0);
  EXPECT_GT(budget.share(0, 0), 0.0);
}

TEST(Budget, LearnsHowSlowTheMachineIs) {
  Budget budget(100);
  EXPECT_EQ(budget.predicted(3), 3.0);
  budget.learn(10, 20);
  EXPECT_NEAR(budget.predicted(3), 6.0, 0.3);
  Budget surprised(100);
  surprised.learn(0.001, 0.1);  // a hundredfold error of a millisecond says little
  EXPECT_LT(surprised.predicted(1), 1.3);
}

}  // namespace
}  // namespace millet
