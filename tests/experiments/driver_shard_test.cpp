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
  EXPECT_PRED_FORMAT2(IsSubstring, "up", merged.out);
  EXPECT_EQ(merged.out.find("not run"), content_of(results() / "speedup.md").find("not run"))
      << "the tables have no hole: " << merged.out;
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
