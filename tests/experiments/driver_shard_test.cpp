// SPDX-License-Identifier: Apache-2.0
// One sweep on several machines: shards of a run, and one report of their records.
#include "experiments/driver_fixture.hpp"

#include <map>

namespace millet {
namespace {

using testing::IsSubstring;

class DriverShard : public Driver {
 protected:
  // Runs one shard of the two files in the order given and returns the ids that it measured.
  [[nodiscard]] std::vector<std::string> shard(const std::string& part, const std::string& files) const {
    const std::string out = "shard-" + part.substr(0, 1);
    std::filesystem::remove_all(folder_ / out);
    const Outcome outcome =
        millet(fmt::format("run {} --budget 60s --out {} --backend plain --shard {}", files, out, part));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    const auto contents = read_jsonl(folder_ / out / "records.jsonl", /*strict=*/true);
    EXPECT_TRUE(contents) << part;
    std::vector<std::string> ids;
    for (const Record& record : contents->records) ids.push_back(record.case_id);
    std::sort(ids.begin(), ids.end());
    return ids;
  }
};

TEST_F(DriverShard, EveryCaseIsInOneShardWhateverTheOrder) {
  std::map<std::string, int> seen;
  for (const std::string part : {"1/3", "2/3", "3/3"}) {
    const auto ids = shard(part, "--shapes two.csv --shapes moe.csv --shapes two.csv");
    EXPECT_GE(ids.size(), 2U) << "8 problems in 3 parts";
    EXPECT_LE(ids.size(), 3U);
    EXPECT_EQ(ids, shard(part, "--shapes moe.csv --shapes two.csv"));
    for (const std::string& id : ids) ++seen[id];
  }
  ASSERT_EQ(millet("run --shapes two.csv --shapes moe.csv --budget 60s --out out --backend plain").code, 0);
  const std::vector<Record> whole = records();
  EXPECT_EQ(seen.size(), whole.size());
  for (const Record& record : whole) EXPECT_EQ(seen[record.case_id], 1) << record.repro;

  const Outcome merged = millet("report --md shard-1/records.jsonl shard-2/records.jsonl shard-3/records.jsonl");
  ASSERT_EQ(merged.code, 0) << merged.err;
  // One table of the dense cases and one of the grouped, with the cases of all three.
  EXPECT_PRED_FORMAT2(IsSubstring, "- evidence: 5 measured\n", merged.out);
  EXPECT_PRED_FORMAT2(IsSubstring, "- evidence: 3 measured\n", merged.out);
}

TEST_F(DriverShard, AJobArrayRunsEveryShard) {
  const auto task = [&](int number, const std::string& array) {
    return shell(
        fmt::format("SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID={} {} MILLET='{}' '{}' --shapes two.csv "
                    "--backend plain --budget 60s",
                    number, array, MILLET_DRIVER, MILLET_SCRIPTS "/slurm_array.sh"));
  };
  const std::string whole = "SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=2 SLURM_ARRAY_TASK_COUNT=2";
  EXPECT_EQ(task(1, whole).code, 0);
  EXPECT_EQ(task(2, whole).code, 0);
  const Outcome again = task(2, "SHARDS=2 SLURM_ARRAY_TASK_MIN=2 SLURM_ARRAY_TASK_MAX=2 SLURM_ARRAY_TASK_COUNT=1");
  EXPECT_EQ(again.code, 0) << again.err;
  std::size_t measured = 0;
  for (const std::string part : {"1", "2"}) {
    const auto contents = read_jsonl(folder_ / "results/7" / ("shard-" + part) / "records.jsonl", true);
    ASSERT_TRUE(contents);
    measured += contents->records.size();
  }
  EXPECT_EQ(measured, 5U) << "no case twice, none left out";
  const Outcome unclear = task(2, "SLURM_ARRAY_TASK_MIN=2 SLURM_ARRAY_TASK_MAX=2 SLURM_ARRAY_TASK_COUNT=1");
  EXPECT_EQ(unclear.code, 2);
  EXPECT_PRED_FORMAT2(IsSubstring, "SHARDS=8", unclear.err);
}

TEST_F(DriverShard, ResumeStaysInItsShard) {
  const auto first = shard("2/2", "--shapes two.csv");
  const Outcome again = millet("run --shapes two.csv --budget 60s --out shard-2 --backend plain --shard 2/2 --resume");
  ASSERT_EQ(again.code, 0) << again.err;
  const auto contents = read_jsonl(folder_ / "shard-2" / "records.jsonl", true);
  EXPECT_EQ(contents->records.size(), first.size());
}

TEST_F(DriverShard, AShardWithoutCasesIsNoFailure) {
  std::size_t empty = 0;
  for (const std::string part : {"1/3", "2/3", "3/3"}) {
    const Outcome outcome = millet("run --shapes two.csv --filter up --m 1,2 --budget 60s --backend plain --out o" +
                                   part.substr(0, 1) + " --shard " + part);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    if (outcome.err.find("holds none of the 2 cases") != std::string::npos) ++empty;
  }
  EXPECT_EQ(empty, 1U);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "o3"));
}

TEST_F(DriverShard, PartsThatDoNotExistAreRefused) {
  for (const std::string part : {"0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/3x"}) {
    expect_refusal(run("--shard=" + part), 2, {"--shard", "'" + part + "'", "1/8 to 8/8"});
  }
}

}  // namespace
}  // namespace millet
