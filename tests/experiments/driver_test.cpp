// SPDX-License-Identifier: Apache-2.0
// The driver end to end: programs run as a user would run them. MILLET_DRIVER has the backends of driver_backends.cpp,
// MILLET_PROGRAM those of the build.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <thread>

#include "millet/report/jsonl.hpp"

namespace millet {
namespace {

using testing::IsSubstring;

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::size_t lines_of(const std::string& text) { return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')); }

constexpr const char* two_shapes =
    "# millet-dense-shapes 1\n"
    "label,tp,k,n,m,presets,source\n"
    "up,1,64,16,1 2 5,mine,a test\n"
    "down,1,32,24,1 3,mine,a test\n";
constexpr const char* two_layers =
    "# millet-moe-shapes 1\n"
    "label,tp,ep,experts,n,k,top_k,a_div,weighted,block_m,m,presets,source\n"
    "gemm1,1,1,12,16,64,2,2,no,4,1 3,mine,a test\n"
    "gemm2,1,1,12,8,32,2,1,yes,4,3,mine,a test\n";

class Driver : public testing::Test {
 protected:
  Driver() {
    std::string name = (std::filesystem::temp_directory_path() / "millet-driver-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    write("two.csv", two_shapes);
    write("moe.csv", two_layers);
  }
  ~Driver() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name) << text; }
  [[nodiscard]] std::filesystem::path results() const { return folder_ / "out"; }

  /// Runs a shell command line in the test's folder.
  [[nodiscard]] Outcome shell(const std::string& command) const {
    const int status = std::system(  // NOLINT: the command is the test's own
        fmt::format("cd '{}' && {{ {} ; }} > stdout 2> stderr", folder_.string(), command).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, content_of(folder_ / "stdout"), content_of(folder_ / "stderr")};
  }
  [[nodiscard]] Outcome millet(const std::string& arguments, const std::string& environment = "") const {
    return shell(fmt::format("{} '{}' {}", environment, MILLET_DRIVER, arguments));
  }
  /// A run over two.csv with defaults for what `arguments` does not say. The budget is a limit against slow machines: small
  /// cases end with their 200th sample.
  [[nodiscard]] Outcome run(const std::string& arguments, const std::string& environment = "") const {
    std::string command = "run --shapes two.csv --out out";
    for (const auto& [option, value] : {std::pair{"--backend", "plain"}, std::pair{"--budget", "60s"}}) {
      if (arguments.find(option) == std::string::npos) command += fmt::format(" {} {}", option, value);
    }
    return millet(command + " " + arguments, environment);
  }
  [[nodiscard]] std::vector<Record> records() const {
    const auto contents = read_jsonl(results() / "records.jsonl", /*strict=*/true);
    EXPECT_TRUE(contents) << contents.error().message;
    return contents ? contents->records : std::vector<Record>{};
  }

  std::filesystem::path folder_;
};

/// The program must end with `code` and one line of explanation that contains all `parts`.
void expect_refusal(const Outcome& outcome, int code, std::initializer_list<std::string> parts) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(lines_of(outcome.err), 1U) << outcome.err;
  EXPECT_TRUE(outcome.err.starts_with("millet: ")) << outcome.err;
  for (const std::string& part : parts) EXPECT_PRED_FORMAT2(IsSubstring, part, outcome.err);
}

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

TEST_F(Driver, ReportFromTheRecordsIsWhatTheRunWrote) {
  ASSERT_EQ(run("").code, 0);
  const Outcome speedup = millet("report out/records.jsonl --md --table speedup");
  ASSERT_EQ(speedup.code, 0) << speedup.err;
  EXPECT_EQ(speedup.out, content_of(results() / "speedup.md"));
  EXPECT_EQ(millet("report out/records.jsonl --csv --table roofline").out, content_of(results() / "roofline.csv"));
  EXPECT_EQ(millet("report out/records.jsonl --csv --table speedup").out, content_of(results() / "speedup.csv"));
  EXPECT_PRED_FORMAT2(IsSubstring, "Roofline", millet("report out/records.jsonl").out);
}

TEST_F(Driver, ReportRefusesWhatItCannotRead) {
  expect_refusal(millet("report none.jsonl"), 1, {"none.jsonl", "No such file"});
  write("empty.jsonl", "");
  expect_refusal(millet("report empty.jsonl"), 2, {"no records"});
  expect_refusal(millet("report two.csv --csv"), 2, {"--csv", "--table"});
  ASSERT_EQ(run("--m 1").code, 0);
  const std::string good = content_of(results() / "records.jsonl");
  write("mixed.jsonl", "{\"schema\": 1, broken\n" + good);
  const Outcome tolerant = millet("report mixed.jsonl");
  EXPECT_EQ(tolerant.code, 0);
  EXPECT_PRED_FORMAT2(IsSubstring, "left out mixed.jsonl:1:", tolerant.err);
  expect_refusal(millet("report mixed.jsonl --strict"), 2, {"mixed.jsonl:1:"});
}

TEST_F(Driver, NamesThatDoNotExistAreRefusedWithNearOnes) {
  expect_refusal(millet("run --preset seed-dens --out out"), 2, {"no preset 'seed-dens'", "did you mean seed-dense", "m3"});
  expect_refusal(run("--backend plan"), 2, {"no backend 'plan'", "did you mean plain"});
  expect_refusal(run("--baseline eigen_f23"), 2, {"eigen_f23", "did you mean eigen_f32"});
  expect_refusal(run("--activation bf61"), 2, {"bf61", "bf16"});
  expect_refusal(run("--scale-mode rcei"), 2, {"did you mean", "rceil"});
  expect_refusal(millet("rnu"), 2, {"no subcommand 'rnu'", "run"});
  expect_refusal(millet("run --budgte 3s"), 2, {"--budgte", "did you mean --budget"});
  expect_refusal(millet("verify --kernel plain.gemm_loop"), 2, {"did you mean plain.gemm_loops"});
  EXPECT_FALSE(std::filesystem::exists(results())) << "a refused run leaves no folder behind";
}

TEST_F(Driver, NoMatchIsAnErrorThatShowsNames) {
  expect_refusal(run("--filter upp"), 2, {"none of the 5 cases matches 'upp'", "/tp1/n"});
  expect_refusal(run("--filter '['"), 2, {"'['", "no regular expression"});
  EXPECT_FALSE(std::filesystem::exists(results()));
}

TEST_F(Driver, BadNumbersAreRefused) {
  for (const std::string m : {"0", "-1", "x", "1,,2", "1.5", "99999999999999999999"}) {
    expect_refusal(run("--m=" + m), 2, {"--m"});
  }
  for (const std::string budget : {"0s", "-3s", "soon", "5 h", "nan", "inf"}) {
    expect_refusal(run("--budget='" + budget + "'"), 2, {"--budget", "60s"});
  }
  expect_refusal(run("--policy 1"), 2, {"--policy", "--kernel"});
  expect_refusal(run("--tag nothing"), 2, {"--tag", "name=value"});
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
  EXPECT_EQ(backends, (std::set<std::string>{"plain", "faulty", "stray"}));
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
  expect_refusal(run("", "MILLET_FORCE_KERNEL=plain.gemm_simd"), 2, {"no kernel 'plain.gemm_simd'", "plain.gemm_loops"});
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
}

TEST_F(Driver, ABudgetEndsTheRun) {
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome = run("--budget 500ms", "MILLET_TEST_SLEEP_MS=20");  // at most 8 calls, or 160 ms, a case at least
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_LT(elapsed.count(), 10.0);
  for (const Record& record : records()) {
    if (!record.timed()) continue;
    EXPECT_LE(record.result.n, 25) << "20 ms a call in 500 ms";
  }
}

TEST_F(Driver, AnInterruptKeepsWhatIsMeasuredAndResumeCompletes) {
  const std::string arguments = "run --shapes two.csv --m 1,2,3,4,5,6,7,8 --budget 60s --out out --backend plain";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const int sink = chdir(folder_.c_str()) == 0 ? 0 : 1;
    setenv("MILLET_TEST_SLEEP_MS", "20", 1);
    if (sink != 0 || std::freopen("stdout", "w", stdout) == nullptr || std::freopen("stderr", "w", stderr) == nullptr) _exit(99);
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

  const Outcome rest = millet("run --shapes two.csv --m 1,2,3,4,5,6,7,8 --budget 2s --out out --backend plain --resume");
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
  // A limit on the size of files stands for a full disk; the unit of ulimit -f is 512 bytes in POSIX shells, 1024 in bash.
  const Outcome full = shell(fmt::format("ulimit -f {} ; '{}' run --shapes two.csv --m 2,3,4,5 --budget 60s --out out --backend plain",
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
        millet(fmt::format("run --shapes moe.csv --budget 2s --out {} --backend plain --experts {}", out, experts));
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
    EXPECT_EQ(weighted.work.bytes, static_cast<double>(weighted.work.touched_experts) * 8 * 32 * 33 / 32 +
                                       6 * 32 * 33.0 / 32.0 + 6 * 8 * 2);
  }
}

TEST_F(Driver, AKernelThatReadsAnotherExpertIsFound) {
  const Outcome outcome = millet("run --shapes moe.csv --budget 2s --out out --backend stray");
  EXPECT_EQ(outcome.code, 4) << outcome.err;
  for (const Record& record : records()) {
    EXPECT_TRUE(record.wrong());
    EXPECT_PRED_FORMAT2(IsSubstring, "nan", record.verify.verdict);
  }
}

TEST_F(Driver, VerifyChecksKernelsAndFindsFaults) {
  const Outcome good = millet("verify --backend plain --quiet");
  EXPECT_EQ(good.code, 0) << good.err << good.out;
  EXPECT_TRUE(std::regex_search(good.out, std::regex(R"(plain\.gemm_loops +\d{2,} +0 +\d+ +0\.\d+)"))) << good.out;
  EXPECT_TRUE(std::regex_search(good.out, std::regex(R"(plain\.grouped_gemm_loops +\d{2,} +0 +0 +0\.\d+)"))) << good.out;
  EXPECT_PRED_FORMAT2(IsSubstring, "n not a multiple of the n tile", good.out);

  const Outcome bad = millet("verify --backend plain,faulty --quiet --m 1,3");
  EXPECT_EQ(bad.code, 4);
  EXPECT_PRED_FORMAT2(IsSubstring, "WRONG: faulty.gemm_loops", bad.out);
  EXPECT_EQ(millet("verify --backend stray --quiet").code, 4);

  const Outcome late = millet("verify --backend plain --quiet --budget 1ms");
  EXPECT_EQ(late.code, 2) << "nothing verified is no success";
  EXPECT_PRED_FORMAT2(IsSubstring, "not verified: edge/", late.out);
  expect_refusal(millet("verify --backend absent"), 5, {"no such device"});
}

TEST_F(Driver, ListAnswersForAProblem) {
  const Outcome all = millet("list");
  ASSERT_EQ(all.code, 0) << all.err;
  for (const std::string part : {"plain.gemm_loops", "batch_invariant", "no such device on this machine", "seed-dense", "row_major"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, all.out);
  }
  const Outcome odd = millet("list --filter gemm_loops --m 1 --n 15 --k 64 --policies");
  EXPECT_TRUE(std::regex_search(odd.out, std::regex(R"(plain\.gemm_loops .*n not a multiple of the n tile)"))) << odd.out;
  EXPECT_TRUE(std::regex_search(odd.out, std::regex(R"(faulty\.gemm_loops .*accepts)"))) << odd.out;
  EXPECT_PRED_FORMAT2(IsSubstring, "policy 1: policy1", odd.out);
  expect_refusal(millet("list --m 1 --n 16"), 2, {"--m, --n and --k"});
  expect_refusal(millet("list --m 1 --n 16 --k 33"), 2, {"k=33", "k=64"});
  expect_refusal(millet("list --filter nothing"), 2, {"nothing", "plain.gemm_loops"});
}

TEST_F(Driver, DoctorDescribesTheMachine) {
  const Outcome outcome = millet("doctor");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const std::string part :
       {"isa ", "clock ", "governor", "huge pages", "subnormals", "honoured", "Eigen f64 oracle: answers", "eigen_f32 (",
        "backend plain", "backend absent", "no such device on this machine", "no tuned rows", "memory"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, outcome.out);
  }
}

TEST_F(Driver, HelpNamesTheExitCodes) {
  for (const std::string command : {"--help", "run --help", "list --help", "verify --help", "report --help", "doctor --help"}) {
    const Outcome outcome = millet(command);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_PRED_FORMAT2(IsSubstring, "5 requested backend unavailable", outcome.out);
  }
  expect_refusal(millet(""), 2, {"subcommand", "--help"});
}

TEST_F(Driver, TheProgramItselfRunsEveryBackendThatIsHere) {
  const auto real = [&](const std::string& arguments) { return shell(fmt::format("'{}' {}", MILLET_PROGRAM, arguments)); };
  const Outcome outcome = real("run --shapes two.csv --shapes moe.csv --budget 3s --out out");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_PRED_FORMAT2(IsSubstring, "portable", outcome.out);
  for (const Record& record : records()) {
    EXPECT_TRUE(record.timed()) << record.note;
    EXPECT_FALSE(record.baselines.empty() && record.env.architecture.starts_with("x86")) << record.note;
  }
  EXPECT_EQ(real("list").code, 0);
  EXPECT_EQ(real("doctor").code, 0);
}

}  // namespace
}  // namespace millet
