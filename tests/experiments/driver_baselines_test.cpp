// SPDX-License-Identifier: Apache-2.0
// Baselines that are programs of their own: what the driver asks of them, and what it makes of their failures.
#include <nlohmann/json.hpp>
#include <set>

#include "experiments/driver_fixture.hpp"

namespace millet {
namespace {

using testing::IsSubstring;
using Json = nlohmann::json;

class DriverBaselines : public Driver {
 protected:
  /// The option that adds fake_baseline.py, which misbehaves as `behaviour` says and logs its requests.
  [[nodiscard]] static std::string fake(const std::string& behaviour) {
    return fmt::format("--baseline none --baseline-program 'fake={} {}/experiments/fake_baseline.py {} requests'",
                       MILLET_PYTHON, MILLET_TEST_DATA, behaviour);
  }
  [[nodiscard]] std::vector<Json> requests() const {
    std::vector<Json> all;
    std::ifstream file(folder_ / "requests");
    for (std::string line; std::getline(file, line);) all.push_back(Json::parse(line));
    return all;
  }
};

TEST_F(DriverBaselines, AProgramIsTimedByTurnsWithTheKernels) {
  const Outcome outcome = run("--filter up " + fake("good"));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 3U);
  Index samples = 0;
  for (const Record& record : all) {
    ASSERT_EQ(record.baselines.size(), 1U) << record.note;
    const RecordBaseline& baseline = record.baselines.front();
    EXPECT_EQ(baseline.name, "fake 1.0");
    EXPECT_EQ(baseline.role, "performance");
    EXPECT_EQ(baseline.detail, fmt::format("tile of {}", record.subject.m));
    EXPECT_EQ(baseline.median_ns, 1e6);
    EXPECT_EQ(baseline.n, record.result.n) << "one sample of each in turn";
    EXPECT_PRED_FORMAT2(IsSubstring, "--baseline-program 'fake=", record.repro);
    samples += record.result.n;
  }
  EXPECT_PRED_FORMAT2(IsSubstring, "Speedup over fake 1.0 (performance baseline)", outcome.out);

