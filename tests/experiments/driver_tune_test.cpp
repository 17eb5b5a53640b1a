// SPDX-License-Identifier: Apache-2.0
// millet tune, end to end, and millet run with the table that it wrote.
#include "experiments/driver_fixture.hpp"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <set>
#include <thread>

#include "millet/dispatch/tuned_table.hpp"

namespace millet {
namespace {

using testing::IsSubstring;

class DriverTune : public Driver {
 protected:
  [[nodiscard]] Outcome tune(const std::string& arguments, const std::string& environment = "") const {
    std::string command = "tune --shapes two.csv --out t.csv";
    for (const auto& [option, value] : {std::pair{"--backend", "plain"}, std::pair{"--budget", "60s"}}) {
      if (arguments.find(option) == std::string::npos) command += fmt::format(" {} {}", option, value);
    }
    return millet(command + " " + arguments, environment);
  }
  [[nodiscard]] std::string table() const { return content_of(folder_ / "t.csv"); }
  // Lines of the table that are rows.
  [[nodiscard]] std::vector<std::string> rows() const {
    std::vector<std::string> found;
    std::istringstream lines(table());
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with('#') && line != tuned_table_header) found.push_back(line);
    }
    return found;
  }
  [[nodiscard]] std::vector<Record> candidates() const {
    const auto contents = read_jsonl(folder_ / "t.jsonl", /*strict=*/true);
    EXPECT_TRUE(contents) << contents.error().message;
    return contents ? contents->records : std::vector<Record>{};
  }
};

TEST_F(DriverTune, TheFasterPolicyIsWrittenAndThenSelected) {
  const Outcome tuned = tune("--m 1,2", "MILLET_TEST_SLOW_POLICY=0");
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  ASSERT_EQ(rows().size(), 4U) << table();
  for (const std::string& row : rows()) {
    EXPECT_PRED_FORMAT2(IsSubstring, ",plain.gemm_loops,1,", row);
    EXPECT_PRED_FORMAT2(IsSubstring, ",plain.gemm_loops policy 0,", row);
    EXPECT_PRED_FORMAT2(IsSubstring, ",yes,", row);
  }
  EXPECT_PRED_FORMAT2(IsSubstring, "times as fast as default plain.gemm_loops policy 0", table());
  EXPECT_PRED_FORMAT2(IsSubstring, "4 rows, 0 of them keep the default choice", tuned.out);
  const std::vector<Record> all = candidates();
  ASSERT_EQ(all.size(), 8U) << "two policies of each problem";
  for (const Record& record : all) {
    EXPECT_TRUE(record.timed());
    EXPECT_TRUE(record.verify.correct);
    EXPECT_EQ(record.cache.mode, "cold");
  }
  EXPECT_EQ(all[0].result.n, all[1].result.n) << "one sample of each in turn";

  const Outcome outcome = run("--m 1,2,3 --tuned plain=t.csv");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_PRED_FORMAT2(
      IsSubstring, "tuned rows chose 6 of 6 kernels, 4 of them by the very shape and 2 by the nearest m", outcome.err);
  for (const Record& record : records()) {
    EXPECT_EQ(record.subject.policy, "policy1");
    EXPECT_EQ(record.subject.chosen, record.subject.m == 3 ? "tuned_nearest_m" : "tuned_exact");
    EXPECT_TRUE(record.tuned.row.starts_with("t.csv:")) << record.tuned.row;
  }
}

TEST_F(DriverTune, NegativeResultsAreRowsTooWithTheirMargin) {
  const Outcome tuned = tune("--m 1 --filter up", "MILLET_TEST_SLOW_POLICY=1");
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  ASSERT_EQ(rows().size(), 1U);
  EXPECT_PRED_FORMAT2(IsSubstring, ",plain.gemm_loops,0,", rows()[0]);
  EXPECT_PRED_FORMAT2(IsSubstring, ",no,", rows()[0]);
  EXPECT_PRED_FORMAT2(IsSubstring,
                      "# tune: kept default plain.gemm_loops policy 0: the best of 1 others, "
                      "plain.gemm_loops policy 1, took ",
                      table());
  EXPECT_PRED_FORMAT2(IsSubstring, "1 rows, 1 of them keep the default choice", tuned.out);
  const Outcome named = tune("--m 1 --filter up --baseline plain.gemm_loops:1", "MILLET_TEST_SLOW_POLICY=1");
  ASSERT_EQ(named.code, 0) << named.err;
  ASSERT_EQ(rows().size(), 1U) << "the row of the same key is replaced";
  EXPECT_PRED_FORMAT2(IsSubstring, ",plain.gemm_loops policy 1,", rows()[0]);
  EXPECT_PRED_FORMAT2(IsSubstring, ",yes,", rows()[0]);
}

