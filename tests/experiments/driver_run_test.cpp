// SPDX-License-Identifier: Apache-2.0
// millet run, end to end: what it records, and what it refuses to record.
#include "experiments/driver_fixture.hpp"

#include <chrono>
#include <set>

namespace millet {
namespace {

using testing::IsSubstring;

TEST_F(Driver, RunRecordsAndReportsEveryCase) {
  const Outcome outcome = run("--tag host=lab --tag why=test");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 5U);
  std::set<std::string> ids;
  for (const Record& record : all) {
    ids.insert(record.case_id);
    EXPECT_TRUE(record.timed()) << record.note;
    EXPECT_EQ(record.evidence, Evidence::measured);
    EXPECT_EQ(record.subject.kernel, "plain.gemm_loops");
    EXPECT_EQ(record.verify.mode, "oracle");
    EXPECT_TRUE(record.verify.correct);
    EXPECT_GE(record.result.n, 5);
    EXPECT_EQ(static_cast<Index>(record.result.samples_ns.size()), record.result.n);
    EXPECT_GT(record.result.median_ns, 0);
    ASSERT_EQ(record.baselines.size(), 1U) << record.note;
    EXPECT_TRUE(record.baselines[0].name.starts_with("eigen_f32 (")) << record.baselines[0].name;
    EXPECT_GT(record.baselines[0].median_ns, 0);
    EXPECT_EQ(record.cache.mode, "cold");
    EXPECT_GT(record.cache.footprint_bytes, 2 * record.cache.last_level_cache_bytes);
    EXPECT_EQ(record.tags.at("host"), "lab");
    EXPECT_EQ(record.tags.at("why"), "test");
  }
  EXPECT_EQ(ids.size(), 5U);
  // Compulsory traffic of up, m=2: A and B with scales, C in bf16.
  EXPECT_EQ(all[1].work.bytes, (2 * 64 + 16 * 64) * 33.0 / 32.0 + 2 * 16 * 2);
  EXPECT_EQ(all[1].work.flops, 2.0 * 2 * 16 * 64);

  EXPECT_EQ(lines_of(outcome.err), 6U) << outcome.err;  // a line a case, since this is no terminal, and a summary
  EXPECT_PRED_FORMAT2(IsSubstring, "[5/5] down/tp1/n24/k32/m3", outcome.err);
  EXPECT_PRED_FORMAT2(IsSubstring, "5 measured", outcome.err);
  for (const std::string& text : {outcome.out, content_of(results() / "speedup.md")}) {
    EXPECT_PRED_FORMAT2(IsSubstring, "Speedup over eigen_f32 (", text);
    EXPECT_EQ(text.find("nan"), std::string::npos) << text;
    EXPECT_EQ(text.find("inf"), std::string::npos) << text;
  }
  EXPECT_EQ(lines_of(content_of(results() / "roofline.csv")), 1 + 5U);
}

TEST_F(Driver, BadShapeFilesAreRefusedWithTheLine) {
  const std::string header = "# millet-dense-shapes 1\nlabel,tp,k,n,m,presets,source\n";
  write("k.csv", header + "good,1,64,8,1,p,s\nbad,1,100,8,1,p,s\n");
  expect_refusal(millet("run --shapes k.csv"), 2, {"k.csv:4:", "100"});
  write("fields.csv", header + "bad,1,64\n");
  expect_refusal(millet("run --shapes fields.csv"), 2, {"fields.csv:3:"});
  write("schema.csv", "label,k,n\n");
  expect_refusal(millet("run --shapes schema.csv"), 2, {"schema.csv:1:"});
  write("none.csv", header);
  expect_refusal(millet("run --shapes none.csv"), 2, {"none.csv", "no shapes"});
  expect_refusal(millet("run --shapes absent.csv"), 1, {"absent.csv", "No such file"});
  expect_refusal(millet("run --shapes ."), 1, {"folder"});
}

TEST_F(Driver, ABackendThatIsAskedForMustRun) {
  expect_refusal(run("--backend plain,absent"), 5, {"'absent'", "no such device on this machine"});
  EXPECT_FALSE(std::filesystem::exists(results()));
  const Outcome all = millet("run --shapes two.csv --m 1 --filter up --budget 60s --out out --backend all");
  EXPECT_EQ(all.code, 4) << "faulty is among them: " << all.err;
  std::set<std::string> backends;
  for (const Record& record : records()) backends.insert(record.subject.backend);
  EXPECT_EQ(backends, (std::set<std::string>{"plain", "faulty", "stray", "elsewhere"}));
}

TEST_F(Driver, ABackendWithoutTimesIsVerifiedAndNotTimed) {
  expect_refusal(run("--backend timeless"), 5, {"'timeless' has no times", "millet verify --backend timeless"});
  const Outcome verified = millet("verify --backend timeless --quiet --m 1,3");
  EXPECT_EQ(verified.code, 0) << verified.err;
}

TEST_F(Driver, AnIncorrectKernelGetsNoTime) {
  const Outcome outcome = millet("run --shapes two.csv --filter up --budget 60s --out out --backend faulty,plain");
  EXPECT_EQ(outcome.code, 4) << outcome.err;
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 6U);
  for (const Record& record : all) {
    const bool faulty = record.subject.backend == "faulty";
    EXPECT_EQ(record.wrong(), faulty);
    EXPECT_EQ(record.timed(), !faulty);
    EXPECT_EQ(record.result.n == 0, faulty);
    if (faulty) {
      EXPECT_PRED_FORMAT2(IsSubstring, "12352", record.verify.verdict + record.note);
      EXPECT_GT(record.verify.max_ratio, 1.0);
    }
  }
  EXPECT_PRED_FORMAT2(IsSubstring, "wrong", outcome.out);
  EXPECT_PRED_FORMAT2(IsSubstring, "3 INCORRECT", outcome.err);
}

