// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/tuned_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "dispatch/fake_backend.hpp"
#include "error/fails_with.hpp"

namespace millet {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const Backend& toy() {
  static const std::array gemm{
      fake::kernel<GemmProblem>(
          "toy.gemv_few",
          [](const GemmProblem& p) noexcept { return Envelope{.m_max = 4, .n_multiple = 16}.contains(p); }, 3),
      fake::kernel<GemmProblem>("toy.gemm_any", fake::everything<GemmProblem>, 4)};
  static const std::array grouped{
      fake::kernel<GroupedProblem>("toy.grouped_gemm_any", fake::everything<GroupedProblem>, 2)};
  static const Backend backend = fake::backend_of(gemm, grouped);
  return backend;
}

constexpr std::string_view good_row =
    "sm_90a,132,dense,mx,16,4096,7168,0,toy.gemm_any,3,12.5,0.4,portable,31.25,yes,gcc 12.2,abc1234,2026-07-01";

/// The text of a table with these rows: the first one is line 3.
std::string table_of(std::initializer_list<std::string_view> rows) {
  std::string text = fmt::format("{}\n{}\n", tuned_table_schema, tuned_table_header);
  for (const std::string_view row : rows) text += fmt::format("{}\n", row);
  return text;
}

std::vector<std::string> fields_of(std::string_view line) {
  std::vector<std::string> fields(1);
  for (const char c : line) {
    if (c == ',') {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  return fields;
}

struct Change {
  std::string_view column;
  std::string_view value;
};

/// The good row with other values in some columns.
std::string row_with(std::initializer_list<Change> changes) {
  const std::vector<std::string> columns = fields_of(tuned_table_header);
  std::vector<std::string> fields = fields_of(good_row);
  for (const Change& change : changes) {
    const auto column = std::find(columns.begin(), columns.end(), change.column);
    EXPECT_NE(column, columns.end()) << change.column;
    fields[static_cast<std::size_t>(column - columns.begin())] = change.value;
  }
  return fmt::format("{}", fmt::join(fields, ","));
}

TunedTable parsed(std::string_view text) {
  auto table = TunedTable::parse(text, "t.csv", toy());
  if (!table) {
    ADD_FAILURE() << table.error().message;
    return {};
  }
  return *std::move(table);
}

/// The one complaint about a table of one row, which must not be in the table.
std::string complaint_about(std::string_view row) {
  const TunedTable table = parsed(table_of({row}));
  EXPECT_THAT(table.rows(), IsEmpty()) << row;
  EXPECT_EQ(table.rejected().size(), 1U) << row;
  return table.rejected().empty() ? "" : table.rejected().front();
}

const TunedKey good_key{"sm_90a", 132, "dense", ActivationFormat::mx, 16, 4096, 7168, 0};

TEST(TunedTable, ReadsEveryField) {
  const TunedTable table = parsed(table_of({good_row}));
  EXPECT_THAT(table.rejected(), IsEmpty());
  ASSERT_EQ(table.rows().size(), 1U);
  const TunedRow& row = table.rows().front();
  EXPECT_EQ(row.key, good_key) << to_string(row.key);
  EXPECT_EQ(row.kernel, "toy.gemm_any");
  EXPECT_EQ(row.policy, 3);
  EXPECT_EQ(row.median_us, 12.5);
  EXPECT_EQ(row.spread_pct, 0.4);
  EXPECT_EQ(row.baseline, "portable");
  EXPECT_EQ(row.baseline_us, 31.25);
  EXPECT_TRUE(row.use);
  EXPECT_EQ(row.toolchain, "gcc 12.2");
  EXPECT_EQ(row.commit, "abc1234");
  EXPECT_EQ(row.date, "2026-07-01");
  EXPECT_EQ(row.line, 3);
  EXPECT_FALSE(parsed(table_of({row_with({{"use", "no"}})})).rows().front().use);
}

TEST(TunedTable, ReadsGroupedRows) {
  const TunedTable table = parsed(table_of({row_with({{"operation", "grouped"},
                                                      {"activation", "bf16"},
                                                      {"groups", "128"},
                                                      {"kernel", "toy.grouped_gemm_any"},
                                                      {"policy", "1"}})}));
  EXPECT_THAT(table.rejected(), IsEmpty());
  ASSERT_EQ(table.rows().size(), 1U);
  EXPECT_EQ(table.rows().front().key,
            (TunedKey{"sm_90a", 132, "grouped", ActivationFormat::bf16, 16, 4096, 7168, 128}));
}

TEST(TunedTable, ATextWithoutLinesIsAnEmptyTable) {
  for (const std::string_view text : {"", "\n", " \r\n\t\n"}) {
    const TunedTable table = parsed(text);
    EXPECT_THAT(table.rows(), IsEmpty());
    EXPECT_THAT(table.rejected(), IsEmpty());
  }
}

TEST(TunedTable, CountsCommentsBlankLinesAndCarriageReturnsAsLines) {
  const std::string text = fmt::format("\r\n{}\r\n# a comment\r\n{}\r\n\r\n  # another\r\n\t{} \r\nrubbish",
                                       tuned_table_schema, tuned_table_header, good_row);
  const TunedTable table = parsed(text);
  ASSERT_EQ(table.rows().size(), 1U);
  EXPECT_EQ(table.rows().front().line, 7);
  EXPECT_EQ(table.rows().front().date, "2026-07-01");
  EXPECT_THAT(table.rejected(), ElementsAre("t.csv:8: 1 fields, 18 wanted"));
}

TEST(TunedTable, SaysWhatIsWrongWithARow) {
  struct Case {
    std::string row;
    std::string_view complaint;
  };
  const std::vector<Case> cases{
      {row_with({{"arch", ""}}), "column arch: is empty"},
      {row_with({{"arch", "  "}}), "column arch: is empty"},
      {row_with({{"arch", "sm\r_90a"}}), "column arch: holds a control character"},
      {row_with({{"toolchain", std::string("gcc\0", 4) + "12"}}), "column toolchain: holds a control character"},
      {row_with({{"date", "2026\x7F"}}), "column date: holds a control character"},
      {row_with({{"units", "0"}}), "column units: 0 is below 1"},
      {row_with({{"units", "many"}}), "column units: 'many' is not an integer"},
      {row_with({{"operation", "gemm"}}),
       "column operation: 'gemm' is none of dense, grouped, grouped_swiglu, grouped_topk_sum"},
      {row_with({{"activation", "fp8"}}), "column activation: 'fp8' is none of mx, bf16, f32"},
      {row_with({{"m", "0"}}), "column m: 0 is below 1"},
      {row_with({{"m", "-4"}}), "column m: -4 is below 1"},
      {row_with({{"m", "4.0"}}), "column m: '4.0' is not an integer"},
      {row_with({{"m", "0x10"}}), "column m: '0x10' is not an integer"},
      {row_with({{"m", ""}}), "column m: '' is not an integer"},
      {row_with({{"m", "9223372036854775808"}}), "column m: '9223372036854775808' is not an integer"},
      {row_with({{"n", "0"}}), "column n: 0 is below 1"},
      {row_with({{"n", "4096 4096"}}), "column n: '4096 4096' is not an integer"},
      {row_with({{"k", "-32"}}), "column k: -32 is below 1"},
      {row_with({{"groups", "-1"}}), "column groups: -1 is below 0"},
      {row_with({{"kernel", ""}}), "column kernel: is empty"},
      {row_with({{"policy", "-1"}}), "column policy: -1 is below 0"},
      {row_with({{"policy", "default"}}), "column policy: 'default' is not an integer"},
      {row_with({{"median_us", "-12.5"}}), "column median_us: -12.5 is not a finite number of at least 0"},
      {row_with({{"median_us", "nan"}}), "column median_us: nan is not a finite number of at least 0"},
      {row_with({{"median_us", "-nan"}}), "column median_us: -nan is not a finite number of at least 0"},
      {row_with({{"median_us", "inf"}}), "column median_us: inf is not a finite number of at least 0"},
      {row_with({{"median_us", "1e999"}}), "column median_us: '1e999' is not a number"},
      {row_with({{"median_us", "12.5us"}}), "column median_us: '12.5us' is not a number"},
      {row_with({{"median_us", ""}}), "column median_us: '' is not a number"},
      {row_with({{"spread_pct", "-0.1"}}), "column spread_pct: -0.1 is not a finite number of at least 0"},
      {row_with({{"spread_pct", "0.4%"}}), "column spread_pct: '0.4%' is not a number"},
      {row_with({{"baseline", ""}}), "column baseline: is empty"},
      {row_with({{"baseline_us", "nan"}}), "column baseline_us: nan is not a finite number of at least 0"},
      {row_with({{"use", "true"}}), "column use: 'true' is neither yes nor no"},
      {row_with({{"toolchain", ""}}), "column toolchain: is empty"},
      {row_with({{"commit", ""}}), "column commit: is empty"},
      {row_with({{"date", ""}}), "column date: is empty"},
      {row_with({{"m", "x"}, {"date", ""}}), "column m: 'x' is not an integer"},  // the first mistake of two
      {std::string(good_row) + ",", "19 fields, 18 wanted"},
      {std::string(good_row.substr(0, good_row.rfind(','))), "17 fields, 18 wanted"},
      {row_with({{"groups", "8"}}), "groups must be 0 for a dense problem, got 8"},
      {row_with({{"kernel", "toy.gemm_other"}}), "unknown kernel 'toy.gemm_other'"},
      {row_with({{"kernel", "toy.grouped_gemm_any"}}), "unknown kernel 'toy.grouped_gemm_any'"},  // not a dense one
      {row_with({{"policy", "4"}}), "kernel 'toy.gemm_any' has no policy 4, only [0, 4)"},
      {row_with({{"policy", "4294967296"}}), "kernel 'toy.gemm_any' has no policy 1073741824, only [0, 4)"},
      {row_with({{"kernel", "toy.gemv_few"}, {"policy", "0"}}),
       "kernel 'toy.gemv_few' declines m=16 n=4096 k=7168 (m outside the envelope); re-run tune"},
      {row_with({{"kernel", "toy.gemv_few"}, {"policy", "0"}, {"m", "4"}, {"n", "4090"}}),
       "kernel 'toy.gemv_few' declines m=4 n=4090 k=7168 (n not a multiple of the n tile); re-run tune"},
  };
  for (const auto& [row, complaint] : cases) {
    EXPECT_EQ(complaint_about(row), fmt::format("t.csv:3: {}", complaint)) << row;
  }
}

TEST(TunedTable, SaysWhatIsWrongWithAProblem) {
  // The text after the line number is the problem's own.
  EXPECT_EQ(complaint_about(row_with({{"k", "100"}})),
            fmt::format("t.csv:3: {}", make_gemm_problem(16, 4096, 100).error().message));
  const std::string no_experts = complaint_about(row_with({{"operation", "grouped"}}));
  EXPECT_TRUE(no_experts.starts_with("t.csv:3: GroupedProblem: experts must be at least 1")) << no_experts;
  const std::string huge = complaint_about(row_with({{"n", "9223372036854775807"}, {"k", "9223372036854775776"}}));
  EXPECT_TRUE(huge.starts_with("t.csv:3: GemmProblem: ")) << huge;
}

TEST(TunedTable, LeavesOutTheSecondRowOfAKey) {
  const std::string better = row_with({{"kernel", "toy.gemm_any"}, {"policy", "1"}, {"median_us", "1"}});
  const TunedTable table = parsed(table_of({good_row, better}));
  ASSERT_EQ(table.rows().size(), 1U);
  EXPECT_EQ(table.rows().front().policy, 3);
  EXPECT_THAT(
      table.rejected(),
      ElementsAre("t.csv:4: the key sm_90a/132 dense a=mx m=16 n=4096 k=7168 groups=0 stands in line 3 already"));
}

TEST(TunedTable, ARejectedRowDoesNotTakeItsKey) {
  const TunedTable table = parsed(table_of({row_with({{"policy", "9"}}), good_row}));
  EXPECT_EQ(table.rejected().size(), 1U);
  ASSERT_EQ(table.rows().size(), 1U);
  EXPECT_EQ(table.find(good_key), &table.rows().front());
  EXPECT_EQ(table.rows().front().line, 4);
}

TEST(TunedTable, GoesOnAfterARejectedRow) {
  const TunedTable table =
      parsed(table_of({"rubbish", good_row, row_with({{"m", "0"}}), row_with({{"m", "32"}}), "more,rubbish"}));
  EXPECT_EQ(table.rows().size(), 2U);
  EXPECT_THAT(table.rejected(), ElementsAre("t.csv:3: 1 fields, 18 wanted", "t.csv:5: column m: 0 is below 1",
                                            "t.csv:7: 2 fields, 18 wanted"));
}

TEST(TunedTable, StrictFailsAtTheFirstRejectedRow) {
  EXPECT_TRUE(TunedTable::parse(table_of({good_row}), "t.csv", toy(), true));
  const auto failed = TunedTable::parse(table_of({good_row, row_with({{"m", "0"}}), "rubbish"}), "t.csv", toy(), true);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::parse_error);
  EXPECT_EQ(failed.error().message, "t.csv:4: column m: 0 is below 1");
}

TEST(TunedTable, RefusesAnotherSchemaOrHeader) {
  const auto refuses = [](const std::string& text, std::initializer_list<std::string_view> parts) {
    return fails_with(TunedTable::parse(text, "t.csv", toy()), ErrorCode::parse_error, parts);
  };
  const std::string schema(tuned_table_schema);
  const std::string header(tuned_table_header);
  EXPECT_TRUE(refuses("\n# millet-tuned 2\n", {"t.csv:2: ", "must be '# millet-tuned 1', got '# millet-tuned 2'"}));
  EXPECT_TRUE(refuses(header + "\n", {"t.csv:1: the first line must be '# millet-tuned 1'"}));
  EXPECT_TRUE(refuses(schema + "\n" + std::string(good_row), {"t.csv:2: the columns must be 'arch,units,"}));
  EXPECT_TRUE(refuses(schema + "\n\nunits,arch" + header.substr(10) + "\n", {"t.csv:3: the columns must be"}));
  EXPECT_TRUE(refuses(schema + "\n" + header + ",note\n", {"t.csv:2: the columns must be"}));
  EXPECT_TRUE(refuses(schema, {"t.csv: no header line"}));
  EXPECT_TRUE(refuses(schema + "\n# only comments\n", {"t.csv: no header line"}));
  // A binary file is not echoed whole.
  const auto binary = TunedTable::parse(std::string(100000, 'x'), "t.csv", toy());
  ASSERT_FALSE(binary);
  EXPECT_LT(binary.error().message.size(), 200U);
}

TEST(TunedTable, FindsByEveryPartOfTheKey) {
  const TunedTable table = parsed(table_of({good_row}));
  EXPECT_EQ(table.find(good_key), &table.rows().front());
  const auto missing = [&](auto change) {
    TunedKey key = good_key;
    change(key);
    return table.find(key) == nullptr;
  };
  EXPECT_TRUE(missing([](TunedKey& key) { key.arch = "sm_90"; }));
  EXPECT_TRUE(missing([](TunedKey& key) { key.units = 114; }));
  EXPECT_TRUE(missing([](TunedKey& key) { key.operation = "grouped"; }));
  EXPECT_TRUE(missing([](TunedKey& key) { key.activation = ActivationFormat::f32; }));
  EXPECT_TRUE(missing([](TunedKey& key) { key.m = 8; }));
  EXPECT_TRUE(missing([](TunedKey& key) { key.n = 7168; }));
  EXPECT_TRUE(missing([](TunedKey& key) { key.k = 4096; }));
  EXPECT_TRUE(missing([](TunedKey& key) { key.groups = 1; }));
  EXPECT_EQ(TunedTable().find(good_key), nullptr);
}

TEST(TunedTable, KeepsItsRowsWhenItMoves) {
  TunedTable first = parsed(table_of({row_with({{"m", "1"}}), good_row}));
  const TunedTable copy = first;
  const TunedTable moved = std::move(first);
  EXPECT_EQ(copy.find(good_key), &copy.rows()[1]);
  EXPECT_EQ(moved.find(good_key), &moved.rows()[1]);
}

TEST(TunedTable, KeysNameDeviceAndProblem) {
  DeviceInfo device;
  device.architecture = "gfx950";
  device.compute_units = 256;
  EXPECT_EQ(tuned_key(device, GemmProblem{4, 2304, 6144, ActivationFormat::bf16, OutputType::f32}),
            (TunedKey{"gfx950", 256, "dense", ActivationFormat::bf16, 4, 2304, 6144, 0}));
  GroupedProblem grouped;
  grouped.experts = 128;
  grouped.slots = 16;
  grouped.n = 1536;
  grouped.k = 6144;
  grouped.padded_slots = 512;
  EXPECT_EQ(tuned_key(device, grouped),
            (TunedKey{"gfx950", 256, "grouped", ActivationFormat::mx, 16, 1536, 6144, 128}));
  grouped.epilogue = Epilogue::swiglu;
  EXPECT_EQ(tuned_key(device, grouped).operation, "grouped_swiglu");
  grouped.epilogue = Epilogue::topk_sum;
  EXPECT_EQ(tuned_key(device, grouped).operation, "grouped_topk_sum");
}

std::vector<Index> m_of(const std::vector<const TunedRow*>& rows) {
  std::vector<Index> m;
  for (const TunedRow* row : rows) m.push_back(row->key.m);
  return m;
}

TEST(TunedTable, OrdersByRatioOfM) {
  std::string text = table_of({});
  for (const int m : {64, 1, 100, 25, 10, 4}) text += row_with({{"m", std::to_string(m)}}) + "\n";
  const TunedTable table = parsed(text);
  const auto near = [&](Index m) {
    TunedKey key = good_key;
    key.m = m;
    return m_of(table.nearest_m(key));
  };
  EXPECT_THAT(near(5), ElementsAre(4, 10, 25, 1, 64, 100));
  EXPECT_THAT(near(1000), ElementsAre(100, 64, 25, 10, 4, 1));
  EXPECT_THAT(near(2), ElementsAre(4, 1, 10, 25, 64, 100));  // 4 and 1 are as near: the larger first
  // 4 * 25 = 1 * 100 = 10^2. With logarithms of quotients the smaller would come first. 10 itself is not "another m".
  EXPECT_THAT(near(10), ElementsAre(25, 4, 64, 100, 1));
  // Ratios whose squares pass 64 bits.
  EXPECT_THAT(near(Index{1} << 62), ElementsAre(100, 64, 25, 10, 4, 1));
}

TEST(TunedTable, OtherProblemsAndDevicesAreNotNear) {
  const std::string grouped = row_with(
      {{"operation", "grouped"}, {"groups", "8"}, {"kernel", "toy.grouped_gemm_any"}, {"policy", "0"}, {"m", "8"}});
  const TunedTable table =
      parsed(table_of({row_with({{"arch", "sm_90"}, {"m", "8"}}), row_with({{"units", "114"}, {"m", "8"}}), grouped,
                       row_with({{"activation", "bf16"}, {"m", "8"}}), row_with({{"n", "2048"}, {"m", "8"}}),
                       row_with({{"k", "2048"}, {"m", "8"}})}));
  EXPECT_EQ(table.rows().size(), 6U);
  EXPECT_THAT(table.nearest_m(good_key), IsEmpty());
  TunedKey other_experts = table.rows()[2].key;
  other_experts.groups = 16;
  other_experts.m = 4;
  EXPECT_THAT(table.nearest_m(other_experts), IsEmpty());
}

TEST(TunedTable, ReadsWhatIsWritten) {
  TunedRow row;
  row.key = good_key;
  row.kernel = "toy.gemm_any";
  row.policy = 2;
  row.median_us = 3.14159;
  row.spread_pct = 0.516;
  row.baseline = "eigen, f32";  // commas and line breaks would make two fields or lines of one
  row.baseline_us = 1e6;
  row.use = false;
  row.toolchain = "gcc 12.2\r\n-O3";
  row.commit = "abc";
  row.date = "2026-07-01";
  const std::string line = to_csv(row);
  EXPECT_EQ(line,
            "sm_90a,132,dense,mx,16,4096,7168,0,toy.gemm_any,2,3.142,0.52,eigen  f32,1000000.000,no,gcc 12.2  -O3,abc,"
            "2026-07-01");
  const TunedTable table = parsed(table_of({line}));
  EXPECT_THAT(table.rejected(), IsEmpty());
  ASSERT_EQ(table.rows().size(), 1U);
  EXPECT_EQ(table.rows().front().key, row.key);
  EXPECT_EQ(table.rows().front().median_us, 3.142);
  EXPECT_FALSE(table.rows().front().use);
  EXPECT_EQ(to_csv(table.rows().front()), line);
  EXPECT_EQ(to_csv(parsed(table_of({good_row})).rows().front()),
            row_with({{"median_us", "12.500"}, {"spread_pct", "0.40"}, {"baseline_us", "31.250"}}));
}

}  // namespace
}  // namespace millet
