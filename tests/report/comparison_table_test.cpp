// SPDX-License-Identifier: Apache-2.0
#include "millet/report/comparison_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "report/sample_records.hpp"
#include "report/well_formed.hpp"

namespace millet {
namespace {

using testing::IsSubstring;

/// A record with 60 samples around the median, others for every seed.
Record sampled(Index m, double median_us, std::uint64_t seed) {
  Record r = dense_record("qkv", 6144, 2304, m, median_us);
  std::mt19937_64 random(seed);
  std::normal_distribution<> normal;
  for (int i = 0; i < 60; ++i) r.result.samples_ns.push_back(1e3 * median_us * (1 + 0.01 * normal(random)));
  r.result.n = 60;
  return r;
}

TEST(CompareRuns, SlowerFasterAndSameAreToldApart) {
  const std::vector<Record> before{sampled(1, 100, 1), sampled(2, 100, 2), sampled(4, 100, 3)};
  const std::vector<Record> after{sampled(4, 100, 4), sampled(2, 80, 5), sampled(1, 110, 6)};  // another order
  const RunComparison comparison = compare_runs(before, after, {});
  ASSERT_EQ(comparison.compared.size(), 3U);
  EXPECT_EQ(comparison.compared[0].times.change, Change::slower);
  EXPECT_EQ(comparison.compared[0].after, &after[2]);
  EXPECT_EQ(comparison.compared[1].times.change, Change::faster);
  EXPECT_EQ(comparison.compared[2].times.change, Change::same);
  EXPECT_TRUE(comparison.unmatched.empty());
  EXPECT_EQ(comparison.count(Change::slower), 1U);
  const std::string text = comparison_report(comparison, {}, ReportFormat::terminal);
  for (const std::string part :
       {"3 cases compared: 1 slower, 1 faster, 0 undecided, 1 the same; 0 records without a partner; 0 WRONG after",
        "before: abcdef0, g++ 12.2, Release; cold+graph on Test CPU", "SLOWER", "by more than 3 %", "1.1"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, text);
  }
}

TEST(CompareRuns, TheLastTimedRecordOfACaseCounts) {
  std::vector<Record> before{sampled(1, 200, 1), sampled(1, 100, 2), sampled(1, 100, 3)};
  before[2].evidence = Evidence::not_run;
  const std::vector<Record> after{sampled(1, 100, 4)};
  const RunComparison comparison = compare_runs(before, after, {});
  ASSERT_EQ(comparison.compared.size(), 1U);
  EXPECT_EQ(comparison.compared[0].before, &before[1]);
}

TEST(CompareRuns, OneCaseOnTwoDevicesIsTwoCases) {
  std::vector<Record> both{sampled(1, 100, 1), sampled(1, 50, 2)};
  both[1].env.device = "Other CPU";
  const RunComparison comparison = compare_runs(both, both, {});
  ASSERT_EQ(comparison.compared.size(), 2U);
  EXPECT_EQ(comparison.compared[0].after, &both[0]);
  EXPECT_EQ(comparison.compared[1].after, &both[1]);
}

TEST(CompareRuns, TheNearestRecordOfTheProblemSaysWhatDiffers) {
  const std::vector<Record> before{sampled(1, 100, 1)};
  std::vector<Record> after{sampled(1, 100, 2), sampled(1, 100, 3), sampled(1, 100, 4)};
  for (Record& r : after) r.subject.activation = "bf16";
  after[0].subject.protocol = after[2].subject.protocol = "hot+eager";
  for (Record& r : after) renew_ids(r);
  EXPECT_EQ(compare_runs(before, after, {}).unmatched.front().reason,
            "the other run has it with activation 'mx' here, 'bf16' there");
}

TEST(CompareRuns, AnotherPolicyOrKernelOfTheSameCallIsComparedAndShown) {
  const std::vector<Record> before{sampled(1, 100, 1), sampled(2, 100, 2), sampled(4, 100, 3)};
  std::vector<Record> after{sampled(1, 110, 4), sampled(2, 80, 5), sampled(4, 100, 6)};
  after[0].subject.policy = "rows8";
  after[1].subject.kernel = "cpu.gemm_avx2";
  after[1].subject.policy = "default";
  after[1].subject.weight_layout = "row-major";
  for (Record& r : after) renew_ids(r);
  const RunComparison comparison = compare_runs(before, after, {});
  ASSERT_EQ(comparison.compared.size(), 3U);
  EXPECT_TRUE(comparison.unmatched.empty());
  EXPECT_EQ(comparison.compared[0].times.change, Change::slower);
  EXPECT_EQ(comparison.compared[1].times.change, Change::faster);
  EXPECT_TRUE(comparison.compared[0].replaced());
  EXPECT_TRUE(comparison.compared[1].replaced());
  EXPECT_FALSE(comparison.compared[2].replaced());
  const std::string text = comparison_report(comparison, {}, ReportFormat::terminal);
  for (const std::string part : {"3 cases compared, 2 of them now by another kernel or policy: 1 slower, 1 faster",
                                 "cpu.gemv_avx2: rows4 -> rows8", "cpu.gemv_avx2 (rows4) -> cpu.gemm_avx2 (default)"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, text);
  }
  EXPECT_PRED_FORMAT2(IsSubstring, after[1].case_id + ",cpu.gemv_avx2,rows4",
                      comparison_report(comparison, {}, ReportFormat::csv));
}

TEST(CompareRuns, TheSamePolicyGoesBeforeAnother) {
  const std::vector<Record> before{sampled(1, 100, 1)};
  std::vector<Record> after{sampled(1, 50, 2), sampled(1, 100, 3)};
  after[0].subject.policy = "rows8";
  renew_ids(after[0]);
  const RunComparison comparison = compare_runs(before, after, {});
  ASSERT_EQ(comparison.compared.size(), 1U);
  EXPECT_EQ(comparison.compared[0].after, &after[1]);
  ASSERT_EQ(comparison.unmatched.size(), 1U);
  EXPECT_EQ(comparison.unmatched[0].reason, "the other run has it with policy 'rows8' here, 'rows4' there");
}

TEST(CompareRuns, WhichOfSeveralTookAPolicysPlaceIsNotGuessed) {
  const std::vector<Record> before{sampled(1, 100, 1)};
  std::vector<Record> after{sampled(1, 50, 2), sampled(1, 100, 3)};
  after[0].subject.policy = "rows8";
  after[1].subject.policy = "rows16";
  for (Record& r : after) renew_ids(r);
  const RunComparison comparison = compare_runs(before, after, {});
  EXPECT_TRUE(comparison.compared.empty());
  ASSERT_EQ(comparison.unmatched.size(), 3U);
  for (const UnmatchedCase& u : comparison.unmatched) {
    EXPECT_PRED_FORMAT2(IsSubstring, "; several could have taken its place", u.reason);
  }
}

TEST(CompareRuns, AnotherBackendIsAnotherCase) {
  const std::vector<Record> before{sampled(1, 100, 1)};
  std::vector<Record> after{sampled(1, 100, 2)};
  after[0].subject.backend = "other";
  renew_ids(after[0]);
  const RunComparison comparison = compare_runs(before, after, {});
  EXPECT_TRUE(comparison.compared.empty());
  EXPECT_EQ(comparison.unmatched.size(), 2U);
}

TEST(CompareRuns, WhatDoesNotMatchIsListedWithTheDifference) {
  std::vector<Record> before{sampled(1, 100, 1), sampled(2, 100, 1), sampled(4, 100, 1), sampled(8, 100, 1),
                             sampled(16, 100, 1)};
  std::vector<Record> after{sampled(1, 100, 2), sampled(2, 100, 2), sampled(4, 100, 2), sampled(8, 100, 2),
                            sampled(32, 100, 2)};
  after[0].env.device = "Other CPU";
  after[1].subject.protocol = "hot+eager";
  after[2].subject.scale_mode = "floor";
  after[3].evidence = Evidence::not_run;
  after[3].note = "the budget was spent";
  for (Record& r : after) renew_ids(r);
  const RunComparison comparison = compare_runs(before, after, {});
  EXPECT_TRUE(comparison.compared.empty());
  const auto reason = [&](const Record& record) -> std::string {
    for (const UnmatchedCase& u : comparison.unmatched) {
      if (u.record == &record) return u.reason;
    }
    return "not listed";
  };
  EXPECT_EQ(reason(before[0]), "the other run has it with device 'Test CPU' here, 'Other CPU' there");
  EXPECT_EQ(reason(after[0]), "the other run has it with device 'Other CPU' here, 'Test CPU' there");
  EXPECT_EQ(reason(before[1]), "the other run has it with protocol 'cold+graph' here, 'hot+eager' there");
  EXPECT_EQ(reason(after[2]), "the other run has it with scale mode 'floor' here, 'rceil' there");
  EXPECT_EQ(reason(after[3]), "it was not run: the budget was spent");
  EXPECT_EQ(reason(before[4]), "the other run does not have this problem");
  EXPECT_EQ(reason(after[4]), "the other run does not have this problem");
  const std::string csv = comparison_report(comparison, {}, ReportFormat::csv);
  EXPECT_EQ(count_of(csv, "\n"), 1 + comparison.unmatched.size());
  EXPECT_EQ(count_of(csv, "only before"), 4U);
  EXPECT_EQ(count_of(csv, "only after"), 5U);
}

TEST(CompareRuns, AWrongResultIsNoTimeButIsFound) {
  const std::vector<Record> before{sampled(1, 100, 1)};
  std::vector<Record> after{sampled(1, 50, 2)};
  after[0].verify = {"oracle", 3.2, 0.5, false, "row 1 column 7"};
  const RunComparison comparison = compare_runs(before, after, {});
  EXPECT_TRUE(comparison.compared.empty());
  ASSERT_EQ(comparison.wrong.size(), 1U);
  EXPECT_EQ(comparison.wrong[0], &after[0]);
  ASSERT_EQ(comparison.unmatched.size(), 1U);
  EXPECT_EQ(comparison.unmatched[0].reason, "wrong: row 1 column 7");
  // Wrong before and right now is a repair.
  EXPECT_TRUE(compare_runs(after, before, {}).wrong.empty());
}

TEST(CompareRuns, RecordsWithoutSamplesCannotBeTested) {
  const std::vector<Record> bare{dense_record("qkv", 6144, 2304, 1, 100)};
  const std::vector<Record> after{sampled(1, 100, 1)};
  const RunComparison comparison = compare_runs(bare, after, {});
  ASSERT_EQ(comparison.unmatched.size(), 1U);
  EXPECT_EQ(comparison.unmatched[0].reason, "its record keeps no samples to test");
}

TEST(CompareRuns, NotesSayWhatMakesTheTimesDoubtful) {
  std::vector<Record> before{sampled(1, 100, 1)};
  std::vector<Record> after{sampled(1, 112, 2)};
  before[0].baselines = {{"portable", "performance", 9, 200e3, 199e3, 201e3}, {"still", "performance", 9, 10, 9, 11}};
  after[0].baselines = {{"portable", "performance", 9, 224e3, 223e3, 225e3}, {"still", "performance", 9, 10.1, 9, 11}};
  after[0].clock = {"steady_clock", 3, 2, true};
  after[0].run.host_hash = "another";
  after[0].note = before[0].note = "both";
  const RunComparison comparison = compare_runs(before, after, {});
  ASSERT_EQ(comparison.compared.size(), 1U);
  EXPECT_THAT(comparison.compared[0].notes,
              testing::ElementsAre("before and after: both", "after: the clock fell from 3.00 to 2.00 GHz",
                                   "two machines with one kind of device",
                                   "portable, timed in the same runs, took 1.12 times as long: the machine may have "
                                   "changed"));
  EXPECT_PRED_FORMAT2(IsSubstring, "[1] qkv K=6144 N=2304 M=1, cpu.gemv_avx2: before and after: both;",
                      comparison_report(comparison, {}, ReportFormat::markdown));
}

}  // namespace
}  // namespace millet
