// SPDX-License-Identifier: Apache-2.0
// The subcommands beside run, and the messages for mistakes on the command line.
#include "experiments/driver_fixture.hpp"

#include <regex>

namespace millet {
namespace {

using testing::IsSubstring;

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

/// The records of out/, their times multiplied.
void write_scaled(const std::filesystem::path& path, std::vector<Record> records, double factor) {
  std::ofstream file(path);
  for (Record& r : records) {
    for (double* time : {&r.result.median_ns, &r.result.ci95_lo_ns, &r.result.ci95_hi_ns, &r.result.min_ns}) {
      *time *= factor;
    }
    for (double& sample : r.result.samples_ns) sample *= factor;
    file << to_json_line(r).value() << '\n';
  }
}

TEST_F(Driver, CompareTellsSlowerFromEqualFromWrongByItsCode) {
  ASSERT_EQ(run("").code, 0);
  std::vector<Record> calm = records();
  for (Record& r : calm) {  // times of this machine are nothing to rely on
    for (std::size_t i = 0; i < r.result.samples_ns.size(); ++i) {
      r.result.samples_ns[i] = 1000 + static_cast<double>(i * 37 % 11);
    }
    r.result.median_ns = r.result.ci95_lo_ns = r.result.ci95_hi_ns = r.result.min_ns = 1005;
  }
  write_scaled(folder_ / "a.jsonl", calm, 1);
  write_scaled(folder_ / "slow.jsonl", calm, 1.1);
  const Outcome same = millet("compare a.jsonl a.jsonl");
  EXPECT_EQ(same.code, 0) << same.err;
  EXPECT_PRED_FORMAT2(IsSubstring, "5 cases compared: 0 slower", same.out);
  const Outcome slower = millet("compare a.jsonl slow.jsonl");
  EXPECT_EQ(slower.code, 3) << slower.err << slower.out;
  EXPECT_PRED_FORMAT2(IsSubstring, "SLOWER", slower.out);
  EXPECT_EQ(millet("compare slow.jsonl a.jsonl").code, 0) << "faster is no failure";
  EXPECT_EQ(millet("compare a.jsonl slow.jsonl --min-effect 20%").code, 0);
  EXPECT_EQ(lines_of(millet("compare a.jsonl slow.jsonl --csv").out), 6U);
  EXPECT_EQ(millet("compare a.jsonl --aa").code, 0);

  calm[0].verify = {"oracle", 3.2, 0.5, false, "planted"};
  write_scaled(folder_ / "wrong.jsonl", calm, 1.1);
  const Outcome wrong = millet("compare a.jsonl wrong.jsonl");
  EXPECT_EQ(wrong.code, 4) << "and slower besides";
  EXPECT_PRED_FORMAT2(IsSubstring, "wrong: planted", wrong.out);
}

TEST_F(Driver, CompareRefusesWhatItCannotCompare) {
  ASSERT_EQ(run("--m 1").code, 0);
  expect_refusal(millet("compare none.jsonl out/records.jsonl"), 1, {"none.jsonl"});
  expect_refusal(millet("compare out/records.jsonl"), 2, {"two files", "--aa"});
  expect_refusal(millet("compare out/records.jsonl out/records.jsonl --aa"), 2, {"--aa"});
  expect_refusal(millet("compare out/records.jsonl out/records.jsonl --min-effect 3"), 2, {"--min-effect", "3%"});
  expect_refusal(millet("compare out/records.jsonl out/records.jsonl --alpha 0%"), 2, {"--alpha"});
  expect_refusal(millet("compare out/records.jsonl out/records.jsonl --md --csv"), 2, {"--md and --csv"});
  std::filesystem::rename(results() / "records.jsonl", folder_ / "hot.jsonl");
  ASSERT_EQ(run("--m 2").code, 0);
  const Outcome nothing = millet("compare hot.jsonl out/records.jsonl");
  expect_refusal(nothing, 2, {"no case was timed in both"});
  EXPECT_PRED_FORMAT2(IsSubstring, "the other run does not have this problem", nothing.out);
}

TEST_F(Driver, ReportWritesOneHtmlFile) {
  ASSERT_EQ(run("").code, 0);
  const Outcome outcome = millet("report out/records.jsonl --html report.html");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string html = content_of(folder_ / "report.html");
  EXPECT_EQ(html, content_of(results() / "report.html")) << "which the run wrote too";
  EXPECT_TRUE(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
  EXPECT_PRED_FORMAT2(IsSubstring, "plain.gemm_loops", html);
  expect_refusal(millet("report out/records.jsonl --html no/such/folder.html"), 1, {"no/such/folder.html", "No such"});
  expect_refusal(millet("report out/records.jsonl --html x.html --table speedup"), 2, {"--html", "--table"});
  if (std::filesystem::exists("/dev/full")) {
    expect_refusal(millet("report out/records.jsonl --html /dev/full"), 1, {"No space left"});
  }
  const Outcome both = millet("report out/records.jsonl --html x.html --md");
  EXPECT_PRED_FORMAT2(IsSubstring, "**Median time", both.out);
}

TEST_F(Driver, RooflineMeasuresAndPlacesRecords) {
  ASSERT_EQ(run("--m 1").code, 0);
  const Outcome outcome = millet("roofline out/records.jsonl --backend plain --budget 50ms --svg r.svg --html r.html");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const std::string part : {"read, main memory", "multiply-add", "ridge", "plain.gemm_loops", "2 timed points"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, outcome.out);
  }
  EXPECT_TRUE(content_of(folder_ / "r.svg").starts_with("<svg class=\"picture\""));
  EXPECT_PRED_FORMAT2(IsSubstring, "plain.gemm_loops (2)", content_of(folder_ / "r.svg"));
  EXPECT_PRED_FORMAT2(IsSubstring, "<path class=\"mark series0", content_of(folder_ / "r.html"));
  const Outcome csv = millet("roofline --backend plain --budget 50ms --csv");
  EXPECT_PRED_FORMAT2(IsSubstring, "multiply_add,,,", csv.out);

  // A record of another machine has no place here, and that is said.
  std::vector<Record> others = records();
  for (Record& r : others) r.env.device = "Other CPU";
  write_scaled(folder_ / "others.jsonl", others, 1);
  const Outcome elsewhere = millet("roofline others.jsonl --backend plain --budget 50ms");
  EXPECT_EQ(elsewhere.code, 0);
  EXPECT_PRED_FORMAT2(IsSubstring, "it is of another device: Other CPU", elsewhere.out);
  const Outcome unmeasured = millet("roofline out/records.jsonl --backend elsewhere --budget 50ms");
  EXPECT_PRED_FORMAT2(IsSubstring, "backend 'plain' was not measured", unmeasured.out);

  expect_refusal(millet("roofline --backend absent"), 5, {"no such device"});
  expect_refusal(millet("roofline --backend plain,faulty --svg r.svg"), 2, {"--svg", "--backend plain"});
  expect_refusal(millet("roofline --backend plain --budget soon"), 2, {"--budget"});
}

TEST_F(Driver, NamesThatDoNotExistAreRefusedWithNearOnes) {
  expect_refusal(millet("run --preset seed-dens --out out"), 2,
                 {"no preset 'seed-dens'", "did you mean seed-dense", "m3"});
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

TEST_F(Driver, VerifyChecksKernelsAndFindsFaults) {
  const Outcome good = millet("verify --backend plain --quiet");
  EXPECT_EQ(good.code, 0) << good.err << good.out;
  EXPECT_TRUE(std::regex_search(good.out, std::regex(R"(plain\.gemm_loops +\d{2,} +0 +\d+ +0\.\d+)"))) << good.out;
  EXPECT_TRUE(std::regex_search(good.out, std::regex(R"(plain\.grouped_gemm_loops +\d{2,} +0 +0 +0\.\d+)")))
      << good.out;
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
  for (const std::string part :
       {"plain.gemm_loops", "batch_invariant", "no such device on this machine", "seed-dense", "row_major"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, all.out);
  }
  const Outcome odd = millet("list --filter gemm_loops --m 1 --n 15 --k 64 --policies");
  EXPECT_TRUE(std::regex_search(odd.out, std::regex(R"(plain\.gemm_loops .*n not a multiple of the n tile)")))
      << odd.out;
  EXPECT_TRUE(std::regex_search(odd.out, std::regex(R"(faulty\.gemm_loops .*accepts)"))) << odd.out;
  EXPECT_PRED_FORMAT2(IsSubstring, "policy 1: policy1", odd.out);
  expect_refusal(millet("list --m 1 --n 16"), 2, {"--m, --n and --k"});
  expect_refusal(millet("list --m 1 --n 16 --k 33"), 2, {"k=33", "k=64"});
  expect_refusal(millet("list --filter nothing"), 2, {"nothing", "plain.gemm_loops"});
}

TEST_F(Driver, DoctorDescribesTheMachine) {
  const Outcome outcome = millet("doctor");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const std::string part : {"isa ", "clock ", "governor", "huge pages", "subnormals", "honoured",
                                 "Eigen f64 oracle: answers", "eigen_f32 (", "backend plain", "backend absent",
                                 "no such device on this machine", "no tuned rows", "memory"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, outcome.out);
  }
}

TEST_F(Driver, HelpNamesTheExitCodes) {
  for (const std::string command :
       {"--help", "run --help", "list --help", "verify --help", "tune --help", "report --help", "compare --help",
        "roofline --help", "accuracy --help", "doctor --help"}) {
    const Outcome outcome = millet(command);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_PRED_FORMAT2(IsSubstring, "5 requested backend unavailable", outcome.out);
  }
  expect_refusal(millet(""), 2, {"subcommand", "--help"});
}

}  // namespace
}  // namespace millet