  const std::vector<Json> asked = requests();
  ASSERT_FALSE(asked.empty());
  EXPECT_EQ(asked[0]["request"], "hello");
  EXPECT_EQ(asked[0]["baselines"], Json({"fake"}));
  ASSERT_EQ(asked[0]["devices"].size(), 1U);
  EXPECT_EQ(asked[0]["devices"][0], all[0].env.device);
  std::vector<Json> prepared;
  Index sampled = 0;
  for (const Json& request : asked) {
    if (request["request"] == "prepare") prepared.push_back(request);
    sampled += request["request"] == "sample" ? 1 : 0;
  }
  ASSERT_EQ(prepared.size(), 3U);
  EXPECT_EQ(prepared[1]["m"], 2);
  EXPECT_EQ(prepared[1]["n"], 16);
  EXPECT_EQ(prepared[1]["k"], 64);
  EXPECT_EQ(prepared[1]["operation"], "dense");
  EXPECT_EQ(prepared[1]["activation"], "mx");
  EXPECT_EQ(prepared[1]["output"], "bf16");
  EXPECT_EQ(prepared[1]["protocol"], "cold+graph");
  EXPECT_EQ(prepared[1]["touched_weight_bytes"], 16 * 64 * 33 / 32);
  EXPECT_EQ(prepared[1]["last_level_cache_bytes"], all[1].cache.last_level_cache_bytes);
  EXPECT_EQ(prepared[1]["launches_per_sample"], 1);
  // Two warm-ups a case, and before each sample one that nobody counts; so too for the warm-ups of the kernel.
  EXPECT_EQ(sampled, 3 * 2 + 2 * samples);
}

TEST_F(DriverBaselines, ExpertsGoWithTheirRouting) {
  const Outcome outcome = run("--shapes moe.csv --m 3 --filter gemm1 " + fake("good"));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  ASSERT_EQ(records().size(), 1U);
  for (const Json& request : requests()) {
    if (request["request"] != "prepare") continue;
    EXPECT_EQ(request["operation"], "grouped");
    EXPECT_EQ(request["m"], 3) << "rows of A";
    EXPECT_EQ(request["a_div"], 2);
    EXPECT_EQ(request["weighted"], false);
    EXPECT_EQ(request["epilogue"], "none");
    const auto experts = request["expert_of_slot"].get<std::vector<Index>>();
    ASSERT_EQ(experts.size(), 6U);
    const std::set<Index> used(experts.begin(), experts.end());
    EXPECT_EQ(*used.begin(), 0);
    EXPECT_EQ(*used.rbegin(), static_cast<Index>(used.size()) - 1) << "numbered without gaps";
    EXPECT_EQ(static_cast<Index>(used.size()), records()[0].work.touched_experts);
    EXPECT_EQ(request["touched_weight_bytes"], static_cast<Index>(used.size()) * 16 * 64 * 33 / 32);
  }
}

TEST_F(DriverBaselines, AFloorIsNoSpeedup) {
  const Outcome outcome = run("--filter up --m 1 " + fake("floor"));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  ASSERT_EQ(records().size(), 1U);
  EXPECT_EQ(records()[0].baselines.at(0).role, "floor");
  EXPECT_PRED_FORMAT2(IsSubstring, "Time of fake 1.0, which does less than the work, over the time of a call",
                      outcome.out);
}

TEST_F(DriverBaselines, WhatCannotStartIsRefusedBeforeAnythingIsMeasured) {
  expect_refusal(run(fake("cannot")), 5, {"baseline fake: no module named soup; install soup"});
  expect_refusal(run(fake("elsewhere")), 5, {"'another device'", "a ratio between devices"});
  expect_refusal(run(fake("future")), 5, {"\"protocol\":2", "wanted protocol 1"});
  expect_refusal(run("--baseline-program fake=/no/such/program"), 5,
                 {"baseline fake", "/no/such/program", "exit code 127", "not found"});
  expect_refusal(run("--baseline-limit 200ms --baseline-program 'fake=sleep 100'"), 5,
                 {"asked to hello: it did not answer within 0.2 s"});
  expect_refusal(run("--baseline-program fake"), 2, {"'fake' is not of the form name=command"});
  expect_refusal(run("--baselines tritom"), 2, {"no baseline 'tritom'", "did you mean triton"});
  EXPECT_FALSE(std::filesystem::exists(results()));
}

TEST_F(DriverBaselines, ThisProjectsOwnSayWhatToInstall) {
  expect_refusal(run("--baseline triton,bf16", "MILLET_PYTHON=/no/python"), 5,
                 {"baseline triton, bf16", "/no/python", "not found", "install python3 with torch and triton"});
  // A Python without its site packages has no torch.
  write("python", fmt::format("#!/bin/sh\nexec {} -I -S \"$@\"\n", MILLET_PYTHON));
  std::filesystem::permissions(folder_ / "python", std::filesystem::perms::owner_all);
  expect_refusal(run("--baseline cublaslt", "MILLET_PYTHON=./python"), 5,
                 {"baseline cublaslt", "No module named 'torch'", "pip install torch", "MILLET_PYTHON"});
  EXPECT_FALSE(std::filesystem::exists(results()));
}

// Three cases that prepare for 1.5 s each.
TEST_F(DriverBaselines, WhatAProgramTakesToPrepareIsNotInTheBudget) {
  const Outcome outcome = run("--filter up --budget 3s " + fake("slow"));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const Record& record : records()) {
    EXPECT_TRUE(record.timed()) << record.note;
    EXPECT_EQ(record.baselines.size(), 1U) << record.note;
  }
}

TEST_F(DriverBaselines, WhatAProgramDeclinesOrGetsWrongHasNoTime) {
  const Outcome declined = run("--filter up --m 1 " + fake("declines"));
  EXPECT_EQ(declined.code, 0) << declined.err;
  EXPECT_TRUE(records().back().timed());
  EXPECT_EQ(records().back().note, "no baseline fake: m is not to its taste");
  const Outcome wrong = run("--filter up --m 1 " + fake("incorrect"));
  EXPECT_EQ(wrong.code, 4) << wrong.err;
  EXPECT_TRUE(records().back().timed());
  EXPECT_TRUE(records().back().baselines.empty());
  EXPECT_EQ(records().back().note, "no baseline fake: incorrect: relative error 0.5");
}

