// SPDX-License-Identifier: Apache-2.0
// What times decide, and how a tuned table is brought up to date. The times here are given, not measured.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "dispatch/fake_backend.hpp"
#include "error/fails_with.hpp"
#include "tune/decision.hpp"
#include "tune/tuned_file.hpp"

namespace millet {
namespace {

using testing::HasSubstr;

std::string policy_name(int policy) { return "p" + std::to_string(policy); }

const std::array<GemmKernel, 2>& gemm_kernels() {
  static const std::array kernels = [] {
    std::array made{fake::kernel<GemmProblem>("toy.gemv_near", fake::everything<GemmProblem>, 3),
                    fake::kernel<GemmProblem>("toy.gemm_far", fake::everything<GemmProblem>, 2)};
    for (GemmKernel& kernel : made) kernel.policy_name = policy_name;
    return made;
  }();
  return kernels;
}

class Tune : public testing::Test {
 protected:
  Tune() : backend_(fake::backend_of(gemm_kernels())) {
    session_.backend = &backend_;
    session_.device.name = "a toy";
    session_.device.architecture = "toy_1";
    session_.device.compute_units = 4;
    session_.device.runtime = "toy runtime 2";
  }

  // A record of one candidate for m=2 n=16 k=64 with a median and the half width of its interval, in ns.
  Record record(const std::string& kernel, int policy, double median_ns, double half_width_ns = 1) const {
    Record r;
    r.subject.backend = "toy";
    r.subject.kernel = kernel;
    r.subject.policy = policy_name(policy);
    r.subject.m = 2;
    r.subject.n = 16;
    r.subject.k = 64;
    r.case_id = case_id(r.subject);
    r.build.git = "0123456789ab";
    r.build.compiler = "GNU 12";
    r.build.type = "Release";
    r.build_id = build_id(r.build);
    r.env.runtime = "toy runtime 2";
    r.env.device = "a toy";
    r.env.architecture = "toy_1";
    r.env.compute_units = 4;
    r.run.start = "2026-01-31T10:00:00Z";
    r.verify = {"oracle", 0.5, 0, true, "ok"};
    r.evidence = Evidence::measured;
    r.result.n = 9;
    r.result.median_ns = median_ns;
    r.result.ci95_lo_ns = median_ns - half_width_ns;
    r.result.ci95_hi_ns = median_ns + half_width_ns;
    r.result.min_ns = median_ns - half_width_ns;
    return r;
  }

  Decision decided(const std::vector<Record>& records, const TuneBaseline& baseline = {}) const {
    TuneContest contest;
    for (const Record& r : records) contest.push_back(&r);
    return decide(contest, session_, baseline);
  }

