// SPDX-License-Identifier: Apache-2.0
#include "millet/report/record.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "report/sample_records.hpp"

namespace millet {
namespace {

TEST(RecordRoof, HoldsEveryMeasuredRoof) {
  const RecordRoof roof = record_roof({1e6, 2e6}, {10e9, 100e9, {{32768, 80e9}, {65536, 40e9}}, 2, "loops"}, 1e5);
  EXPECT_EQ(roof.read_by_level, (std::vector<RecordReadRate>{{32768, 80e9}, {65536, 40e9}}));
}

TEST(CaseId, IsSixteenHexadecimalDigitsThatNeverChange) {
  // A results file of today must be resumed by a program of tomorrow, so the value itself is part of the format.
  EXPECT_EQ(case_id(dense_record("qkv", 6144, 2304, 1, 5).subject), "24538373c09bc455");
  EXPECT_EQ(build_id(RecordBuild{}), "3e78c35dcdd8bf3d");
}

TEST(CaseId, DependsOnEverythingThatChangesTheWork) {
  const RecordCase base = full_record().subject;
  std::set<std::string> ids{case_id(base)};
  const std::vector<std::function<void(RecordCase&)>> changes{
      [](RecordCase& c) { c.operation = "dense"; },
      [](RecordCase& c) { ++c.m; },
      [](RecordCase& c) { ++c.n; },
      [](RecordCase& c) { ++c.k; },
      [](RecordCase& c) { ++c.experts; },
      [](RecordCase& c) { ++c.slots; },
      [](RecordCase& c) { ++c.a_div; },
      [](RecordCase& c) { ++c.block_m; },
      [](RecordCase& c) { c.weighted = !c.weighted; },
      [](RecordCase& c) { c.activation = "mx"; },
      [](RecordCase& c) { c.output = "bf16"; },
      [](RecordCase& c) { c.scale_mode = "floor"; },
      [](RecordCase& c) { c.weight_layout = "other"; },
      [](RecordCase& c) { c.backend = "portable"; },
      [](RecordCase& c) { c.kernel = "other"; },
      [](RecordCase& c) { c.policy = "other"; },
      [](RecordCase& c) { c.execution_space = "Serial"; },
      [](RecordCase& c) { ++c.threads; },
      [](RecordCase& c) { c.protocol = "hot+eager"; },
      [](RecordCase& c) { --c.seed; },
      [](RecordCase& c) { c.epilogue = "topk_sum"; },
      [](RecordCase& c) { c.epilogue = "swiglu"; },
      [](RecordCase& c) { c.weights = "other"; },
      [](RecordCase& c) { c.weights.reset(); },
      [](RecordCase& c) { c.weights = ""; },
      [](RecordCase& c) { c.weights = "0123456789abcdef"; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    RecordCase changed = base;
    changes[i](changed);
    EXPECT_TRUE(ids.insert(case_id(changed)).second) << "change " << i;
  }
  // Two neighbouring texts may not flow into one another.
  RecordCase x = base;
  x.kernel = "ab";
  x.policy = "c";
  RecordCase y = base;
  y.kernel = "a";
  y.policy = "bc";
  EXPECT_NE(case_id(x), case_id(y));
}

TEST(CaseId, IgnoresHowOneCameToTheCase) {
  const RecordCase base = full_record().subject;
  RecordCase other = base;
  other.preset = "m3";
  other.label = "another name";
  other.tp = 8;
  other.chosen = "forced";
  EXPECT_EQ(case_id(other), case_id(base));
}

TEST(BuildId, DependsOnEveryField) {
  const RecordBuild base = full_record().build;
  std::set<std::string> ids{build_id(base)};
  const std::vector<std::function<void(RecordBuild&)>> changes{
      [](RecordBuild& b) { b.git = "f"; },         [](RecordBuild& b) { b.dirty = !b.dirty; },
      [](RecordBuild& b) { b.compiler = "x"; },    [](RecordBuild& b) { b.flags = "-O0"; },
      [](RecordBuild& b) { b.type = "Debug"; },    [](RecordBuild& b) { b.sanitizer = ""; },
      [](RecordBuild& b) { b.libraries.clear(); }, [](RecordBuild& b) { b.libraries["fmt"] = "9.2"; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    RecordBuild changed = base;
    changes[i](changed);
    EXPECT_TRUE(ids.insert(build_id(changed)).second) << "change " << i;
  }
}

TEST(RecordResult, ConvertsSecondsToNanoseconds) {
  Measurement measurement;
  measurement.seconds = {11e-6, 9e-6, 10e-6};
  measurement.statistics = summarize(measurement.seconds);
  const RecordResult result = record_result(measurement);
  EXPECT_EQ(result.n, 3);
  EXPECT_DOUBLE_EQ(result.median_ns, 10000);
  EXPECT_DOUBLE_EQ(result.min_ns, 9000);
  EXPECT_NEAR(result.mad_ns, 1000, 1e-6);
  EXPECT_DOUBLE_EQ(result.ci95_lo_ns, 1e9 * measurement.statistics.ci95_lo);
  EXPECT_DOUBLE_EQ(result.ci95_hi_ns, 1e9 * measurement.statistics.ci95_hi);
  ASSERT_EQ(result.samples_ns.size(), 3U);
  EXPECT_DOUBLE_EQ(result.samples_ns[0], 11000);  // in the order taken

  const RecordBaseline baseline = record_baseline("eigen", "correctness", measurement);
  EXPECT_EQ(baseline,
            (RecordBaseline{"eigen", "correctness", 3, result.median_ns, result.ci95_lo_ns, result.ci95_hi_ns}));
}

TEST(RecordResult, AnIntervalNeverReachesBelowZero) {
  Measurement measurement;
  measurement.seconds = {1e-6, 9e-6};
  measurement.statistics = summarize(measurement.seconds);
  ASSERT_LT(measurement.statistics.ci95_lo, 0);
  EXPECT_EQ(record_result(measurement).ci95_lo_ns, 0);
  EXPECT_EQ(record_baseline("b", "performance", measurement).ci95_lo_ns, 0);
}

TEST(RecordCache, NamesTheMode) {
  CacheState state{true, 4, 400, 100};
  EXPECT_EQ(record_cache(state, Protocol::cold_graph), (RecordCache{"cold", 4, 400, 100}));
  EXPECT_EQ(record_cache(state, Protocol::hot_eager).mode, "hot");
  state.cold = false;
  EXPECT_EQ(record_cache(state, Protocol::cold_graph).mode, "warm");
}

TEST(RecordRoof, PlacesTheMedian) {
  const Ceilings ceilings{10e9, 100e9, {}, 2, "a loop"};
  const Work work{1e6, 2e6};  // 100 us, 20 us
  const RecordRoof roof = record_roof(work, ceilings, 200e3);
  EXPECT_DOUBLE_EQ(roof.lower_bound_ns, 100e3);
  EXPECT_DOUBLE_EQ(roof.pct_of_read, 50);
  EXPECT_DOUBLE_EQ(roof.pct_of_fma, 10);
  EXPECT_EQ(roof.source, "a loop");
  EXPECT_EQ(roof.read_bytes_per_second, 10e9);
  EXPECT_EQ(roof.fma_flops_per_second, 100e9);
  EXPECT_FALSE(roof.above_roof);
  EXPECT_FALSE(record_roof(work, ceilings, 96e3).above_roof);  // 4 %: the roofs' own noise
  EXPECT_TRUE(record_roof(work, ceilings, 94e3).above_roof);   // 6 %
}

TEST(RecordRoof, WithoutTimeOrRoofSaysNothing) {
  const RecordRoof untimed = record_roof(Work{1e6, 2e6}, Ceilings{10e9, 100e9, {}, 2, ""}, 0);
  EXPECT_EQ(untimed.pct_of_read, 0);
  EXPECT_FALSE(untimed.above_roof);
  EXPECT_DOUBLE_EQ(untimed.lower_bound_ns, 100e3);
  const RecordRoof roofless = record_roof(Work{1e6, 2e6}, Ceilings{}, 10);
  EXPECT_EQ(roofless.lower_bound_ns, 0);
  EXPECT_EQ(roofless.pct_of_read, 0);
  EXPECT_FALSE(roofless.above_roof);
}

TEST(Record, HasATimeOnlyIfItWasNotFoundWrong) {
  Record r = full_record();
  EXPECT_TRUE(r.timed());
  EXPECT_FALSE(r.wrong());
  r.verify.correct = false;
  EXPECT_FALSE(r.timed());
  EXPECT_TRUE(r.wrong());
  r.verify.mode = "none";  // nothing was compared: not known to be wrong
  EXPECT_TRUE(r.timed());
  r.result.n = 0;
  EXPECT_FALSE(r.timed());
  r.result.n = 3;
  r.evidence = Evidence::not_run;
  EXPECT_FALSE(r.timed());
}

}  // namespace
}  // namespace millet
