// SPDX-License-Identifier: Apache-2.0
#include "millet/report/strip_plot.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <regex>
#include <set>

#include "report/well_formed.hpp"

namespace millet {
namespace {

using testing::IsSubstring;

TEST(StripSvg, EveryPositiveValueIsAMarkInTheFrameAtItsPlace) {
  const StripPlot plot{"A <title>",
                       "error, %",
                       {{"one", "floor", {{1, "a"}, {10, "b & c"}, {0, "nowhere"}, {NAN, "no"}, {INFINITY, "no"}}},
                        {"one", "ceil", {{1, "d"}}},
                        {"two", "floor", {{10, "e"}}},
                        {"two", "ceil", {}}}};
  const std::string svg = strip_svg(plot, "s");
  EXPECT_EQ(markup_fault(svg), "") << svg;
  std::map<std::string, std::pair<double, double>> at;  // of each label
  const std::regex mark(
      R"re(<path class="mark series\d" transform="translate\(([\d.]+) ([\d.]+)\)" d="[^"]*"><title>([^<]*)</title>)re");
  for (std::sregex_iterator it(svg.begin(), svg.end(), mark), end; it != end; ++it) {
    at[(*it)[3]] = {std::stod((*it)[1]), std::stod((*it)[2])};
  }
  ASSERT_EQ(at.size(), 4U) << svg;
  std::smatch frame;
  ASSERT_TRUE(std::regex_search(
      svg, frame,
      std::regex(R"re(<rect class="frame" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)")re")));
  for (const auto& [label, point] : at) {
    EXPECT_GT(point.first, std::stod(frame[1])) << label;
    EXPECT_LT(point.first, std::stod(frame[1]) + std::stod(frame[3])) << label;
    EXPECT_GT(point.second, std::stod(frame[2])) << label;
    EXPECT_LT(point.second, std::stod(frame[2]) + std::stod(frame[4])) << label;
  }
  EXPECT_EQ(at["a"].second, at["d"].second) << "equal values at one height";
  EXPECT_EQ(at["b &amp; c"].second, at["e"].second);
  EXPECT_GT(at["a"].second, at["e"].second) << "larger values further up";
  EXPECT_LT(at["a"].first, at["d"].first) << "series side by side";
  EXPECT_LT(at["d"].first, at["e"].first) << "groups side by side";
  EXPECT_EQ(count_of(svg, "<line class=\"mean\""), 3U);
  for (const std::string part :
       {"A &lt;title&gt;", ">one<", ">two<", ">floor<", ">ceil<", "4 values of floor, ceil in 2"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, svg);
  }
}

TEST(StripSvg, NothingToShowIsNoPicture) {
  EXPECT_EQ(strip_svg({}, "s"), "");
  EXPECT_EQ(strip_svg({"t", "a", {{"one", "floor", {{0, "zero"}}}}}, "s"), "");
}

}  // namespace
}  // namespace millet
