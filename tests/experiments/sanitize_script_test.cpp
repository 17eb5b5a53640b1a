// SPDX-License-Identifier: Apache-2.0
// scripts/sanitize_hopper.sh: what is no clean run of every check must fail. The tool and the suite are made up here.
#include "experiments/driver_fixture.hpp"

namespace millet {
namespace {

class SanitizeScript : public Driver {
 protected:
  SanitizeScript() {
    // Two kernels; the second has one check less.
    program("suite",
            "if [ \"$1\" = --gtest_list_tests ]; then\n"
            "  printf 'Conformance_hopper__gemm.\\n  PropagatesNan\\n  SkipsBadIds\\n'\n"
            "  printf 'Conformance_hopper__grouped.\\n  PropagatesNan\\n'\n"
            "fi\n");
  }

  void program(const std::string& name, const std::string& body) const {
    write(name, "#!/bin/sh\n" + body);
    std::filesystem::permissions(folder_ / name, std::filesystem::perms::owner_all);
  }
  /// compute-sanitizer, as `body` has it.
  void tool(const std::string& body) const { program("compute-sanitizer", body); }
  [[nodiscard]] Outcome sanitize(const std::string& arguments = "") const {
    return shell(
        fmt::format("PATH=\"$PWD:$PATH\" '{}/sanitize_hopper.sh' --program \"$PWD/suite\" --logs \"$PWD/logs\" "
                    "--checks PropagatesNan,SkipsBadIds {}",
                    MILLET_SCRIPTS, arguments));
  }
  static void expect(const Outcome& outcome, int code, std::initializer_list<std::string> parts) {
    EXPECT_EQ(outcome.code, code) << outcome.out << outcome.err;
    for (const std::string& part : parts) EXPECT_PRED_FORMAT2(testing::IsSubstring, part, outcome.out + outcome.err);
  }

  /// As many tests as the filter names, all passed.
  static constexpr const char* passes =
      "for last; do :; done; echo \"[  PASSED  ] $(echo \"$last\" | tr ':' '\\n' | wc -l) tests.\"\n";
  static constexpr const char* clean = "echo '========= ERROR SUMMARY: 0 errors'\n";
};

TEST_F(SanitizeScript, CleanRunsOfEveryKernelPass) {
  tool(std::string(passes) + clean);
  expect(
      sanitize(), 0,
      {"clean   Conformance_hopper__gemm memcheck: 2 checks", "clean   Conformance_hopper__grouped synccheck: 1 checks",
       "2 kernels clean under memcheck, racecheck, initcheck, synccheck"});
  expect(sanitize("--kernels grouped --tools memcheck"), 0, {"1 kernels clean under memcheck"});
}

TEST_F(SanitizeScript, AMissingToolOrProgramIsAnError) {
  if (std::filesystem::exists("/usr/local/cuda/bin/compute-sanitizer")) GTEST_SKIP() << "this machine has the tool";
  expect(sanitize(), 5, {"compute-sanitizer is not installed"});
  tool(std::string(passes) + clean);
  expect(sanitize("--program /no/suite"), 5, {"/no/suite does not exist", "MILLET_ENABLE_HOPPER"});
}

TEST_F(SanitizeScript, WhatIsNotCleanFails) {
  tool(std::string(passes) + clean + "case \"$*\" in *racecheck*grouped*) exit 99;; esac\n");
  expect(sanitize(), 1, {"Conformance_hopper__grouped racecheck: it found something", "1 of the runs were not clean"});
  tool("echo '[  PASSED  ] 0 tests.'\n" + std::string(clean));
  expect(sanitize("--tools memcheck"), 1, {"0 of 2 checks passed", "2 of the runs were not clean"});
  tool(passes);
  expect(sanitize("--tools memcheck"), 1, {"no clean summary"});
  tool(std::string(passes) + clean + "exit 77\n");
  expect(sanitize("--tools memcheck"), 1, {"exit code 77"});
  tool("sleep 20\n");
  expect(sanitize("--tools memcheck --limit 1 --kernels grouped"), 1, {"not done within 1 s"});
  tool(std::string(passes) + clean);
  expect(sanitize("--checks NoSuchCheck"), 1, {"it has none of the checks NoSuchCheck"});
}

TEST_F(SanitizeScript, MisuseIsTold) {
  tool(std::string(passes) + clean);
  expect(sanitize("--tools memchek"), 2, {"no tool 'memchek'"});
  expect(sanitize("--kernels nothing"), 2, {"no kernel of hopper matches 'nothing'"});
  expect(sanitize("--fast 1"), 2, {"unknown option --fast"});
}

}  // namespace
}  // namespace millet