TEST_F(Driver, AnIncorrectBaselineIsDroppedAndTold) {
  const Outcome outcome = run("--m 1 --filter up --baseline faulty,plain");
  EXPECT_EQ(outcome.code, 4) << outcome.err;
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(all[0].timed());
  EXPECT_TRUE(all[0].baselines.empty()) << "nobody is compared with himself, nor with a wrong result";
  EXPECT_PRED_FORMAT2(IsSubstring, "no baseline faulty: incorrect", all[0].note);
}

TEST_F(Driver, SeveralBaselinesGetATableEach) {
  const std::string doctor = millet("doctor").out;
  std::string names = "eigen_f32";
  for (const std::string name : {"openblas_f32", "onednn_bf16"}) {
    if (doctor.find(name + " (") != std::string::npos) {
      names += "," + name;
    } else {  // not built in, or not for this CPU
      expect_refusal(run("--baseline " + name), 5, {"baseline " + name});
    }
  }
  const auto count = static_cast<std::size_t>(std::count(names.begin(), names.end(), ',')) + 1;
  const Outcome outcome = run("--m 3 --baseline " + names);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const Record& record : records()) {
    ASSERT_EQ(record.baselines.size(), count) << record.note;
    for (const RecordBaseline& baseline : record.baselines) {
      EXPECT_EQ(baseline.n, record.result.n) << "one sample of each in turn";
      EXPECT_PRED_FORMAT2(IsSubstring, "Speedup over " + baseline.name, outcome.out);
    }
  }
}

TEST_F(Driver, BaselinesStandInTheRecordOfTheSameRun) {
  const Outcome outcome = run("--m 2 --filter up --baseline eigen_f32,reference");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 1U);
  ASSERT_EQ(all[0].baselines.size(), 2U);
  EXPECT_EQ(all[0].baselines[0].role, "performance");
  EXPECT_EQ(all[0].baselines[1].role, "correctness");
  EXPECT_EQ(all[0].baselines[0].n, all[0].result.n) << "one sample of each in turn";
  ASSERT_EQ(run("--m 2 --filter up --baseline none").code, 0);
  EXPECT_TRUE(records().back().baselines.empty());
}

TEST_F(Driver, AKernelThatEndsWithAnErrorFailsTheRun) {
  const Outcome outcome = run("--m 1", "MILLET_TEST_FAIL=1");
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 2U);
  for (const Record& record : all) {
    EXPECT_EQ(record.evidence, Evidence::not_run);
    EXPECT_EQ(record.note, "the test asked for this failure");
  }
}

TEST_F(Driver, ThereIsNoSpeedupBetweenDevices) {
  const Outcome outcome = run("--m 2 --filter up --backend elsewhere,plain --baseline eigen_f32,plain,reference");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_TRUE(all[0].timed());
  EXPECT_EQ(all[0].subject.threads, 0) << "no thread of the host computes";
  EXPECT_TRUE(all[0].baselines.empty());
  EXPECT_PRED_FORMAT2(IsSubstring, "no baseline plain: it computes on another device", all[0].note);
  EXPECT_EQ(all[1].baselines.size(), 2U);
  EXPECT_EQ(all[1].subject.threads, 1);
}

TEST_F(Driver, DeclinesAreRecordedWithTheirReason) {
  write("odd.csv", "# millet-dense-shapes 1\nlabel,tp,k,n,m,presets,source\nodd,1,64,15,1,p,s\neven,1,64,16,1,p,s\n");
  const Outcome outcome = millet("run --shapes odd.csv --backend plain --budget 60s --out out");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].evidence, Evidence::not_run);
  EXPECT_PRED_FORMAT2(IsSubstring, "n not a multiple of the n tile", all[0].note);
  EXPECT_TRUE(all[1].timed());
  const Outcome none = millet("run --shapes odd.csv --filter odd --backend plain --budget 60s --out out2");
  EXPECT_EQ(none.code, 2) << "a run that measures nothing is no success";
  EXPECT_PRED_FORMAT2(IsSubstring, "none of the 1 cases was measured", none.err);
}

