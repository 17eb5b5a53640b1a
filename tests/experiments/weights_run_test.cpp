// SPDX-License-Identifier: Apache-2.0
// The driver's --weights, end to end: the program runs as a user would run it.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <memory>
#include <regex>
#include <sstream>

#include "experiments/model_file.hpp"
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

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

std::size_t lines_of(const std::string& text) { return count(text, "\n"); }

class WeightsRun : public testing::Test {
 protected:
  /// `millet <arguments>` with a budget that a busy machine keeps; `arguments` must need no quotes but their own.
  [[nodiscard]] Outcome millet(const std::string& arguments) const {
    const std::filesystem::path out = folder_.path() / "stdout";
    const std::filesystem::path err = folder_.path() / "stderr";
    const int status = std::system(  // NOLINT: the command is the test's own
        fmt::format("'{}' {} > '{}' 2> '{}'", MILLET_PROGRAM, arguments, out.string(), err.string()).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, content_of(out), content_of(err)};
  }
  [[nodiscard]] Outcome run(const std::string& arguments) const {
    return millet(fmt::format("run --out '{}' --backend portable --budget 60s {}", results().string(), arguments));
  }
  [[nodiscard]] std::filesystem::path results() const { return folder_.path() / "results"; }
  [[nodiscard]] std::vector<Record> records() const {
    const auto contents = read_jsonl(results() / "records.jsonl", /*strict=*/true);
    EXPECT_TRUE(contents) << contents.error().message;
    return contents ? contents->records : std::vector<Record>{};
  }

  /// A model with two layers of one shape (they must not pass for one case), an MX-FP8 pair and a bias.
  [[nodiscard]] std::filesystem::path small_model() const {
    std::string values(std::size_t{16 * 64}, '\0');
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<char>(i % 120);
    return folder_.write("small.safetensors", {f32_tensor("layer.0.key.weight", {16, 64}, eighths(16 * 64, 1)),
                                               f32_tensor("layer.0.query.weight", {16, 64}, eighths(16 * 64, 2)),
                                               f32_tensor("layer.0.query.bias", {16}, eighths(16)),
                                               {"layer.0.value.weight", "F8_E4M3", {16, 64}, values},
                                               {"layer.0.value.weight_scale", "U8", {16, 2}, std::string(32, '\x7f')}});
  }

  ModelFolder folder_;
};

TEST_F(WeightsRun, TablesHaveARowForEachLayerAndForEachSkippedTensor) {
  const Outcome outcome = run(fmt::format("--weights '{}' --m 1,3", small_model().string()));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const std::string& text : {outcome.out, content_of(results() / "weights.md")}) {
    for (const std::string& layer : {std::string("layer.0.key.weight"), std::string("layer.0.query.weight")}) {
      // name, type, n, k, an error pair for each of four modes, four counts
      const std::regex errors(layer + R"([ |]+F32[ |]+16[ |]+64([ |]+\d+\.\d\d / \d+\.\d){4}[ |]+\d+( / \d+){3})");
      EXPECT_TRUE(std::regex_search(text, errors)) << text;
      // name, n, k, then for each m time, share of the read rate, speedup, error over bound
      const std::regex product(
          layer + R"([ |]+16[ |]+64([ |]+[\d.]+( \[\d+\])?[ |]+[\d.]+[ |]+[\d.]+[ |]+[01]\.\d\d\d ok){2})");
      EXPECT_TRUE(std::regex_search(text, product)) << text;
    }
    EXPECT_TRUE(std::regex_search(
        text, std::regex(R"(layer\.0\.value\.weight[ |]+MX-FP8, U8 scales[ |]+16[ |]+64([ |]+n/a){5})")))
        << text;
    EXPECT_PRED_FORMAT2(IsSubstring, "scales stored", text);
    EXPECT_TRUE(std::regex_search(text, std::regex(R"(layer\.0\.query\.bias[ |]+F32[ |]+\[16\][ |]+1 dimension; )")))
        << text;
    EXPECT_PRED_FORMAT2(IsSubstring, "3 layers, 1 of the selected tensors skipped", text);
  }
  EXPECT_EQ(lines_of(content_of(results() / "weights.csv")), 1 + 6U);
}

TEST_F(WeightsRun, RecordsSayWhoseWeightsTheyAre) {
  const std::filesystem::path model = small_model();
  ASSERT_EQ(run(fmt::format("--weights '{}' --m 1,3", model.string())).code, 0);
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 6U);
  std::set<std::string> ids, weights;
  for (const Record& record : all) {
    ids.insert(record.case_id);
    ASSERT_TRUE(record.subject.weights);
    weights.insert(*record.subject.weights);
    EXPECT_TRUE(record.timed()) << record.note;
    EXPECT_TRUE(record.verify.correct);
    EXPECT_EQ(record.tags.at("tensor"), record.subject.label);
    EXPECT_EQ(record.tags.at("weights_file"), model.string());
    const bool pair = record.subject.label == "layer.0.value.weight";
    EXPECT_EQ(record.subject.scale_mode, pair ? "stored" : "rceil");
    for (const char* const mode : {"floor", "ceil", "even", "rceil"}) {
      EXPECT_EQ(record.tags.contains(fmt::format("error_{}", mode)), !pair);
      EXPECT_EQ(record.tags.contains(fmt::format("worst_block_{}", mode)), !pair);
      EXPECT_EQ(record.tags.contains(fmt::format("saturated_{}", mode)), !pair);
    }
  }
  EXPECT_EQ(ids.size(), 6U);
  EXPECT_EQ(weights.size(), 3U);
}