  Backend backend_;
  BackendSession session_;
};

TEST_F(Tune, AFasterCandidateReplacesTheDefaultBeyondTheMarginOnly) {
  const Decision faster =
      decided({record("toy.gemv_near", 0, 1040), record("toy.gemv_near", 2, 1500), record("toy.gemm_far", 1, 1000)});
  ASSERT_TRUE(faster.row) << faster.reason;
  EXPECT_FALSE(faster.kept_default);
  EXPECT_EQ(faster.row->kernel, "toy.gemm_far");
  EXPECT_EQ(faster.row->policy, 1);
  EXPECT_DOUBLE_EQ(faster.row->median_us, 1.0);
  EXPECT_DOUBLE_EQ(faster.row->spread_pct, 0.1);
  EXPECT_EQ(faster.row->baseline, "toy.gemv_near policy 0");
  EXPECT_DOUBLE_EQ(faster.row->baseline_us, 1.04);
  EXPECT_TRUE(faster.row->use);
  EXPECT_EQ(faster.row->key, (TunedKey{"toy_1", 4, "dense", ActivationFormat::mx, 2, 16, 64, 0}));
  EXPECT_EQ(faster.row->toolchain, "GNU 12 Release; toy runtime 2");
  EXPECT_EQ(faster.row->commit, "0123456789ab");
  EXPECT_EQ(faster.row->date, "2026-01-31");
  EXPECT_THAT(faster.reason, HasSubstr("1.04 times as fast as default toy.gemv_near policy 0"));

  const Decision within = decided({record("toy.gemv_near", 0, 1029), record("toy.gemm_far", 1, 1000)});
  ASSERT_TRUE(within.row);
  EXPECT_TRUE(within.kept_default);
  EXPECT_EQ(within.row->kernel, "toy.gemv_near");
  EXPECT_FALSE(within.row->use);
  EXPECT_THAT(within.reason, HasSubstr("the best of 1 others, toy.gemm_far policy 1, gained 2.9 %"));

  const Decision slower = decided({record("toy.gemv_near", 0, 1000), record("toy.gemm_far", 1, 1250)});
  EXPECT_TRUE(slower.kept_default);
  EXPECT_THAT(slower.reason, HasSubstr("toy.gemm_far policy 1, took 1.250 times as long"));
}

TEST_F(Tune, IntervalsThatTouchDecideNothing) {
  const Decision noisy =
      decided({record("toy.gemv_near", 0, 1200, 150), record("toy.gemm_far", 0, 1000, 60)});  // 1050 and 1060
  ASSERT_TRUE(noisy.row);
  EXPECT_TRUE(noisy.kept_default);
  EXPECT_THAT(noisy.reason, HasSubstr("gained 20.0 %, but the 95 % intervals touch"));
  EXPECT_FALSE(decided({record("toy.gemv_near", 0, 1200, 100), record("toy.gemm_far", 0, 1000, 60)}).kept_default);
}

TEST_F(Tune, UseComparesTheKernelOfTheRowWithTheNamedBaseline) {
  Record first = record("toy.gemv_near", 0, 1000);
  first.baselines.push_back({"eigen_f32 (avx2, 1 thread)", "performance", 9, 1031, 1030, 1032});
  const std::vector<Record> records{first, record("toy.gemv_near", 1, 1005), record("toy.gemm_far", 1, 2000)};
  const Decision eigen = decided(records, {"eigen_f32", 0});
  ASSERT_TRUE(eigen.row) << eigen.reason;
  EXPECT_EQ(eigen.row->baseline, "eigen_f32 (avx2, 1 thread)");
  EXPECT_TRUE(eigen.row->use) << "1031 is more than 3 % above 1000";
  EXPECT_TRUE(eigen.kept_default);
  const Decision own = decided(records, {"toy.gemm_far", 1});
  EXPECT_EQ(own.row->baseline, "toy.gemm_far policy 1");
  EXPECT_DOUBLE_EQ(own.row->baseline_us, 2.0);
  EXPECT_TRUE(own.row->use);
  EXPECT_FALSE(decided(records, {"toy.gemv_near", 1}).row->use);

  const Decision none = decided(records, {"openblas_f32", 0});
  EXPECT_FALSE(none.row);
  EXPECT_THAT(none.reason, HasSubstr("baseline openblas_f32 has no time"));
}

TEST_F(Tune, WrongCandidatesNeverWin) {
  Record wrong = record("toy.gemm_far", 1, 10);
  wrong.verify = {"oracle", 9, 0.1, false, "c[0] is off"};
  const Decision without = decided({record("toy.gemv_near", 0, 1000), wrong});
  ASSERT_TRUE(without.row);
  EXPECT_EQ(without.row->kernel, "toy.gemv_near");
  EXPECT_THAT(without.reason, HasSubstr("nothing else has a time"));

  Record wrong_default = record("toy.gemv_near", 0, 10);
  wrong_default.verify = wrong.verify;
  wrong_default.note = "incorrect: c[0] is off";
  const Decision nothing = decided({wrong_default, record("toy.gemm_far", 1, 1000)});
  EXPECT_FALSE(nothing.row);
  EXPECT_THAT(nothing.reason, HasSubstr("toy.gemv_near policy 0 has no time: incorrect: c[0] is off"));
}

TEST_F(Tune, WarmWeightsAndAFallingClockAreTold) {
  Record warm = record("toy.gemv_near", 0, 1000);
  warm.cache.mode = "warm";
  warm.cache.copies = 3;
  warm.clock.throttled = true;
  EXPECT_THAT(decided({warm}).reason, HasSubstr("weights were warm, 3 copies; the clock fell"));
}

TEST_F(Tune, ContestsOfDifferentRunsAreNotMixed) {
  const Record old_default = record("toy.gemv_near", 0, 1000);
  const Record old_other = record("toy.gemm_far", 1, 500);
  Record new_default = old_default, new_other = old_other, other_build = old_other, other_backend = old_other;
  new_default.run.start = new_other.run.start = "2026-01-31T11:00:00Z";
  other_build.build_id = "another";
  other_backend.subject.backend = "else";
  const std::string build = old_default.build_id;

  Record other_device = old_other, other_units = old_other;
  other_device.env.device = "another toy";
  other_units.env.compute_units = 2;

  const std::vector<Record> torn{old_default,   old_other,    new_default, other_build,
                                 other_backend, other_device, other_units};
  auto contests = contests_of(torn, session_, build);
  ASSERT_EQ(contests.size(), 1U);
  EXPECT_EQ(contests[0], (TuneContest{&torn[2]})) << "of the second run, though it is not complete";
  const std::vector<Record> same_second{old_default, old_other, old_default, new_other};
  contests = contests_of(same_second, session_, build);
  ASSERT_EQ(contests.size(), 1U);
  EXPECT_EQ(contests[0], (TuneContest{&same_second[3]}));
  Record other_problem = old_default;
  other_problem.subject.m = 3;
  const std::vector<Record> two{old_default, other_problem, old_other};
  contests = contests_of(two, session_, build);
  ASSERT_EQ(contests.size(), 2U);
  EXPECT_EQ(contests[0], (TuneContest{&two[0], &two[2]}));
}

TEST_F(Tune, BaselinesAreNamesOrKernelsWithPolicies) {
  EXPECT_EQ(parse_tune_baseline("default", backend_)->name, "default");
  EXPECT_EQ(parse_tune_baseline("eigen_f32", backend_)->name, "eigen_f32");
  EXPECT_EQ(parse_tune_baseline("toy.gemm_far:1", backend_)->policy, 1);
  for (const char* text : {"toy.gemm_far:2", "toy.gemm_far:-1", "toy.gemm_far:", "toy.gemm_far:x", "eigen_f32:0"}) {
    EXPECT_TRUE(fails_with(parse_tune_baseline(text, backend_), ErrorCode::invalid_argument, {text, "kernel:policy"}))
        << text;
  }
}

class TunedFileOnDisk : public Tune {
 protected:
  TunedFileOnDisk() {
    std::string name = (std::filesystem::temp_directory_path() / "millet-tuned-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    path_ = folder_ / "toy.csv";
  }
  ~TunedFileOnDisk() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  [[nodiscard]] static TunedRow row(Index m, double median_us) {
    TunedRow r;
    r.key = {"toy_1", 4, "dense", ActivationFormat::mx, m, 16, 64, 0};
    r.kernel = "toy.gemv_near";
    r.median_us = median_us;
    r.baseline = r.toolchain = r.commit = r.date = "x";
    return r;
  }

  std::filesystem::path folder_;
  std::filesystem::path path_;
};

TEST_F(TunedFileOnDisk, ANewTableIsReadBack) {
  auto file = TunedFile::open(path_, backend_, "a toy");
  ASSERT_TRUE(file);
  file->put(row(1, 5), "first");
  file->put(row(2, 6), "a reason\nof two lines");
  ASSERT_TRUE(file->save());
  const auto table = TunedTable::parse(text(), "toy.csv", backend_, /*strict=*/true);
  ASSERT_TRUE(table) << table.error().message;
  ASSERT_EQ(table->rows().size(), 2U);
  EXPECT_EQ(table->rows()[1].median_us, 6);
  EXPECT_THAT(text(), HasSubstr("# a toy\n"));
  EXPECT_THAT(text(), HasSubstr("# tune: a reason of two lines\n"));
}

TEST_F(TunedFileOnDisk, OnlyTheRowsOfTheSameKeyChange) {
  const std::string before = std::string(tuned_table_schema) + "\n# mine\n" + std::string(tuned_table_header) +
                             "\n# tune: old reason\ntoy_1,4,dense,mx,1,16,64,0,toy.gemv_near,0,9,0,x,9,no,x,x,x\n"
                             "# by hand\nother,4,dense,mx,1,16,64,0,toy.gemv_near,0,9,0,x,9,no,x,x,x\n"
                             "toy_1,4,dense,mx,2,16,64,0,toy.gone,0,9,0,x,9,no,x,x,x\n"
                             "toy_1,4,dense,mx,7,16,64,0,toy.gone,0,9,0,x,9,no,x,x,x\n";
  std::ofstream(path_) << before;
  auto file = TunedFile::open(path_, backend_, "unused");
  ASSERT_TRUE(file);
  ASSERT_EQ(file->rejected().size(), 2U) << "no such kernel";
  file->put(row(1, 1), "one");
  file->put(row(2, 2), "two");
  file->put(row(3, 3), "three");
  ASSERT_TRUE(file->save());
  const auto line = [](int m, int us) {
    return "toy_1,4,dense,mx," + std::to_string(m) + ",16,64,0,toy.gemv_near,0," + std::to_string(us) +
           ".000,0.00,x,0.000,yes,x,x,x\n";
  };
  EXPECT_EQ(text(),
            std::string(tuned_table_schema) + "\n# mine\n" + std::string(tuned_table_header) + "\n# tune: one\n" +
                line(1, 1) + "# by hand\nother,4,dense,mx,1,16,64,0,toy.gemv_near,0,9,0,x,9,no,x,x,x\n# tune: two\n" +
                line(2, 2) + "toy_1,4,dense,mx,7,16,64,0,toy.gone,0,9,0,x,9,no,x,x,x\n# tune: three\n" + line(3, 3));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1) << "nothing is left beside it";
}

TEST_F(TunedFileOnDisk, WhatIsNoTableIsRefusedAndKept) {
  std::ofstream(path_) << "my notes\n";
  EXPECT_TRUE(fails_with(TunedFile::open(path_, backend_, ""), ErrorCode::parse_error, {"toy.csv:1:", "my notes"}));
  EXPECT_EQ(text(), "my notes\n");
  EXPECT_TRUE(fails_with(TunedFile::open(folder_, backend_, ""), ErrorCode::io_error, {"folder", "--out"}));
  auto nowhere = TunedFile::open(path_ / "below.csv", backend_, "");
  ASSERT_TRUE(nowhere);
  EXPECT_TRUE(fails_with(nowhere->save(), ErrorCode::io_error, {"below.csv", "--out"}));
}

}  // namespace
}  // namespace millet
