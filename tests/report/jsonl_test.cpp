// SPDX-License-Identifier: Apache-2.0
#include "millet/report/jsonl.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "error/fails_with.hpp"
#include "report/sample_records.hpp"

namespace millet {
namespace {

using Json = nlohmann::ordered_json;

std::string line_of(const Record& record) { return to_json_line(record).value(); }

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

// The line of full_record(), as programs of schema 1 have written it.
const std::string golden_line = [] {
  const std::string text = content_of(MILLET_TEST_DATA "/report/schema_1.jsonl");
  return text.substr(0, text.find('\n'));
}();

TEST(Jsonl, FullRecordSurvivesTheRoundTrip) {
  const Record record = full_record();
  const auto line = to_json_line(record);
  ASSERT_TRUE(line) << line.error().message;
  EXPECT_EQ(line->find('\n'), std::string::npos);
  const auto parsed = parse_record(*line);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(*parsed == record) << *line << "\n" << line_of(*parsed);
}

TEST(Jsonl, SchemaOneIsAPromise) {
  EXPECT_EQ(line_of(full_record()), golden_line);
  const auto parsed = parse_record(golden_line);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(*parsed == full_record());
}

// A part of the case since epilogues exist; schema 1 does without where there is none.
TEST(Jsonl, EpiloguesAreWrittenAndRead) {
  Record record = full_record();
  record.subject.epilogue = "swiglu_oai";
  renew_ids(record);
  const auto parsed = parse_record(line_of(record));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(*parsed == record);
  EXPECT_EQ(line_of(full_record()).find("epilogue"), std::string::npos);
}

TEST(Jsonl, ABaselineMaySayWhatItChose) {
  Record record = full_record();
  EXPECT_EQ(line_of(record).find("\"detail\""), std::string::npos);
  record.baselines[1].role = "floor";
  record.baselines[1].detail = "4 x 256 threads an SM";
  const auto parsed = parse_record(line_of(record));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(*parsed == record);
}

TEST(Jsonl, OptionalPartsMayBeAbsent) {
  Record record = full_record();
  record.published.reset();
  record.subject.weights.reset();
  renew_ids(record);
  record.baselines.clear();
  record.tags.clear();
  record.result.samples_ns.clear();
  const std::string line = line_of(record);
  EXPECT_EQ(line.find("published\""), std::string::npos);
  const auto parsed = parse_record(line);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(*parsed == record);
}

TEST(Jsonl, ReadRatesOfCachesAreKeptWhereThereAreAny) {
  Record with_rates = full_record();
  with_rates.roof.read_by_level = {{32768, 1.5e11}, {1048576, 9e10}};
  const std::string line = line_of(with_rates);
  const auto parsed = parse_record(line);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(*parsed == with_rates);
  EXPECT_FALSE(*parsed == full_record());
  EXPECT_EQ(line_of(full_record()).find("read_by_level"), std::string::npos) << "as in older files";
  std::string bad = line;
  bad.replace(bad.find("90000000000.0"), 13, "-9");
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "roof.read_by_level[1].bytes_per_second is -9",
                      parse_record(bad).error().message);
}

TEST(Jsonl, UnknownKeysAreIgnored) {
  Json json = Json::parse(golden_line);
  json["later"] = {{"x", {1, 2, 3}}};
  json["case"]["later"] = nullptr;
  const auto parsed = parse_record(json.dump());
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(*parsed == full_record());
}

TEST(Jsonl, AnyEvidenceSurvives) {
  for (const Evidence evidence :
       {Evidence::measured, Evidence::emulated, Evidence::modelled, Evidence::published, Evidence::not_run}) {
    Record record = full_record();
    record.evidence = evidence;
    EXPECT_EQ(parse_record(line_of(record)).value().evidence, evidence);
  }
}

TEST(Jsonl, BytesThatAreNoUtf8DoNotStopARun) {
  Record record = full_record();
  record.run.command_line = "millet \xFF\xFE";
  const auto parsed = parse_record(line_of(record));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->run.command_line, "millet \xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Jsonl, AnInfiniteErrorRatioIsWrittenAsTheLargestNumber) {
  Record record = full_record();
  record.verify.max_ratio = std::numeric_limits<double>::infinity();
  EXPECT_EQ(parse_record(line_of(record)).value().verify.max_ratio, std::numeric_limits<double>::max());
}

TEST(Jsonl, RefusesToWriteWhatItCouldNotRead) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  struct Fault {
    std::function<void(Record&)> make;
    std::string named;
  };
  const std::vector<Fault> faults{
      {[](Record& r) { r.result.median_ns = nan; }, "result.median_ns is nan"},
      {[](Record& r) { r.result.samples_ns[1] = -1; }, "result.samples_ns[1] is -1"},
      {[](Record& r) { r.work.bytes = infinity; }, "work.bytes is inf"},
      {[](Record& r) { r.verify.max_ratio = nan; }, "verify.max_ratio is nan"},
      {[](Record& r) { r.subject.tp = -1; }, "case.tp is -1"},
      {[](Record& r) { r.baselines[1].median_ns = nan; }, "baselines[1].median_ns is nan"},
      {[](Record& r) { r.subject.m = 0; }, "m, n and k must be at least 1"},
      {[](Record& r) { ++r.subject.m; }, "case_id is '"},
      {[](Record& r) { r.build.git = "other"; }, "build_id is '"},
      {[](Record& r) { r.subject.operation = "sparse"; }, "case.operation is 'sparse', not one of dense, grouped"},
      {[](Record& r) { r.cache.mode = "lukewarm"; }, "cache.mode is 'lukewarm'"},
      {[](Record& r) { r.baselines[0].role = "best"; }, "baselines.role is 'best'"},
      {[](Record& r) { r.result.median_ns = 0; }, "wanted 0 < median_ns"},
      {[](Record& r) { r.result.min_ns = r.result.median_ns + 1; }, "min_ns <= median_ns"},
      {[](Record& r) { r.result.ci95_hi_ns = r.result.median_ns - 1; }, "median_ns <= ci95_hi_ns"},
      {[](Record& r) { r.result.ci95_lo_ns = r.result.median_ns + 1; }, "ci95_lo_ns <= median_ns"},
      {[](Record& r) { r.result.samples_ns.pop_back(); }, "samples_ns has 2 elements, n is 3"},
      {[](Record& r) { r.baselines[0].median_ns = 0; }, "baselines: wanted 0 < median_ns"},
  };
  for (const Fault& fault : faults) {
    Record record = full_record();
    fault.make(record);
    EXPECT_TRUE(fails_with(to_json_line(record), ErrorCode::invalid_argument, {"record: ", fault.named}));
  }
}