TEST_F(DriverBaselines, OneThatCannotPrepareFailsTheRunAndNotTheKernels) {
  for (const auto& [behaviour, words] :
       {std::pair{"breaks", "asked to prepare: the device fell off"}, std::pair{"nameless", "wanted a title"}}) {
    const Outcome outcome = run("--filter up --m 1 " + fake(behaviour));
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_TRUE(records().back().timed());
    EXPECT_PRED_FORMAT2(IsSubstring, words, records().back().note);
  }
}

// The page of a GPU's results is made of such records.
TEST_F(DriverBaselines, TheirRecordsMakeAPage) {
  ASSERT_EQ(run("--filter up " + fake("good")).code, 0);
  std::filesystem::copy_file(results() / "records.jsonl", folder_ / "cold-seed-dense.jsonl");
  std::filesystem::remove(results() / "records.jsonl");
  ASSERT_EQ(run("--shapes moe.csv --m 3 --filter gemm1 " + fake("floor")).code, 0);
  std::filesystem::copy_file(results() / "records.jsonl", folder_ / "cold-seed-moe.jsonl");
  const Outcome page = shell(fmt::format("{} {}/gpu_results.py .", MILLET_PYTHON, MILLET_SCRIPTS));
  ASSERT_EQ(page.code, 0) << page.err;
  for (const char* part : {"--baseline-program 'fake=", "| layer | K | N | M=1 | M=2 | M=5 | geomean |",
                           "Speedup over fake 1.0:", "| tile of 1 | tile of 2 | tile of 5 |", "Time over fake 1.0:"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, page.out);
  }
  const Outcome empty = shell(fmt::format("mkdir none && {} {}/gpu_results.py none", MILLET_PYTHON, MILLET_SCRIPTS));
  EXPECT_EQ(empty.code, 1);
  EXPECT_PRED_FORMAT2(IsSubstring, "no cold-<preset>.jsonl", empty.err);
}

struct Failure {
  const char* behaviour;
  const char* words;
};
void PrintTo(const Failure& failure, std::ostream* out) { *out << failure.behaviour; }

class FailingPrograms : public DriverBaselines, public testing::WithParamInterface<Failure> {};

// It fails in the middle of the second case.
TEST_P(FailingPrograms, LoseNoRecord) {
  // Only one of them waits for the limit, which must leave a busy machine the time to start an interpreter.
  const std::string limit = std::string(GetParam().behaviour) == "hangs" ? "--baseline-limit 5s " : "";
  const Outcome outcome = run("--filter up " + limit + fake(GetParam().behaviour));
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 3U);
  for (const Record& record : all) EXPECT_TRUE(record.timed()) << record.note;
  EXPECT_EQ(all[0].baselines.size(), 1U);
  EXPECT_EQ(all[0].note, "");
  for (const std::size_t after : {1U, 2U}) {
    EXPECT_TRUE(all[after].baselines.empty());
    EXPECT_PRED_FORMAT2(IsSubstring, "no baseline fake", all[after].note);
    EXPECT_PRED_FORMAT2(IsSubstring, "asked to sample: ", all[after].note);
    EXPECT_PRED_FORMAT2(IsSubstring, GetParam().words, all[after].note);
  }
  EXPECT_PRED_FORMAT2(IsSubstring, "2 contestants ended with an error", outcome.err);
}
INSTANTIATE_TEST_SUITE_P(All, FailingPrograms,
                         testing::Values(Failure{"dies", "before it answered; its last words: "},
                                         Failure{"exits",
                                                 "exit code 1 before it answered; its last words: SoupError: "
                                                 "the pot is empty"},
                                         Failure{"hangs", "it did not answer within 5 s, and was killed"},
                                         Failure{"babbles", "'warning: soup is hot', which is no JSON object"},
                                         Failure{"floods", "bytes without a line end, and was killed"},
                                         Failure{"zero", R"({"seconds":0}; wanted seconds > 0)"}),
                         [](const auto& failure) { return failure.param.behaviour; });

}  // namespace
}  // namespace millet
