// SPDX-License-Identifier: Apache-2.0
#include "millet/report/roofline_plot.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <regex>

#include "millet/report/log_scale.hpp"
#include "millet/report/picture.hpp"
#include "report/sample_records.hpp"
#include "report/well_formed.hpp"

namespace millet {
namespace {

using testing::ElementsAre;

TEST(LogScale, MapsByHand) {
  const LogScale scale{1, 100, 50, 250};
  EXPECT_NEAR(scale(1), 50, 1e-9);
  EXPECT_NEAR(scale(10), 150, 1e-9);
  EXPECT_NEAR(scale(100), 250, 1e-9);
  const LogScale upwards{1, 100, 250, 50};
  EXPECT_NEAR(upwards(10), 150, 1e-9);
  EXPECT_NEAR(upwards(100), 50, 1e-9);
}

TEST(LogScale, TicksAreRoundAndOnTheAxis) {
  EXPECT_THAT(ticks({0.9, 30, 0, 1}), ElementsAre(1, 2, 5, 10, 20));
  EXPECT_THAT(ticks({3.5, 7.2, 0, 1}), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(ticks({0.5, 2000, 0, 1}), ElementsAre(1, 10, 100, 1000));
}

TEST(WithPrefix, ThreeSignificantDigits) {
  EXPECT_EQ(with_prefix(4.2457e12), "4.25 T");
  EXPECT_EQ(with_prefix(627e12), "627 T");
  EXPECT_EQ(with_prefix(30.6e9), "30.6 G");
  EXPECT_EQ(with_prefix(999.9e6), "1 G");
  EXPECT_EQ(with_prefix(12), "12");
}

struct Point {
  double x = 0, y = 0;
};

/// Where the marks of a picture are, in its order.
std::vector<Point> marks_of(const std::string& svg) {
  std::vector<Point> points;
  const std::regex mark(R"re(<path class="mark[^"]*" transform="translate\(([-\d.]+) ([-\d.]+)\)")re");
  for (std::sregex_iterator it(svg.begin(), svg.end(), mark), end; it != end; ++it) {
    points.push_back({std::stod((*it)[1]), std::stod((*it)[2])});
  }
  return points;
}

/// The frame of a picture: its least and greatest corner.
std::pair<Point, Point> frame_of(const std::string& svg) {
  std::smatch found;
  const std::regex frame(R"re(<rect class="frame" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)")re");
  EXPECT_TRUE(std::regex_search(svg, found, frame)) << svg;
  const Point low{std::stod(found[1]), std::stod(found[2])};
  return {low, {low.x + std::stod(found[3]), low.y + std::stod(found[4])}};
}

TEST(RooflinePlots, OneMarkForEachTimedRecordUnderTheRoofsThatItHolds) {
  std::vector<Record> records{dense_record("qkv", 6144, 2304, 1, 200), dense_record("qkv", 6144, 2304, 2, 300),
                              dense_record("qkv", 6144, 2304, 4, 400), dense_record("qkv", 6144, 2304, 8, 500)};
  records[0].roof.read_by_level = {{32768, 50e9}, {1048576, 30e9}};
  records[1].roof.read_by_level = {{32768, 60e9}};
  records[1].subject.kernel = "cpu.other";
  records[1].clock.throttled = true;
  records[2].verify.correct = false;          // no time, so no mark
  records[3].subject.protocol = "hot+eager";  // another picture
  records[3].roof.read_bytes_per_second = 12e9;
  for (Record& r : records) renew_ids(r);
  const std::vector<RooflinePlot> plots = roofline_plots(records);
  ASSERT_EQ(plots.size(), 2U);
  EXPECT_EQ(plots[0].title, "Roofline of Test CPU, x86-64-v3, 2 threads, cold+graph");
  EXPECT_EQ(plots[0].memory.bytes_per_second, 10e9);
  EXPECT_EQ(plots[0].flops_per_second, 100e9);
  ASSERT_EQ(plots[0].levels.size(), 2U);
  EXPECT_EQ(plots[0].levels[0].name, "read, 32 KiB");
  EXPECT_EQ(plots[0].levels[0].bytes_per_second, 60e9);
  EXPECT_EQ(plots[0].levels[1].name, "read, 1 MiB");
  ASSERT_EQ(plots[0].marks.size(), 2U);
  EXPECT_EQ(plots[0].marks[0].intensity, 2.0);
  EXPECT_NEAR(plots[0].marks[0].flops_per_second, 2e6 / 200e-6, 1);
  EXPECT_FALSE(plots[0].marks[0].flagged);
  EXPECT_TRUE(plots[0].marks[1].flagged);
  EXPECT_EQ(plots[1].memory.bytes_per_second, 12e9);

  // Both axes hold two decades or so; the position is where the logarithm puts it.
  const std::string svg = roofline_svg(plots[0], "r0");
  EXPECT_EQ(markup_fault(svg), "") << svg;
  const std::vector<Point> marks = marks_of(svg);
  ASSERT_EQ(marks.size(), 2U);
  EXPECT_EQ(marks[0].x, marks[1].x);
  EXPECT_LT(marks[0].y, marks[1].y) << "200 us is more FLOP/s than 300 us, so higher up";
  for (const std::string part :
       {"cpu.gemv_avx2 (1)", "cpu.other (1)", "read, 32 KiB 60 GB/s", "read, main memory 10 GB/s", "peak 100 GFLOP/s",
        ">M=1<", "aria-labelledby=\"r0-title r0-desc\"", "<title id=\"r0-title\">", "<desc id=\"r0-desc\">2 marks",
        "red border"}) {
    EXPECT_PRED_FORMAT2(testing::IsSubstring, part, svg);
  }
}

TEST(RooflineSvg, EveryMarkIsInTheFrameAndNotAboveTheRoofThatItIsBelow) {
  std::vector<Record> records;
  for (const Index m : {1, 7, 64, 4096}) {
    for (const double us : {0.01, 90.0, 150.0, 1e7}) {
      Record r = dense_record("qkv", 6144, 2304, m, us);
      r.work.flops = 2e6 * static_cast<double>(m);
      r.roof = record_roof({r.work.bytes, r.work.flops}, {10e9, 100e9, {{32768, 80e9}}, 2, "x"}, r.result.median_ns);
      records.push_back(r);
      renew_ids(records.back());
    }
  }
  // One case id each, or only the last would count.
  for (std::size_t i = 0; i < records.size(); ++i) {
    records[i].subject.seed = i;
    renew_ids(records[i]);
  }
  const auto plots = roofline_plots(records);
  ASSERT_EQ(plots.size(), 1U);
  // The flagged ones are drawn last.
  std::stable_partition(records.begin(), records.end(), [](const Record& r) { return !r.roof.above_roof; });
  EXPECT_TRUE(records.back().roof.above_roof && !records.front().roof.above_roof);
  const std::string svg = roofline_svg(plots[0], "r");
  const auto marks = marks_of(svg);
  ASSERT_EQ(marks.size(), records.size());
  const auto [low, high] = frame_of(svg);
  std::smatch roof;
  const std::regex roof_path(R"re(<path class="roof" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)")re");
  ASSERT_TRUE(std::regex_search(svg, roof, roof_path)) << "the first is that of main memory";
  const Point begin{std::stod(roof[1]), std::stod(roof[2])};
  const Point ridge{std::stod(roof[3]), std::stod(roof[4])};
  const double slope = (ridge.y - begin.y) / (ridge.x - begin.x);
  for (std::size_t i = 0; i < marks.size(); ++i) {
    EXPECT_GT(marks[i].x, low.x);
    EXPECT_LT(marks[i].x, high.x);
    EXPECT_GT(marks[i].y, low.y);
    EXPECT_LT(marks[i].y, high.y);
    const double roof_y = marks[i].x >= ridge.x ? ridge.y : begin.y + slope * (marks[i].x - begin.x);
    const bool above = records[i].roof.lower_bound_ns > records[i].result.median_ns;
    EXPECT_EQ(marks[i].y < roof_y, above) << records[i].subject.m << " " << records[i].result.median_ns;
  }
}

TEST(RooflinePlots, NumbersThatNoMachineHasAreNotDrawn) {
  std::vector<Record> records;
  for (const auto& [bytes, flops, ns] : {std::tuple{1e-10, 1e308, 1e5}, std::tuple{1e6, 2e6, 1e-300},
                                         std::tuple{1e300, 1e-300, 1e5}, std::tuple{0.0, 2e6, 1e5}}) {
    Record r = dense_record("qkv", 6144, 2304, 1, 200);
    r.work = {bytes, flops, 0};
    r.result.median_ns = ns;
    records.push_back(r);
  }
  records.push_back(dense_record("qkv", 6144, 2304, 2, 200));
  records.back().roof.read_bytes_per_second = 1e-300;
  records.push_back(dense_record("qkv", 6144, 2304, 4, 200));
  records.back().roof.read_by_level = {{32768, 1e300}};
  for (std::size_t i = 0; i < records.size(); ++i) {
    records[i].subject.seed = i;
    renew_ids(records[i]);
  }
  const auto plots = roofline_plots(records);
  ASSERT_EQ(plots.size(), 1U);
  EXPECT_EQ(plots[0].marks.size(), 1U);
  EXPECT_TRUE(plots[0].levels.empty());
  EXPECT_EQ(markup_fault(roofline_svg(plots[0], "x")), "");
  EXPECT_LE(ticks({1e-9, 1e24, 0, 1}).size(), 13U);
}

TEST(RooflineSvg, RoofsAloneAreAPictureAndNoRoofsAreNone) {
  const RooflinePlot bare = roofline_plot("Bare", {20e9, 80e9, {{32768, 100e9}}, 1, "loops"}, {});
  const std::string svg = roofline_svg(bare, "b");
  EXPECT_EQ(markup_fault(svg), "");
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "0 marks", svg);
  EXPECT_EQ(roofline_svg(roofline_plot("None", {}, {}), "n"), "");
}

TEST(LegendRows, BreaksBeforeTheEdge) {
  LegendRows rows(0, 400, 100);
  for (int i = 0; i < 5; ++i) rows.add_mark(0, false, "an entry of twenty s");
  EXPECT_GT(rows.bottom(), 100);
  const std::string svg = rows.svg();
  const std::regex text(R"re(<text x="([\d.]+)")re");
  for (std::sregex_iterator it(svg.begin(), svg.end(), text), end; it != end; ++it) {
    EXPECT_LT(std::stod((*it)[1]) + 20 * 8, 400);
  }
}

TEST(PictureMark, EachSeriesHasAColourAndAFormOfItsOwn) {
  std::set<std::string> forms;
  for (std::size_t i = 0; i < 8; ++i) {
    const std::string mark = picture_mark(0, 0, i, false, "");
    forms.insert(mark.substr(mark.find(" d=")));
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "series" + std::to_string(i), mark);
  }
  EXPECT_EQ(forms.size(), 8U);
}

}  // namespace
}  // namespace millet
