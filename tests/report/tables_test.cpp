// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <sstream>
#include <vector>

#include "millet/report/roofline_table.hpp"
#include "millet/report/setup.hpp"
#include "millet/report/speedup_table.hpp"
#include "report/sample_records.hpp"

namespace millet {
namespace {

Record with_baselines(Record r, double portable_us, double eigen_us) {
  r.baselines = {{"portable", "performance", 9, 1e3 * portable_us, 990 * portable_us, 1010 * portable_us},
                 {"eigen", "correctness", 9, 1e3 * eigen_us, 990 * eigen_us, 1010 * eigen_us}};
  return r;
}

/// Two projections by three M: a tie, a point above the roof, a wrong result, and one cell that nobody ran.
std::vector<Record> six_cells() {
  std::vector<Record> records{with_baselines(dense_record("qkv", 6144, 2304, 4, 1250), 5000, 10000),
                              with_baselines(dense_record("qkv", 6144, 2304, 1, 125), 250, 1000),
                              with_baselines(dense_record("qkv", 6144, 2304, 2, 200), 201, 1600),
                              with_baselines(dense_record("o_proj", 2048, 6144, 1, 80), 160, 320),
                              with_baselines(dense_record("o_proj", 2048, 6144, 2, 160), 320, 640)};
  const RecordPublished published{3.64, "MI355X", "stock Triton", "ROCm/aiter pull request 3783", ""};
  records[1].published = published;
  records[2].published = published;
  records[2].published->speedup = 1.00;
  records[2].published->note = "a tie";
  records[4].verify = {"oracle", 3.2, 0.5, false, "row 1 column 7 is 3.2 bounds away"};
  records[4].env.warnings = {"2 virtual cores: times may be disturbed"};
  return records;
}

constexpr const char* golden_facts = R"(- protocol: cold+graph, caches cold, timer steady_clock
- operands: mx activations, bf16 output, scales rceil, seed 1
- roofs of this machine: read 10.0 GB/s, multiply-add 100.0 GFLOP/s; source: loops of this test
- build: abcdef0, g++ 12.2, Release
- machine: 2 cores, Linux 6.1
- evidence: 5 measured; 1 WRONG
- warning: 2 virtual cores: times may be disturbed
)";

constexpr const char* golden_speedups = R"(
**Median time of a call, us (95 % confidence: +-1.0 % in the middle, +-1.0 % at worst)**

| projection |    K |    N |       M=1 |       M=2 |     M=4 |
| ---------- | ---: | ---: | --------: | --------: | ------: |
| qkv        | 6144 | 2304 |     125.0 |     200.0 |    1250 |
| o_proj     | 2048 | 6144 | 80.00 [1] | wrong [2] | not run |

**% of this machine's measured read rate, scales counted**

| projection |    K |    N |       M=1 |   M=2 |     M=4 |
| ---------- | ---: | ---: | --------: | ----: | ------: |
| qkv        | 6144 | 2304 |      80.0 |  50.0 |     8.0 |
| o_proj     | 2048 | 6144 | 125.0 (!) | wrong | not run |

**Speedup over portable (performance baseline), both measured in the same run; ~ could be 1.00**

| projection |    K |    N |  M=1 |           M=2 |           M=4 |       geomean |
| ---------- | ---: | ---: | ---: | ------------: | ------------: | ------------: |
| qkv        | 6144 | 2304 | 2.00 |         ~1.00 |          4.00 |          2.00 |
| o_proj     | 2048 | 6144 | 2.00 |         wrong |       not run | 2.00 (1 of 3) |
| geomean    |      |      | 2.00 | 1.00 (1 of 2) | 4.00 (1 of 2) | 2.00 (4 of 6) |

**Speedup over eigen (correctness baseline), both measured in the same run; ~ could be 1.00**

| projection |    K |    N |  M=1 |           M=2 |           M=4 |       geomean |
| ---------- | ---: | ---: | ---: | ------------: | ------------: | ------------: |
| qkv        | 6144 | 2304 | 8.00 |          8.00 |          8.00 |          8.00 |
| o_proj     | 2048 | 6144 | 4.00 |         wrong |       not run | 4.00 (1 of 3) |
| geomean    |      |      | 5.66 | 8.00 (1 of 2) | 8.00 (1 of 2) | 6.73 (4 of 6) |

**Published, not measured here: speedup over stock Triton on MI355X, from ROCm/aiter pull request 3783; ~ has a note below**

| projection |    K |    N |           M=1 |           M=2 | M=4 |       geomean |
| ---------- | ---: | ---: | ------------: | ------------: | --: | ------------: |
| qkv        | 6144 | 2304 |          3.64 |         ~1.00 |   - | 1.91 (2 of 3) |
| o_proj     | 2048 | 6144 |             - |             - |   - |             - |
| geomean    |      |      | 3.64 (1 of 2) | 1.00 (1 of 2) |   - | 1.91 (2 of 6) |

- published, qkv K=6144 N=2304 M=2: a tie

**Largest error over its bound, against the f64 reference; correct up to 1**

| projection |    K |    N | M=1 |       M=2 |     M=4 |
| ---------- | ---: | ---: | --: | --------: | ------: |
| qkv        | 6144 | 2304 | 0.5 |       0.5 |     0.5 |
| o_proj     | 2048 | 6144 | 0.5 | 3.2 WRONG | not run |

- [1] o_proj K=2048 N=6144 M=1, cpu.gemv_avx2 rows4 (measured): above the roof: wrong bytes or warm cache
- [2] o_proj K=2048 N=6144 M=2, cpu.gemv_avx2 rows4 (measured): wrong: row 1 column 7 is 3.2 bounds away

)";