TEST(Jsonl, RefusesMalformedText) {
  const std::string& good = golden_line;
  const std::string deep = std::string(9, '[') + std::string(9, ']');
  struct Fault {
    std::string line;
    std::string named;
  };
  const std::vector<Fault> faults{
      {"", "parse error"},
      {"not json", "parse error"},
      {good.substr(0, good.size() / 2), "parse error"},
      {good + " {}", "parse error"},
      {"[1, 2]", "wanted an object, not array"},
      {"null", "wanted an object, not null"},
      {"{}", "schema is missing"},
      {R"({"schema": 2})", "schema 2 is not 1"},
      {R"({"schema": "1"})", "schema must be an integer of at least 0, not string"},
      {R"({"schema": 1.0})", "schema must be an integer of at least 0, not 1.0"},
      {R"({"schema": NaN})", "parse error"},
      {R"({"schema": 1, "x": 1e999})", "out_of_range"},
      {R"({"schema": 1, "schema": 1})", "the key \"schema\" stands twice"},
      {R"({"schema": 1, "case": {"m": 1, "k": 1, "m": 2}})", "the key \"m\" stands twice"},
      {"{\"schema\": 1, \"x\": \"\xFF\"}", "parse error"},
      {R"({"schema": 1, "x": )" + deep + "}", "nested deeper than 8"},
      {std::string(100000, '['), "nested deeper than 8"},
  };
  for (const Fault& fault : faults) {
    EXPECT_TRUE(fails_with(parse_record(fault.line), ErrorCode::parse_error, {fault.named}))
        << fault.line.substr(0, 80);
  }
}

