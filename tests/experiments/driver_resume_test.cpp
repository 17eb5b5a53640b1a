// SPDX-License-Identifier: Apache-2.0
// Runs that end early, go on later, or meet an operating system that refuses.
#include "experiments/driver_fixture.hpp"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <set>
#include <thread>

namespace millet {
namespace {

using testing::IsSubstring;

TEST_F(Driver, ResumeLeavesOutWhatIsMeasured) {
  ASSERT_EQ(run("--m 1").code, 0);
  ASSERT_EQ(records().size(), 2U);
  const Outcome again = run("--m 1,4 --resume");
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_PRED_FORMAT2(IsSubstring, "2 measurements are in out/records.jsonl already", again.err);
  ASSERT_EQ(records().size(), 4U);
  EXPECT_EQ(run("--m 1,4 --resume").code, 0) << "nothing left to do";
  EXPECT_EQ(records().size(), 4U);
  EXPECT_EQ(run("--m 1,4 --resume --seed 2").code, 0) << "other operands are other cases";
  EXPECT_EQ(records().size(), 8U);
  EXPECT_EQ(run("--m 1").code, 0) << "without --resume everything is measured again";
  EXPECT_EQ(records().size(), 10U);
}

TEST_F(Driver, ResumeDoesNotTrustAnotherBuildNorARecordWithoutTime) {
  ASSERT_EQ(run("--m 1").code, 0);
  std::vector<Record> all = records();
  all[0].build.git = "another";
  all[0].build_id = build_id(all[0].build);
  std::string text;
  for (const Record& record : all) text += to_json_line(record).value() + "\n";
  write("out/records.jsonl", text);
  ASSERT_EQ(run("--m 1 --resume").code, 0);
  EXPECT_EQ(records().size(), 3U);

  EXPECT_EQ(millet("run --shapes two.csv --budget 1ms --out late --backend plain").code, 2);
  const Outcome later = millet("run --shapes two.csv --budget 60s --out late --backend plain --resume");
  EXPECT_EQ(later.code, 0) << later.err;
  EXPECT_PRED_FORMAT2(IsSubstring, "5 measured", later.err);
}

TEST_F(Driver, AnInterruptKeepsWhatIsMeasuredAndResumeCompletes) {
  const std::string arguments = "run --shapes two.csv --m 1,2,3,4,5,6,7,8 --budget 10s --out out --backend plain";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const int sink = chdir(folder_.c_str()) == 0 ? 0 : 1;
    setenv("MILLET_TEST_SLEEP_MS", "20", 1);
    if (sink != 0 || std::freopen("stdout", "w", stdout) == nullptr || std::freopen("stderr", "w", stderr) == nullptr)
      _exit(99);
    execl("/bin/sh", "sh", "-c", fmt::format("exec '{}' {}", MILLET_DRIVER, arguments).c_str(), nullptr);
    _exit(98);
  }
  const auto file = results() / "records.jsonl";
  for (int wait = 0; wait < 600 && (!std::filesystem::exists(file) || std::filesystem::file_size(file) == 0); ++wait) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ASSERT_EQ(kill(child, SIGINT), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130) << content_of(folder_ / "stderr");
  EXPECT_PRED_FORMAT2(IsSubstring, "--resume", content_of(folder_ / "stderr"));
  EXPECT_PRED_FORMAT2(IsSubstring, "Median time", content_of(folder_ / "stdout"));
  const std::size_t kept = records().size();
  EXPECT_GE(kept, 1U);
  EXPECT_LT(kept, 16U);

  const Outcome rest =
      millet("run --shapes two.csv --m 1,2,3,4,5,6,7,8 --budget 60s --out out --backend plain --resume");
  EXPECT_EQ(rest.code, 0) << rest.err;
  std::set<std::string> ids;
  for (const Record& record : records()) {
    EXPECT_TRUE(record.timed());
    EXPECT_TRUE(ids.insert(record.case_id).second) << record.case_id << " twice";
  }
  EXPECT_EQ(ids.size(), 16U);
}

TEST_F(Driver, AFullDiskKeepsEarlierRecords) {
  ASSERT_EQ(run("--m 1").code, 0);
  const auto file = results() / "records.jsonl";
  const auto before = std::filesystem::file_size(file);
  const std::size_t kept = records().size();
  // A limit on the size of files stands for a full disk; the unit of ulimit -f is 512 bytes in POSIX shells, 1024 in
  // bash.
  const Outcome full =
      shell(fmt::format("ulimit -f {} ; '{}' run --shapes two.csv --m 2,3,4,5 --budget 60s --out out --backend plain",
                        before / 1024 + 4, MILLET_DRIVER));
  EXPECT_EQ(full.code, 1) << full.err;
  EXPECT_PRED_FORMAT2(IsSubstring, "records.jsonl", full.err);
  EXPECT_PRED_FORMAT2(IsSubstring, "File too large", full.err);
  EXPECT_PRED_FORMAT2(IsSubstring, "kept in", full.err);
  EXPECT_GE(records().size(), kept);  // strict reading: no torn line
  EXPECT_LT(records().size(), kept + 8);
  EXPECT_EQ(run("--m 1,2,3,4,5 --resume").code, 0);
  EXPECT_EQ(records().size(), 10U);
}

TEST_F(Driver, AnUnwritableFolderIsToldBeforeAnythingRuns) {
  write("file", "");
  const Outcome outcome = millet("run --shapes two.csv --budget 60s --out file/below --backend plain");
  expect_refusal(outcome, 1, {"file/below"});
}

}  // namespace
}  // namespace millet
