// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "millet/report/jsonl.hpp"

namespace millet {

/// What a program left behind.
struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::size_t lines_of(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

inline constexpr const char* two_shapes =
    "# millet-dense-shapes 1\n"
    "label,tp,k,n,m,presets,source\n"
    "up,1,64,16,1 2 5,mine,a test\n"
    "down,1,32,24,1 3,mine,a test\n";
inline constexpr const char* two_layers =
    "# millet-moe-shapes 2\n"
    "label,tp,ep,experts,n,k,top_k,a_div,weighted,block_m,epilogue,m,presets,source\n"
    "gemm1,1,1,12,16,64,2,2,no,4,none,1 3,mine,a test\n"
    "gemm2,1,1,12,8,32,2,1,yes,4,none,3,mine,a test\n";

/// The driver in a folder of its own, run as a user would run it. MILLET_DRIVER has the backends of
/// driver_backends.cpp, MILLET_PROGRAM those of the build.
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
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, content_of(folder_ / "stdout"),
            content_of(folder_ / "stderr")};
  }
  [[nodiscard]] Outcome millet(const std::string& arguments, const std::string& environment = "") const {
    return shell(fmt::format("{} '{}' {}", environment, MILLET_DRIVER, arguments));
  }
  /// A run over two.csv with defaults for what `arguments` does not say. The budget is a limit against slow machines:
  /// small cases end with their 200th sample.
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
inline void expect_refusal(const Outcome& outcome, int code, std::initializer_list<std::string> parts) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(lines_of(outcome.err), 1U) << outcome.err;
  EXPECT_TRUE(outcome.err.starts_with("millet: ")) << outcome.err;
  for (const std::string& part : parts) EXPECT_PRED_FORMAT2(testing::IsSubstring, part, outcome.err);
}

}  // namespace millet