TEST(Jsonl, MessagesHaveNoControlCharacters) {
  Json json = Json::parse(golden_line);
  json["case"]["operation"] = "\x1B[31mred\nline\xC3\xA9";
  const auto parsed = parse_record(json.dump());
  EXPECT_TRUE(fails_with(parsed, ErrorCode::parse_error, {"case.operation is '?[31mred?line"}));
  for (const char c : parsed.error().message) EXPECT_TRUE(c >= ' ' && c < 0x7F) << static_cast<int>(c);
}

/// JSON pointers of all values in `json`, at any depth.
void collect_pointers(const Json& json, const std::string& at, std::vector<std::string>& pointers) {
  if (!at.empty()) pointers.push_back(at);
  if (!json.is_structured()) return;
  for (const auto& item : json.items()) collect_pointers(item.value(), at + "/" + item.key(), pointers);
}

std::vector<std::string> pointers_of_golden_line() {
  std::vector<std::string> pointers;
  collect_pointers(Json::parse(golden_line), "", pointers);
  return pointers;
}

TEST(Jsonl, EveryFieldIsRequired) {
  int fields = 0;
  for (const std::string& pointer : pointers_of_golden_line()) {
    Json json = Json::parse(golden_line);
    const Json::json_pointer at(pointer);
    Json& parent = json[at.parent_pointer()];
    const bool optional = pointer == "/published" || pointer == "/case/weights" || pointer.starts_with("/tags/") ||
                          pointer.starts_with("/build/libraries/");
    if (optional || !parent.is_object()) continue;
    ++fields;
    parent.erase(at.back());
    EXPECT_TRUE(fails_with(parse_record(json.dump()), ErrorCode::parse_error, {at.back() + " is missing"})) << pointer;
  }
  EXPECT_GT(fields, 100);
}

TEST(Jsonl, EveryFieldHasOneType) {
  const Json golden = Json::parse(golden_line);
  const Json minus_one = -1;
  const std::vector<Json> others{
      nullptr, true, "text", 1.5, minus_one, Json::array({nullptr}), Json::object({{"key", nullptr}})};
  for (const std::string& pointer : pointers_of_golden_line()) {
    const Json::json_pointer at(pointer);
    const Json& right = golden.at(at);
    for (const Json& other : others) {
      // What may stand there is left out; -1 may stand nowhere.
      if (other.type() == right.type() || (other.is_number() && right.is_number_float() && other != minus_one))
        continue;
      Json changed = golden;
      changed[at] = other;
      EXPECT_TRUE(fails_with(parse_record(changed.dump()), ErrorCode::parse_error, {})) << pointer << " = " << other;
    }
  }
}

TEST(Jsonl, EveryNumberMustBeInRange) {
  for (const char* value : {"-1", "-0.5", "18446744073709551616", "9223372036854775808"}) {
    std::string line = golden_line;
    const std::string m = R"("m":4,)";
    line.replace(line.find(m), m.size(), std::string(R"("m":)") + value + ",");
    EXPECT_TRUE(fails_with(parse_record(line), ErrorCode::parse_error, {"case.m"})) << value;
  }
}

TEST(JsonlWriter, AppendsToWhatIsThere) {
  const TemporaryFolder folder;
  const std::string path = folder / "a/b/results.jsonl";
  const Record first = dense_record("qkv", 6144, 2304, 1, 10);
  const Record second = full_record();
  {
    auto writer = JsonlWriter::open(path);
    ASSERT_TRUE(writer) << writer.error().message;
    EXPECT_EQ(writer->path(), path);
    ASSERT_TRUE(writer->append(first));
    // On disk at once, not when the writer ends.
    EXPECT_EQ(content_of(path), line_of(first) + "\n");
  }
  {
    auto writer = JsonlWriter::open(path);
    ASSERT_TRUE(writer);
    JsonlWriter moved = std::move(*writer);
    ASSERT_TRUE(moved.append(second));
  }
  const auto contents = read_jsonl(path, true);
  ASSERT_TRUE(contents) << contents.error().message;
  ASSERT_EQ(contents->records.size(), 2U);
  EXPECT_TRUE(contents->records[0] == first);
  EXPECT_TRUE(contents->records[1] == second);
  EXPECT_TRUE(contents->bad_lines.empty());
}