TEST_F(DriverTune, DenseAndGroupedProblemsBesideABaselineOfTheHost) {
  const Outcome tuned = tune("--m 3 --shapes moe.csv --baseline eigen_f32");
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  ASSERT_EQ(rows().size(), 4U) << table();
  EXPECT_PRED_FORMAT2(IsSubstring, ",grouped,mx,6,8,32,12,plain.grouped_gemm_loops,0,", rows()[3]);
  for (const std::string& row : rows()) EXPECT_PRED_FORMAT2(IsSubstring, ",eigen_f32 (", row);
  EXPECT_EQ(millet("run --shapes moe.csv --m 3 --budget 60s --out out --backend plain --tuned plain=t.csv").code, 0);
  for (const Record& record : records()) EXPECT_EQ(record.subject.chosen, "tuned_exact");
}

TEST_F(DriverTune, DryRunShowsTheSearchSpaceAndRunsNothing) {
  const Outcome outcome = tune("--dry-run", "MILLET_TEST_FAIL=1");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const std::string part :
       {"up/tp1/n16/k64/m5", "plain.gemm_loops policy 0", "5 contests with 10 candidates", "the budget of 60 s"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, outcome.out);
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "t.csv"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "t.jsonl"));
}

TEST_F(DriverTune, ResumeHoldsOnlyTheContestsThatAreMissing) {
  ASSERT_EQ(tune("--m 1").code, 0);
  const std::size_t before = candidates().size();
  ASSERT_EQ(before, 4U);
  std::filesystem::remove(folder_ / "t.csv");  // as if the run had ended between a record and its row
  const Outcome rest = tune("--m 1,2 --resume");
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_PRED_FORMAT2(IsSubstring, "4 measurements are in t.jsonl already", rest.err);
  EXPECT_EQ(candidates().size(), 8U);
  EXPECT_EQ(rows().size(), 4U) << "rows of the earlier contests come back from their records";
  ASSERT_EQ(tune("--m 1,2 --resume --protocol hot").code, 0);
  EXPECT_EQ(candidates().size(), 16U) << "hot times are another question";
  const Outcome cold = tune("--m 1,2 --resume");
  ASSERT_EQ(cold.code, 0) << cold.err;
  EXPECT_EQ(candidates().size(), 16U);
  EXPECT_PRED_FORMAT2(IsSubstring, ": 4 rows, ", cold.out) << "and none of the hot ones";
  ASSERT_EQ(tune("--m 1,2 --resume --baseline eigen_f32").code, 0);
  EXPECT_EQ(candidates().size(), 24U) << "the earlier contests had no such baseline";
  EXPECT_PRED_FORMAT2(IsSubstring, "eigen_f32 (", rows()[0]);
}

TEST_F(DriverTune, AContestThatWasTornIsHeldAgainAsAWhole) {
  ASSERT_EQ(tune("--m 1 --filter up").code, 0);
  const std::string records = content_of(folder_ / "t.jsonl");
  write("t.jsonl", records.substr(0, records.find('\n') + 1));  // killed between the records of the two candidates
  const Outcome rest = tune("--m 1 --filter up --resume");
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_EQ(candidates().size(), 3U) << "both again: no time is compared with one of another run";
  EXPECT_EQ(rows().size(), 1U);
  EXPECT_PRED_FORMAT2(IsSubstring, "best of 1 others", table());
}

TEST_F(DriverTune, AnInterruptLosesNoRowAndResumeCompletes) {
  const std::string arguments = "tune --shapes two.csv --m 1,2,3,4,5,6,7,8 --budget 20s --out t.csv --backend plain";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    setenv("MILLET_TEST_SLEEP_MS", "20", 1);
    if (chdir(folder_.c_str()) != 0 || std::freopen("stdout", "w", stdout) == nullptr ||
        std::freopen("stderr", "w", stderr) == nullptr)
      _exit(99);
    execl("/bin/sh", "sh", "-c", fmt::format("exec '{}' {}", MILLET_DRIVER, arguments).c_str(), nullptr);
    _exit(98);
  }
  for (int wait = 0; wait < 600 && !std::filesystem::exists(folder_ / "t.csv"); ++wait) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ASSERT_EQ(kill(child, SIGINT), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130) << content_of(folder_ / "stderr");
  EXPECT_PRED_FORMAT2(IsSubstring, "--resume --out t.csv", content_of(folder_ / "stderr"));
  const std::size_t kept = rows().size();
  EXPECT_GE(kept, 1U);
  EXPECT_LT(kept, 16U);
  EXPECT_EQ(candidates().size(), 2 * kept);

  const Outcome rest = tune("--m 1,2,3,4,5,6,7,8 --resume");
  EXPECT_EQ(rest.code, 0) << rest.err;
  std::set<std::string> ids;
  for (const Record& record : candidates()) {
    EXPECT_TRUE(ids.insert(record.case_id).second) << record.case_id << " twice";
  }
  EXPECT_EQ(ids.size(), 32U);
  EXPECT_EQ(rows().size(), 16U);
}

