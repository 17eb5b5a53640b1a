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
       {"--help", "run --help", "list --help", "verify --help", "tune --help", "report --help", "doctor --help"}) {
    const Outcome outcome = millet(command);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_PRED_FORMAT2(IsSubstring, "5 requested backend unavailable", outcome.out);
  }
  expect_refusal(millet(""), 2, {"subcommand", "--help"});
}

}  // namespace
}  // namespace millet