TEST(JsonlWriter, CutsATornRecordOff) {
  const TemporaryFolder folder;
  const std::string path = folder / "results.jsonl";
  const std::string line = line_of(full_record());
  ASSERT_GT(line.size(), 1500U);
  const std::string long_line = [&] {  // longer than the blocks in which the writer looks for the line's start
    Record record = full_record();
    record.note = std::string(10000, 'x');
    return line_of(record);
  }();
  for (const std::string& torn : {std::string("{"), std::string(R"({"sch)"), line.substr(0, 700),
                                  line.substr(0, line.size() - 1), long_line.substr(0, 9000)}) {
    for (const std::string& before : {std::string(), line + "\n", long_line + "\n"}) {
      write_file(path, before + torn);
      auto writer = JsonlWriter::open(path);
      ASSERT_TRUE(writer) << writer.error().message;
      EXPECT_EQ(content_of(path), before) << torn.size();
      ASSERT_TRUE(writer->append(full_record()));
      EXPECT_EQ(content_of(path), before + line + "\n") << torn.size();
    }
  }
}

TEST(JsonlWriter, EndsAnyOtherLastLineAndKeepsIt) {
  const TemporaryFolder folder;
  const std::string path = folder / "results.jsonl";
  const std::string line = line_of(full_record());
  for (const std::string& last : {std::string("somebody's notes"), line, std::string(R"({"other": 1})")}) {
    write_file(path, last);
    auto writer = JsonlWriter::open(path);
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->append(full_record()));
    EXPECT_EQ(content_of(path), last + "\n" + line + "\n");
  }
}

TEST(JsonlWriter, ARecordThatIsRefusedLeavesNoTrace) {
  const TemporaryFolder folder;
  const std::string path = folder / "results.jsonl";
  auto writer = JsonlWriter::open(path);
  ASSERT_TRUE(writer);
  Record record = full_record();
  record.result.median_ns = -1;
  EXPECT_TRUE(fails_with(writer->append(record), ErrorCode::invalid_argument, {"result.median_ns"}));
  EXPECT_EQ(content_of(path), "");
}

TEST(JsonlWriter, OnlyOneWriterAtATime) {
  const TemporaryFolder folder;
  const std::string path = folder / "results.jsonl";
  {
    auto writer = JsonlWriter::open(path);
    ASSERT_TRUE(writer);
    EXPECT_TRUE(fails_with(JsonlWriter::open(path), ErrorCode::io_error, {path, "another process writes to it"}));
  }
  EXPECT_TRUE(JsonlWriter::open(path));
}

/// Lets files grow to `bytes` and no further, as a full disk would, while it lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &limit_);
    const rlimit low{bytes, limit_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &limit_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit limit_{};
  void (*handler_)(int);
};

TEST(JsonlWriter, AFullDiskKeepsEarlierLines) {
  const TemporaryFolder folder;
  const std::string path = folder / "results.jsonl";
  const std::string line = line_of(full_record());
  auto writer = JsonlWriter::open(path);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(writer->append(full_record()));
  {
    const FileSizeLimit limit(line.size() + 1 + line.size() / 2);  // room for half of the second line
    EXPECT_TRUE(
        fails_with(writer->append(full_record()), ErrorCode::io_error, {"cannot write " + path, "File too large"}));
  }
  EXPECT_EQ(content_of(path), line + "\n");
  const auto contents = read_jsonl(path, true);
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_EQ(contents->records.size(), 1U);
  // With room again the run goes on.
  ASSERT_TRUE(writer->append(full_record()));
  EXPECT_EQ(content_of(path), line + "\n" + line + "\n");
}