TEST_F(Driver, AForcedKernelIsUsedOrRefused) {
  expect_refusal(run("", "MILLET_FORCE_KERNEL=plain.gemm_simd"), 2,
                 {"no kernel 'plain.gemm_simd'", "plain.gemm_loops"});
  expect_refusal(run("--kernel plain.gemm_loops --policy 2"), 2, {"policies [0, 2)", "got 2"});
  expect_refusal(run("--kernel plain.gemm_loops --activation bf16"), 2, {"declines", "bf16 activations unsupported"});
  EXPECT_FALSE(std::filesystem::exists(results()));
  ASSERT_EQ(run("--m 1 --filter up --kernel plain.gemm_loops --policy 1").code, 0);
  ASSERT_EQ(run("--m 2 --filter up", "MILLET_FORCE_KERNEL=plain.gemm_loops").code, 0);
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].subject.chosen, "forced");
  EXPECT_EQ(all[0].subject.policy, "policy1");
  EXPECT_EQ(all[1].subject.chosen, "forced");
  EXPECT_EQ(all[1].subject.policy, "policy0");
}

TEST_F(Driver, WhatTheBudgetDoesNotReachIsShownAsNotRun) {
  const Outcome outcome = run("--budget 1ms");
  EXPECT_EQ(outcome.code, 2);
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 5U);
  for (const Record& record : all) {
    EXPECT_EQ(record.evidence, Evidence::not_run);
    EXPECT_PRED_FORMAT2(IsSubstring, "budget of 0.001 s", record.note);
    EXPECT_PRED_FORMAT2(IsSubstring, "--resume", record.note);
  }
  EXPECT_PRED_FORMAT2(IsSubstring, "not run", outcome.out);
  EXPECT_EQ(millet("run --shapes moe.csv --budget 1ms --out moe --backend plain").code, 2);
  const auto grouped = read_jsonl(folder_ / "moe" / "records.jsonl", true);
  ASSERT_TRUE(grouped);
  ASSERT_EQ(grouped->records.size(), 3U);
  for (const Record& record : grouped->records) EXPECT_TRUE(record.note.starts_with("the budget of")) << record.note;
}

TEST_F(Driver, ABudgetEndsTheRun) {
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome =
      run("--budget 500ms", "MILLET_TEST_SLEEP_MS=20");  // at most 8 calls, or 160 ms, a case at least
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_LT(elapsed.count(), 10.0);
  for (const Record& record : records()) {
    if (!record.timed()) continue;
    EXPECT_LE(record.result.n, 25) << "20 ms a call in 500 ms";
  }
}

TEST_F(Driver, TheReproLineRunsTheSameCase) {
  ASSERT_EQ(run("--seed 7 --output f32 --protocol hot").code, 0);
  const std::vector<Record> first = records();
  ASSERT_EQ(first.size(), 5U);
  const Record& wanted = first[2];
  ASSERT_TRUE(wanted.repro.starts_with("millet run ")) << wanted.repro;
  const Outcome again = millet(wanted.repro.substr(7) + " --budget 60s --out again");
  ASSERT_EQ(again.code, 0) << again.err << wanted.repro;
  const auto contents = read_jsonl(folder_ / "again" / "records.jsonl", true);
  ASSERT_TRUE(contents);
  ASSERT_EQ(contents->records.size(), 1U);
  EXPECT_EQ(contents->records[0].case_id, wanted.case_id);
  EXPECT_EQ(contents->records[0].cache.mode, "hot");
}

TEST_F(Driver, TheHotProtocolTakes200CallsOnOneCopy) {
  ASSERT_EQ(run("--m 1 --filter up --protocol hot --budget 10s").code, 0);
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].subject.protocol, "hot+eager");
  EXPECT_EQ(all[0].result.n, 200);
  EXPECT_EQ(all[0].cache.mode, "hot");
  EXPECT_EQ(all[0].cache.copies, 1);
}