TEST_F(WeightsRun, ReproLineRunsThatCaseAlone) {
  ASSERT_EQ(run(fmt::format("--weights '{}' --m 1,3", small_model().string())).code, 0);
  const Record first = records().front();
  ASSERT_TRUE(first.repro.starts_with("millet run ")) << first.repro;
  const std::filesystem::path again = folder_.path() / "again";
  const Outcome outcome = millet(
      fmt::format("{} --budget 60s --out '{}'", first.repro.substr(std::string("millet ").size()), again.string()));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto contents = read_jsonl(again / "records.jsonl");
  ASSERT_TRUE(contents);
  ASSERT_EQ(contents->records.size(), 1U);
  EXPECT_EQ(contents->records[0].case_id, first.case_id);
}

TEST_F(WeightsRun, ResumeMeasuresOnlyWhatIsMissingOrHasChanged) {
  const std::string model = small_model().string();
  ASSERT_EQ(run(fmt::format("--weights '{}' --m 1 --tensor key", model)).code, 0);
  ASSERT_EQ(records().size(), 1U);
  // All layers, of which one is there.
  const Outcome more = run(fmt::format("--resume --weights '{}' --m 1", model));
  ASSERT_EQ(more.code, 0) << more.err;
  EXPECT_PRED_FORMAT2(IsSubstring, "1 measurements are in", more.err);
  EXPECT_EQ(records().size(), 3U);
  // Nothing is left, and the tables are whole all the same.
  const Outcome nothing = run(fmt::format("--resume --weights '{}' --m 1", model));
  ASSERT_EQ(nothing.code, 0) << nothing.err;
  EXPECT_EQ(records().size(), 3U);
  EXPECT_EQ(count(nothing.out, "\nlayer.0.key.weight "), 2U) << nothing.out;
  EXPECT_EQ(count(nothing.out, "\nlayer.0.value.weight "), 2U) << nothing.out;
  // Other weights under the old names.
  static_cast<void>(
      folder_.write("small.safetensors", {f32_tensor("layer.0.key.weight", {16, 64}, eighths(16 * 64, 3)),
                                          f32_tensor("layer.0.query.weight", {16, 64}, eighths(16 * 64, 2))}));
  ASSERT_EQ(run(fmt::format("--resume --weights '{}' --m 1", model)).code, 0);
  EXPECT_EQ(records().size(), 4U);
}

TEST_F(WeightsRun, ScaleModeChoosesTheWeightsOfTheProduct) {
  const std::string model = small_model().string();
  ASSERT_EQ(run(fmt::format("--weights '{}' --m 1 --tensor key --scale-mode floor", model)).code, 0);
  ASSERT_EQ(run(fmt::format("--weights '{}' --m 1 --tensor key", model)).code, 0);
  const std::vector<Record> all = records();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].subject.scale_mode, "floor");
  EXPECT_EQ(all[1].subject.scale_mode, "rceil");
  EXPECT_EQ(all[0].tags, all[1].tags);
}

TEST_F(WeightsRun, ReportPrintsTheTableAgain) {
  // Another run in the same folder does not get into it.
  const auto shapes =
      folder_.write("plain.csv", "# millet-dense-shapes 1\nlabel,tp,k,n,m,presets,source\nplain,1,64,16,1,x,y\n");
  ASSERT_EQ(run(fmt::format("--shapes '{}'", shapes.string())).code, 0);
  const Outcome none = millet(fmt::format("report --table weights '{}'", (results() / "records.jsonl").string()));
  EXPECT_EQ(none.code, 2);
  EXPECT_PRED_FORMAT2(IsSubstring, "no record is of a model's weights", none.err);
  ASSERT_EQ(run(fmt::format("--weights '{}' --m 1", small_model().string())).code, 0);
  const Outcome report = millet(fmt::format("report --table weights '{}'", (results() / "records.jsonl").string()));
  ASSERT_EQ(report.code, 0) << report.err;
  EXPECT_EQ(count(report.out, "plain"), 0U) << report.out;
  EXPECT_EQ(count(report.out, "\nlayer.0.key.weight "), 2U) << report.out;
  const Outcome csv = millet(fmt::format("report --csv --table weights '{}'", (results() / "records.jsonl").string()));
  EXPECT_EQ(csv.out, content_of(results() / "weights.csv"));
  EXPECT_EQ(lines_of(csv.out), 1 + 3U) << csv.out;
}