TEST(JsonlWriter, ADeviceWithoutSpaceIsNamed) {
  auto writer = JsonlWriter::open("/dev/full");
  ASSERT_TRUE(writer) << writer.error().message;
  EXPECT_TRUE(fails_with(writer->append(full_record()), ErrorCode::io_error, {"/dev/full", "No space left on device"}));
}

TEST(JsonlWriter, APathThatCannotBeIsNamed) {
  const TemporaryFolder folder;
  write_file(folder / "file", "x");
  // A folder below a file, a file that is a folder: refused to root too.
  EXPECT_TRUE(fails_with(JsonlWriter::open(folder / "file/results.jsonl"), ErrorCode::io_error,
                         {"cannot ", folder / "file", "Not a directory"}));
  EXPECT_TRUE(fails_with(JsonlWriter::open(folder / ""), ErrorCode::io_error, {"cannot open", "Is a directory"}));
  // The kernel's own file system takes no files, whoever asks.
  EXPECT_TRUE(
      fails_with(JsonlWriter::open("/proc/millet/results.jsonl"), ErrorCode::io_error, {"cannot create /proc/millet"}));
}

TEST(ReadJsonl, ListsBadLinesAndKeepsTheOthers) {
  const TemporaryFolder folder;
  const std::string path = folder / "results.jsonl";
  const std::string good = line_of(full_record());
  write_file(path, good + "\n\nnonsense\r\n   \n" + good + "\r\n{\"schema\":1}\n" + good + "\n");
  const auto contents = read_jsonl(path);
  ASSERT_TRUE(contents);
  EXPECT_EQ(contents->records.size(), 3U);
  ASSERT_EQ(contents->bad_lines.size(), 2U);
  EXPECT_TRUE(contents->bad_lines[0].starts_with(path + ":3: ")) << contents->bad_lines[0];
  EXPECT_EQ(contents->bad_lines[1], path + ":6: case_id is missing");
  EXPECT_TRUE(fails_with(read_jsonl(path, true), ErrorCode::parse_error, {path + ":3: "}));
}

TEST(ReadJsonl, ATornLastLineIsFatalOnlyIfStrict) {
  const TemporaryFolder folder;
  const std::string path = folder / "results.jsonl";
  const std::string good = line_of(full_record());
  for (std::size_t length = 1; length < good.size(); length += 13) {
    write_file(path, good + "\n" + good.substr(0, length));
    const auto contents = read_jsonl(path);
    ASSERT_TRUE(contents) << contents.error().message;
    EXPECT_EQ(contents->records.size(), 1U);
    ASSERT_EQ(contents->bad_lines.size(), 1U);
    EXPECT_TRUE(contents->bad_lines[0].starts_with(path + ":2: torn last line: ")) << contents->bad_lines[0];
    EXPECT_TRUE(fails_with(read_jsonl(path, true), ErrorCode::parse_error, {path + ":2: torn last line: "}));
  }
  // A whole record that lacks only its newline is one.
  write_file(path, good + "\n" + good);
  EXPECT_EQ(read_jsonl(path, true).value().records.size(), 2U);
}

TEST(ReadJsonl, AnEmptyFileHasNoRecords) {
  const TemporaryFolder folder;
  write_file(folder / "empty", "");
  const auto contents = read_jsonl(folder / "empty", true);
  ASSERT_TRUE(contents);
  EXPECT_TRUE(contents->records.empty());
}

TEST(ReadJsonl, AFileThatCannotBeReadIsNamed) {
  const TemporaryFolder folder;
  EXPECT_TRUE(fails_with(read_jsonl(folder / "none"), ErrorCode::io_error,
                         {"cannot read " + (folder / "none"), "No such file or directory"}));
  EXPECT_TRUE(fails_with(read_jsonl(folder / ""), ErrorCode::io_error, {"cannot read ", "Is a directory"}));
}

}  // namespace
}  // namespace millet