TEST_F(Driver, GroupedLayersCountTheExpertsThatTokensGoTo) {
  for (const std::string experts : {"used", "all"}) {
    const std::string out = "moe-" + experts;
    const Outcome outcome =
        millet(fmt::format("run --shapes moe.csv --budget 60s --out {} --backend plain --experts {}", out, experts));
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const auto contents = read_jsonl(folder_ / out / "records.jsonl", true);
    ASSERT_TRUE(contents);
    ASSERT_EQ(contents->records.size(), 3U);
    for (const Record& record : contents->records) {
      EXPECT_TRUE(record.timed()) << record.note;
      EXPECT_EQ(record.subject.experts, 12);
      EXPECT_EQ(record.subject.slots, 2 * record.subject.m);
      EXPECT_GE(record.work.touched_experts, 2) << "two different experts for each token";
      EXPECT_LE(record.work.touched_experts, record.subject.slots);
      EXPECT_EQ(record.baselines.size(), 1U) << record.note;
      EXPECT_EQ(record.note.find("experts in memory") == std::string::npos, experts == "all") << record.note;
    }
    const Record& weighted = contents->records[2];
    EXPECT_TRUE(weighted.subject.weighted);
    EXPECT_EQ(weighted.work.bytes,
              static_cast<double>(weighted.work.touched_experts) * 8 * 32 * 33 / 32 + 6 * 32 * 33.0 / 32.0 + 6 * 8 * 2);
  }
}

TEST_F(Driver, EpiloguesAreRunAndRecorded) {
  write("fused.csv",
        "# millet-moe-shapes 2\n"
        "label,tp,ep,experts,n,k,top_k,a_div,weighted,block_m,epilogue,m,presets,source\n"
        "gemm1,1,1,12,16,64,2,2,no,4,swiglu_oai,3,mine,a test\n"
        "gemm2,1,1,12,8,32,2,1,yes,4,topk_sum,3,mine,a test\n");
  const Outcome outcome =
      shell(fmt::format("'{}' run --shapes fused.csv --budget 60s --out out --backend portable", MILLET_PROGRAM));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  ASSERT_EQ(records().size(), 2U);
  const double shared = static_cast<double>(records()[0].work.touched_experts) * 16.0 * 64 * 33 / 32;
  for (const Record& record : records()) {
    EXPECT_TRUE(record.timed() && record.verify.correct) << record.note;
    EXPECT_PRED_FORMAT2(IsSubstring, "no baseline eigen_f32", record.note);
  }
  EXPECT_EQ(records()[0].subject.epilogue, "swiglu_oai");
  EXPECT_EQ(records()[0].work.bytes, shared + 3 * 64 * 33.0 / 32.0 + 6 * 8 * 2);  // C has half of the columns
  EXPECT_EQ(records()[1].subject.epilogue, "topk_sum");
  EXPECT_PRED_FORMAT2(IsSubstring, "gemm2 (weighted) topk_sum", outcome.out);

  const Outcome declined = millet("run --shapes fused.csv --budget 60s --out none --backend plain");
  EXPECT_PRED_FORMAT2(IsSubstring, "the swiglu epilogue is unsupported", declined.out + declined.err);
}

TEST_F(Driver, AKernelThatReadsAnotherExpertIsFound) {
  const Outcome outcome = millet("run --shapes moe.csv --budget 60s --out out --backend stray");
  EXPECT_EQ(outcome.code, 4) << outcome.err;
  for (const Record& record : records()) {
    EXPECT_TRUE(record.wrong());
    EXPECT_PRED_FORMAT2(IsSubstring, "nan", record.verify.verdict);
  }
}

TEST_F(Driver, TheProgramItselfRunsEveryBackendThatIsHere) {
  const auto real = [&](const std::string& arguments) {
    return shell(fmt::format("'{}' {}", MILLET_PROGRAM, arguments));
  };
  const Outcome outcome = real("run --shapes two.csv --shapes moe.csv --budget 60s --out out");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_PRED_FORMAT2(IsSubstring, "portable", outcome.out);
  for (const Record& record : records()) {
    EXPECT_TRUE(record.timed()) << record.note;
    EXPECT_FALSE(record.baselines.empty() && record.env.architecture.starts_with("x86")) << record.note;
  }
  EXPECT_EQ(real("list").code, 0);
  EXPECT_EQ(real("doctor").code, 0);
}

TEST_F(Driver, TheHostsRoofsTakeTurnsWithTheKernels) {
  for (const auto& [protocol, when] : {std::pair{"cold", "measured in each case's own rounds"},
                                       std::pair{"hot", "measured beside each case's own samples"}}) {
    const Outcome outcome = shell(fmt::format(
        "'{}' run --shapes two.csv --m 1,3 --budget 60s --backend portable --baseline none --protocol {} --out out",
        MILLET_PROGRAM, protocol));
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    std::set<double> rates;
    for (const Record& record : records()) {
      if (record.subject.protocol.find(protocol) == std::string::npos) continue;
      EXPECT_PRED_FORMAT2(IsSubstring, when, record.roof.source);
      EXPECT_GT(record.roof.pct_of_read, 0.0);
      rates.insert(record.roof.read_bytes_per_second);
    }
    EXPECT_GT(rates.size(), 1U) << "one rate for all cases";
  }
}

}  // namespace
}  // namespace millet