TEST_F(WeightsRun, AccuracyHasEveryLayerKindOfActivationsAndScaleMode) {
  const std::string model = small_model().string();
  const Outcome outcome =
      millet(fmt::format("accuracy --weights '{}' --svg '{}' --html '{}'", model, (folder_.path() / "a.svg").string(),
                         (folder_.path() / "a.html").string()));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const std::string layer : {"layer.0.key.weight", "layer.0.query.weight"}) {
    for (const std::string spread : {"gaussian", "heavy-tailed", "outlier channels"}) {
      // layer, activations, n, k, bf16 and four modes
      EXPECT_TRUE(std::regex_search(outcome.out, std::regex(layer + " +" + spread + R"( +16 +64( +\d[\d.e-]*){5}\n)")))
          << outcome.out;
    }
  }
  EXPECT_TRUE(std::regex_search(outcome.out, std::regex(R"(geomean +heavy-tailed +\d)"))) << outcome.out;
  EXPECT_TRUE(std::regex_search(outcome.out, std::regex(R"(layer\.0\.value\.weight +it is in MX-FP8 already)")));
  EXPECT_PRED_FORMAT2(IsSubstring, "2 layers, 2 skipped; 16 rows of activations, seed 1", outcome.out);
  EXPECT_EQ(count(content_of(folder_.path() / "a.svg"), "<path class=\"mark"), 2 * 3 * 4U);
  EXPECT_EQ(count(content_of(folder_.path() / "a.html"), "<path class=\"mark"), 2 * 3 * 4U);

  const Outcome csv = millet(fmt::format("accuracy --weights '{}' --csv --tensor key", model));
  EXPECT_EQ(lines_of(csv.out), 1 + 3 * 4U) << csv.out;
  EXPECT_EQ(csv.out, millet(fmt::format("accuracy --weights '{}' --csv --tensor key", model)).out);
  EXPECT_NE(csv.out, millet(fmt::format("accuracy --weights '{}' --csv --tensor key --seed 2", model)).out);

  const Outcome pair = millet(fmt::format("accuracy --weights '{}' --tensor value", model));
  EXPECT_EQ(pair.code, 2);
  EXPECT_PRED_FORMAT2(IsSubstring, "in MX-FP8 already", pair.err);
  EXPECT_EQ(millet(fmt::format("accuracy --weights '{}' --m 0", model)).code, 2);
  EXPECT_EQ(millet(fmt::format("accuracy --weights '{}x'", model)).code, 1);
}

TEST_F(WeightsRun, BadInputIsOneLineAndACode) {
  const std::string model = small_model().string();
  const std::string bad_pair = folder_
                                   .write("bad.safetensors", {{"x.weight", "F8_E4M3", {2, 64}, std::string(128, 'x')},
                                                              {"x.weight_scale", "U8", {2, 1}, "xy"}})
                                   .string();
  const std::string bias = folder_.write("bias.safetensors", {f32_tensor("b", {32}, eighths(32))}).string();
  const std::string torn = folder_.write("torn.safetensors", content_of(model).substr(0, 900)).string();
  struct Case {
    std::string arguments;
    int code;
    std::string message;
  };
  const std::vector<Case> cases{
      {"--weights '" + model + "' --tensor layr.0.kay", 2, "near are 'layer.0.key.weight'"},
      {"--weights '" + model + "' --tensor '('", 2, "is no regular expression"},
      {"--weights '" + model + "' --filter nothing", 2, "--filter: none of the"},
      {"--weights '" + model + "' --m 0", 2, "'0' is not an integer of at least 1"},
      {"--weights '" + model + "' --scale-mode up", 2, "--scale-mode"},
      {"--weights '" + model + "' --preset m3", 2, "excludes"},
      {"--weights '" + model + "' --shapes x.csv", 2, "excludes"},
      {"--tensor x", 2, "requires --weights"},
      {"--weights ''", 2, "the path is empty"},
      {"--weights '" + model + "x'", 1, "cannot open: No such file"},
      {"--weights '" + bad_pair + "'", 2, "scales 'x.weight_scale' must be [2, 2]"},
      {"--weights '" + bias + "'", 2, "none of the 1 selected tensors is a layer"},
      {"--weights '" + torn + "'", 2, "data_offsets"},
  };
  for (const Case& c : cases) {
    const Outcome outcome = run(c.arguments);
    EXPECT_EQ(outcome.code, c.code) << c.arguments << "\n" << outcome.err;
    EXPECT_EQ(lines_of(outcome.err), 1U) << c.arguments << "\n" << outcome.err;
    EXPECT_TRUE(outcome.err.starts_with("millet: ")) << outcome.err;
    EXPECT_PRED_FORMAT2(IsSubstring, c.message, outcome.err);
    EXPECT_FALSE(std::filesystem::exists(results() / "records.jsonl")) << c.arguments;
  }
}

}  // namespace
}  // namespace millet