TEST(SpeedupReport, MarkdownIsTheGoldenText) {
  const std::string heading = "## cpu dense on Test CPU, x86-64-v3, OpenMP, 2 threads\n\n";
  EXPECT_EQ(speedup_report(six_cells(), ReportFormat::markdown), heading + golden_facts + golden_speedups);
}

TEST(SpeedupReport, TerminalSaysTheSameWithoutMarkup) {
  const std::string text = speedup_report(six_cells(), ReportFormat::terminal);
  EXPECT_TRUE(text.starts_with("== cpu dense on Test CPU, x86-64-v3, OpenMP, 2 threads\n   protocol: cold+graph"));
  EXPECT_NE(text.find("projection     K     N        M=1        M=2      M=4\n"
                      "qkv         6144  2304      125.0      200.0     1250\n"
                      "o_proj      2048  6144  80.00 [1]  wrong [2]  not run\n"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find('|'), std::string::npos);
  EXPECT_EQ(text.find("**"), std::string::npos);
}

TEST(SpeedupReport, NoRecordsIsAnEmptyReport) {
  EXPECT_EQ(speedup_report({}, ReportFormat::markdown), "");
  EXPECT_EQ(roofline_report({}, ReportFormat::terminal), "");
}

/// The cells of a CSV text without quoted cells, by row and column name.
class Csv {
 public:
  explicit Csv(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      std::vector<std::string> cells(1);
      for (const char c : line) {
        if (c == ',') {
          cells.emplace_back();
        } else {
          cells.back() += c;
        }
      }
      rows_.push_back(cells);
    }
  }
  [[nodiscard]] std::size_t rows() const { return rows_.size() - 1; }
  [[nodiscard]] std::string at(std::size_t row, const std::string& column) const {
    for (std::size_t i = 0; i < rows_.front().size(); ++i) {
      if (rows_.front()[i] == column) return rows_.at(row + 1).at(i);
    }
    ADD_FAILURE() << "no column " << column;
    return "";
  }
  [[nodiscard]] bool rectangular() const {
    for (const auto& row : rows_) {
      if (row.size() != rows_.front().size()) return false;
    }
    return true;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

TEST(SpeedupReport, CsvHasARowForEachRecordAndBaseline) {
  const Csv csv(speedup_report(six_cells(), ReportFormat::csv));
  ASSERT_EQ(csv.rows(), 10U);
  ASSERT_TRUE(csv.rectangular());
  EXPECT_EQ(csv.at(2, "label"), "qkv");
  EXPECT_EQ(csv.at(2, "m"), "1");
  EXPECT_EQ(csv.at(2, "median_us"), "125");
  EXPECT_EQ(csv.at(2, "min_us"), "118.75");
  EXPECT_EQ(csv.at(2, "pct_of_read"), "80");
  EXPECT_EQ(csv.at(2, "baseline"), "portable");
  EXPECT_EQ(csv.at(2, "baseline_us"), "250");
  EXPECT_EQ(csv.at(2, "speedup"), "2");
  EXPECT_DOUBLE_EQ(std::stod(csv.at(2, "speedup_lo")), 0.99 * 250 / (1.01 * 125));
  EXPECT_DOUBLE_EQ(std::stod(csv.at(2, "speedup_hi")), 1.01 * 250 / (0.99 * 125));
  EXPECT_EQ(csv.at(2, "published_speedup"), "3.64");
  EXPECT_EQ(csv.at(2, "published_device"), "MI355X");
  EXPECT_EQ(csv.at(2, "check"), "correct");
  EXPECT_EQ(csv.at(3, "baseline"), "eigen");
  EXPECT_EQ(csv.at(3, "speedup"), "8");
  EXPECT_EQ(csv.at(6, "above_roof"), "yes");
  // A wrong result keeps its evidence and loses its times.
  EXPECT_EQ(csv.at(8, "check"), "wrong");
  EXPECT_EQ(csv.at(8, "evidence"), "measured");
  EXPECT_EQ(csv.at(8, "median_us"), "");
  EXPECT_EQ(csv.at(8, "pct_of_read"), "");
  EXPECT_EQ(csv.at(8, "speedup"), "");
  EXPECT_EQ(csv.at(8, "remarks"), "wrong: row 1 column 7 is 3.2 bounds away");
}

TEST(SpeedupReport, NoSpeedupWithoutTwoMeasuredTimes) {
  std::vector<Record> records = six_cells();
  records.resize(3);
  records[0].evidence = Evidence::emulated;
  records[1].baselines.pop_back();
  records[2].evidence = Evidence::not_run;
  records[2].note = "the budget was used up";
  const std::string text = speedup_report(records, ReportFormat::markdown);
  EXPECT_NE(text.find("| qkv        | 6144 | 2304 | 125.0 | not run [1] | 1250 [2] |"), std::string::npos) << text;
  EXPECT_NE(text.find("| qkv        | 6144 | 2304 | 2.00 | not run | emulated | 2.00 (1 of 3) |"), std::string::npos)
      << text;
  EXPECT_NE(text.find("| qkv        | 6144 | 2304 | no baseline | not run | emulated |       - |"), std::string::npos)
      << text;
  EXPECT_NE(text.find("(emulated): emulated, not measured\n"), std::string::npos) << text;
  EXPECT_NE(text.find("[1] qkv K=6144 N=2304 M=2, cpu.gemv_avx2 rows4 (not_run): the budget was used up\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("evidence: 1 measured, 1 emulated, 1 not run\n"), std::string::npos) << text;
  const Csv csv(speedup_report(records, ReportFormat::csv));
  EXPECT_EQ(csv.at(0, "evidence"), "emulated");
  EXPECT_EQ(csv.at(0, "speedup"), "");
}

TEST(SpeedupReport, TheFastestCorrectKernelFillsTheCell) {
  const auto with_kernel = [](const std::string& kernel, double us, bool correct) {
    Record r = dense_record("qkv", 6144, 2304, 1, us);
    r.subject.kernel = kernel;
    r.verify = {"oracle", correct ? 0.5 : 2.0, 0, correct, ""};
    renew_ids(r);
    return r;
  };
  const std::vector<Record> records{with_kernel("cpu.gemv_a", 300, true), with_kernel("cpu.gemv_b", 120, false),
                                    with_kernel("cpu.gemv_c", 200, true)};
  const std::string text = speedup_report(records, ReportFormat::markdown);
  EXPECT_NE(text.find("| qkv        | 6144 | 2304 | 200.0 |"), std::string::npos) << text;
  EXPECT_NE(text.find("cpu.gemv_b rows4 (measured): wrong: the check failed"), std::string::npos) << text;
}

TEST(SpeedupReport, UncheckedWarmAndThrottledTimesAreMarked) {
  std::vector<Record> records{dense_record("qkv", 6144, 2304, 1, 200), dense_record("qkv", 6144, 2304, 2, 200),
                              dense_record("qkv", 6144, 2304, 4, 200)};
  records[0].verify = {};
  records[1].cache.mode = "warm";
  records[2].clock = {"steady_clock", 4.0, 3.0, true};
  const std::string text = speedup_report(records, ReportFormat::markdown);
  EXPECT_NE(text.find("| 200.0 [1] | 200.0 [2] | 200.0 [3] |"), std::string::npos) << text;
  EXPECT_NE(text.find("the output was not checked\n"), std::string::npos) << text;
  EXPECT_NE(text.find("warm: the weight copies do not pass twice the last-level cache\n"), std::string::npos) << text;
  EXPECT_NE(text.find("the clock fell from 4.00 to 3.00 GHz\n"), std::string::npos) << text;
  EXPECT_NE(text.find("caches cold; warm"), std::string::npos) << text;
}

TEST(SpeedupReport, GroupedRowsShowExpertsAndTopK) {
  Record r = dense_record("moe_gemm2", 768, 6144, 8, 200);
  r.subject.operation = "grouped";
  r.subject.experts = 128;
  r.subject.slots = 32;
  r.subject.a_div = 1;
  r.subject.weighted = true;
  renew_ids(r);
  const std::string text = speedup_report({&r, 1}, ReportFormat::markdown);
  EXPECT_NE(text.find("| layer                |   E | top_k |   K |    N |   M=8 |\n"), std::string::npos) << text;
  EXPECT_NE(text.find("| moe_gemm2 (weighted) | 128 |     4 | 768 | 6144 | 200.0 |\n"), std::string::npos) << text;

  Record fused = r;
  fused.subject.epilogue = "topk_sum";
  renew_ids(fused);
  const std::vector<Record> both{r, fused};
  const std::string rows = speedup_report(both, ReportFormat::markdown);
  EXPECT_NE(rows.find("| moe_gemm2 (weighted)          |"), std::string::npos) << rows;
  EXPECT_NE(rows.find("| moe_gemm2 (weighted) topk_sum |"), std::string::npos) << rows;
}

TEST(GroupBySetup, KeepsApartWhatMayNotBeCompared) {
  const Record base = dense_record("qkv", 6144, 2304, 1, 200);
  std::vector<Record> records(10, base);
  records[1].subject.threads = 4;
  records[2].subject.protocol = "hot+eager";
  records[3].subject.backend = "portable";
  records[4].env.device = "another CPU";
  records[5].subject.activation = "bf16";
  records[6].run.host_hash = "another machine";
  records[7].subject.execution_space = "Serial";
  records[8].subject.operation = "grouped";
  records[9].clock.source = "another timer";
  for (Record& record : records) renew_ids(record);
  EXPECT_EQ(group_by_setup(records).size(), records.size());
  EXPECT_EQ(group_by_setup(std::vector<Record>(3, base)).size(), 1U);
}

TEST(GroupBySetup, TheLastRecordOfACaseCounts) {
  std::vector<Record> records{dense_record("qkv", 6144, 2304, 1, 200), dense_record("qkv", 6144, 2304, 2, 300),
                              dense_record("qkv", 6144, 2304, 1, 100)};
  const auto setups = group_by_setup(records);
  ASSERT_EQ(setups.size(), 1U);
  ASSERT_EQ(setups[0].records.size(), 2U);
  EXPECT_EQ(setups[0].records[0]->result.median_ns, 100e3);
  EXPECT_EQ(setups[0].records[1]->result.median_ns, 300e3);
}

TEST(GroupBySetup, ACaseThatWasLeftOutLaterKeepsItsTime) {
  std::vector<Record> records(3, dense_record("qkv", 6144, 2304, 1, 200));
  records[0].evidence = Evidence::not_run;
  records[2].evidence = Evidence::not_run;
  const auto setups = group_by_setup(records);
  ASSERT_EQ(setups.size(), 1U);
  ASSERT_EQ(setups[0].records.size(), 1U);
  EXPECT_EQ(setups[0].records[0], &records[1]);
}

TEST(RooflineReport, MarkdownIsTheGoldenText) {
  std::vector<Record> records = six_cells();
  records[0].work = {1e6, 4e7, 0};  // 100 us for the memory, 400 us for the arithmetic
  records[0].roof = record_roof(Work{1e6, 4e7}, Ceilings{10e9, 100e9, {}, 2, "loops of this test"}, 1250e3);
  const std::string heading = "## cpu dense on Test CPU, x86-64-v3, OpenMP, 2 threads\n\n";
  // (80 * 50 * 125 * 32)^(1/4) = 63.2
  EXPECT_EQ(roofline_report(records, ReportFormat::markdown), heading + golden_facts + R"(
**Roofline; 4 timed points at 63.2 % of the roof in the geometric mean, 1 above it**

| case                     | kernel        |   MB | MFLOP | FLOP/B | bound by | least us | median us | % of roof |
| ------------------------ | ------------- | ---: | ----: | -----: | -------: | -------: | --------: | --------: |
| qkv K=6144 N=2304 M=4    | cpu.gemv_avx2 | 1.00 |  40.0 |  40.00 |  compute |    400.0 |      1250 |      32.0 |
| qkv K=6144 N=2304 M=1    | cpu.gemv_avx2 | 1.00 |   2.0 |   2.00 |   memory |    100.0 |     125.0 |      80.0 |
| qkv K=6144 N=2304 M=2    | cpu.gemv_avx2 | 1.00 |   2.0 |   2.00 |   memory |    100.0 |     200.0 |      50.0 |
| o_proj K=2048 N=6144 M=1 | cpu.gemv_avx2 | 1.00 |   2.0 |   2.00 |   memory |    100.0 |     80.00 | 125.0 (!) |
| o_proj K=2048 N=6144 M=2 | cpu.gemv_avx2 | 1.00 |   2.0 |   2.00 |   memory |    100.0 |     wrong |         - |

- ERROR: o_proj K=2048 N=6144 M=1, cpu.gemv_avx2: 125.0 % of the roof; above the roof: wrong bytes or warm cache

)");
}

TEST(RooflineReport, HotCachesMayPassTheRoof) {
  Record r = dense_record("qkv", 6144, 2304, 1, 80);
  r.cache.mode = "hot";
  const std::string text = roofline_report({&r, 1}, ReportFormat::terminal);
  EXPECT_EQ(text.find("ERROR"), std::string::npos) << text;
  EXPECT_NE(text.find("above the roof of streaming reads, as hot caches allow"), std::string::npos) << text;
}

TEST(RooflineReport, MissingRoofsAreSaid) {
  Record r = dense_record("qkv", 6144, 2304, 1, 80);
  r.roof = {};
  const std::string text = roofline_report({&r, 1}, ReportFormat::terminal);
  EXPECT_NE(text.find("read unknown GB/s"), std::string::npos) << text;
  EXPECT_NE(text.find("unknown   no roof      80.00    no roof\n"), std::string::npos) << text;
  EXPECT_NE(speedup_report({&r, 1}, ReportFormat::terminal).find("qkv         6144  2304  no roof\n"),
            std::string::npos);
}

TEST(RooflineReport, CsvHasTheRawNumbers) {
  const Csv csv(roofline_report(six_cells(), ReportFormat::csv));
  ASSERT_EQ(csv.rows(), 5U);
  ASSERT_TRUE(csv.rectangular());
  EXPECT_EQ(csv.at(1, "bytes"), "1000000");
  EXPECT_EQ(csv.at(1, "flops"), "2000000");
  EXPECT_EQ(csv.at(1, "intensity"), "2");
  EXPECT_EQ(csv.at(1, "bound"), "memory");
  EXPECT_EQ(csv.at(1, "lower_bound_ns"), "100000");
  EXPECT_EQ(csv.at(1, "median_ns"), "125000");
  EXPECT_EQ(csv.at(1, "pct_of_roof"), "80");
  EXPECT_EQ(csv.at(1, "roof_source"), "loops of this test");
  EXPECT_EQ(csv.at(3, "above_roof"), "yes");
  EXPECT_EQ(csv.at(4, "median_ns"), "");
  EXPECT_EQ(csv.at(4, "pct_of_roof"), "");
}

TEST(FormatUs, KeepsFourDigitsOrSo) {
  EXPECT_EQ(format_us(7200), "7.20");
  EXPECT_EQ(format_us(99990), "99.99");
  EXPECT_EQ(format_us(153400), "153.4");
  EXPECT_EQ(format_us(999940), "999.9");
  EXPECT_EQ(format_us(2063700), "2064");
}

}  // namespace
}  // namespace millet