TEST_F(DriverTune, AWrongKernelGetsNoRow) {
  const Outcome outcome = tune("--backend faulty --m 1 --filter up");
  EXPECT_EQ(outcome.code, 4) << outcome.err;
  EXPECT_PRED_FORMAT2(IsSubstring, "no row: the default choice faulty.gemm_loops policy 0 has no time: incorrect",
                      outcome.out);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "t.csv"));
}

TEST_F(DriverTune, WhatCannotBeTunedIsRefused) {
  expect_refusal(tune("--backend timeless"), 5, {"'timeless' has no times"});
  expect_refusal(tune("--backend absent"), 5, {"no such device on this machine"});
  expect_refusal(tune("--backend plai"), 2, {"did you mean plain"});
  expect_refusal(tune("--backend plain,faulty"), 2, {"plain,faulty", "one by one"});
  expect_refusal(tune("--baseline eigen_f23"), 2, {"eigen_f23", "did you mean eigen_f32"});
  expect_refusal(tune("--baseline plain.gemm_loops:2"), 2, {"plain.gemm_loops:2", "policies [0, 2)"});
  expect_refusal(tune("--backend elsewhere --baseline eigen_f32"), 2, {"eigen_f32 computes on the host", "default"});
  expect_refusal(tune("--kernel wgmma"), 2, {"no kernel 'wgmma'", "plain.gemm_loops"});
  expect_refusal(tune("--kernel '['"), 2, {"'['", "no regular expression"});
  expect_refusal(tune("--budget never"), 2, {"--budget", "never"});
  expect_refusal(millet("tune --shapes two.csv --backend plain --out table"), 2, {"'table'", ".csv"});
  expect_refusal(millet("tune --shapes two.csv"), 2, {"--backend"});
  write("t.csv", "notes\n");
  expect_refusal(tune(""), 2, {"t.csv:1:", "millet-tuned"});
  EXPECT_EQ(table(), "notes\n");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "t.jsonl"));
}

TEST_F(DriverTune, TheProgramItselfIsTuned) {
  const auto real = [&](const std::string& arguments) {
    return shell(fmt::format("'{}' {} --shapes two.csv --shapes moe.csv --budget 60s", MILLET_PROGRAM, arguments));
  };
  const Outcome tuned = real("tune --backend portable --m 1,3 --protocol hot --out t.csv");
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  ASSERT_EQ(rows().size(), 8U) << table();
  const Outcome outcome =
      real("run --backend portable --m 1,3 --protocol hot --tuned portable=t.csv --strict --out out");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_PRED_FORMAT2(IsSubstring, "tuned rows chose 8 of 8 kernels, 8 of them by the very shape", outcome.err);
  for (const Record& record : records()) EXPECT_EQ(record.subject.chosen, "tuned_exact");
}

TEST_F(DriverTune, RunRefusesTablesThatItCannotUse) {
  expect_refusal(run("--tuned plain=none.csv"), 1, {"none.csv", "No such file"});
  expect_refusal(run("--tuned t.csv"), 2, {"t.csv", "backend=file.csv"});
  expect_refusal(run("--tuned plian=t.csv"), 2, {"plian", "did you mean plain"});
  expect_refusal(run("--tuned faulty=t.csv"), 2, {"'faulty' is not timed here"});
  write("t.csv", fmt::format("{}\n{}\nx,1,dense,mx,1,16,33,0,plain.gemm_loops,0,1,0,b,1,no,t,c,d\n", tuned_table_schema,
                             tuned_table_header));
  expect_refusal(run("--tuned plain=t.csv --strict"), 2, {"t.csv:3:", "k=33"});
  EXPECT_EQ(run("--m 1 --tuned plain=t.csv").code, 0);
  EXPECT_EQ(records()[0].tuned.rejected_rows, 1);
}

}  // namespace
}  // namespace millet
