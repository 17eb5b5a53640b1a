// SPDX-License-Identifier: Apache-2.0
#include "millet/report/html_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "millet/report/setup.hpp"
#include "report/sample_records.hpp"
#include "report/well_formed.hpp"

namespace millet {
namespace {

using testing::IsSubstring;

std::vector<Record> some_records() {
  std::vector<Record> records{dense_record("qkv", 6144, 2304, 1, 125), dense_record("qkv", 6144, 2304, 2, 200),
                              dense_record("o_proj", 2048, 6144, 1, 400)};
  records[0].baselines = {{"portable", "performance", 9, 250e3, 249e3, 251e3}};
  records[1].baselines = {{"portable", "performance", 9, 100e3, 99e3, 101e3}};
  records[0].published = RecordPublished{3.64, "MI355X", "stock Triton", "ROCm/aiter pull request 3783", ""};
  return records;
}

TEST(HtmlReport, HasPicturesHeatMapsTablesAndStamps) {
  const std::string html = html_report(some_records());
  EXPECT_EQ(markup_fault(html), "");
  EXPECT_EQ(count_of(html, "<svg "), 1U);
  EXPECT_EQ(count_of(html, "<path class=\"mark"), 3U);
  for (const std::string part :
       {"<td class=\"up\" style=\"--h:0.50\">2.00<small>published 3.64</small></td>",  // log2(2) / 2
        "<td class=\"down\" style=\"--h:0.50\">0.50</td>", "Largest error over its bound", "Roofline; 3 timed points",
        "Published, not measured here: speedup over stock Triton on MI355X", "abcdef0 (g++ 12.2, Release)",
        "None of the 3 rows is flagged", "cpu dense on Test CPU", ">125.0<"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, html);
  }
}

TEST(HtmlReport, EveryFlaggedRowIsNamed) {
  std::vector<Record> records = some_records();
  records[0].clock = {"steady_clock", 3, 2, true};
  records[1].verify = {"oracle", 3.2, 0.5, false, "row 1 column 7 is 3.2 bounds away"};
  records[2].evidence = Evidence::not_run;
  records[2].result = {};
  records[2].note = "the budget was spent";
  records[2].env.warnings = {"the governor is 'powersave'"};
  const std::string html = html_report(records);
  EXPECT_EQ(markup_fault(html), "");
  for (const std::string part :
       {"of 3 rows 1 is WRONG", "1 without a time, 1 with a doubtful time", "the governor is &#39;powersave&#39;"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, html);
  }
  const std::string list = html.substr(html.find("id=\"flagged\""));
  for (const std::string part :
       {"the clock fell from 3.00 to 2.00 GHz", "row 1 column 7 is 3.2 bounds away", "the budget was spent"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, part, list);
  }
  EXPECT_EQ(count_of(html, "<path class=\"mark"), 1U);
  EXPECT_EQ(count_of(html, "mark series0 flagged"), 2U) << "the mark, and its sample in the legend";
}

/// Every text of a record, for those who would write into the page with one.
void plant(Record& r, const std::string& text) {
  r.note = text;
  for (std::string* field : {&r.subject.preset,
                             &r.subject.label,
                             &r.subject.weight_layout,
                             &r.subject.backend,
                             &r.subject.kernel,
                             &r.subject.policy,
                             &r.subject.chosen,
                             &r.subject.execution_space,
                             &r.subject.protocol,
                             &r.subject.scale_mode,
                             &r.subject.activation,
                             &r.subject.output,
                             &r.roof.source,
                             &r.verify.verdict,
                             &r.verify.mode,
                             &r.clock.source,
                             &r.env.device,
                             &r.env.architecture,
                             &r.env.runtime,
                             &r.env.cpu,
                             &r.env.affinity,
                             &r.env.governor,
                             &r.env.os,
                             &r.env.huge_pages,
                             &r.build.git,
                             &r.build.compiler,
                             &r.build.flags,
                             &r.build.type,
                             &r.build.sanitizer,
                             &r.run.command_line,
                             &r.run.start,
                             &r.run.host_hash,
                             &r.tuned.row,
                             &r.repro}) {
    *field = text;
  }
  r.env.warnings = {text};
  r.baselines = {{text, "performance", 9, 250e3, 249e3, 251e3}};
  r.published = RecordPublished{3.64, text, text, text, text};
  r.tags[text] = text;
  renew_ids(r);
}

TEST(HtmlReport, HostileTextsStayText) {
  for (const std::string& text :
       {std::string("<script>alert(1)</script>"), std::string("\"><img src=x onerror=alert(1)>"),
        std::string("' onload='alert(1)"), std::string("</style></svg></table><b>"), std::string("]]><!--"),
        std::string("\xE2\x80\xAE\xFF\x01&lt;&"), std::string(5000, '<')}) {
    for (const bool timed : {true, false}) {
      Record r = dense_record("qkv", 6144, 2304, 1, 125);
      plant(r, text);
      r.clock.throttled = true;
      if (!timed) r.evidence = Evidence::not_run;
      const std::string html = html_report(std::vector{r});
      EXPECT_EQ(markup_fault(html), "") << text.substr(0, 40);
      EXPECT_EQ(count_of(html, "<script") + count_of(html, "<img") + count_of(html, "<b>alert"), 0U);
      EXPECT_EQ(count_of(html, "<!--"), 0U);
      EXPECT_EQ(html.find('\x01'), std::string::npos);
    }
  }
}

TEST(HtmlReport, EmptyAndFurtherSections) {
  EXPECT_EQ(markup_fault(html_report({})), "");
  EXPECT_PRED_FORMAT2(IsSubstring, "<section>more</section>", html_report(some_records(), "<section>more</section>"));
}

TEST(IsDoubtful, ByTheFactsOfTheRecord) {
  const Record good = dense_record("qkv", 6144, 2304, 1, 125);
  EXPECT_FALSE(is_doubtful(good));
  const auto doubtful = [&](auto change) {
    Record r = good;
    change(r);
    return is_doubtful(r);
  };
  EXPECT_TRUE(doubtful([](Record& r) { r.clock.throttled = true; }));
  EXPECT_TRUE(doubtful([](Record& r) { r.verify = {}; }));
  EXPECT_TRUE(doubtful([](Record& r) { r.verify.correct = false; }));
  EXPECT_TRUE(doubtful([](Record& r) { r.cache.mode = "warm"; }));
  EXPECT_TRUE(doubtful([](Record& r) { r.evidence = Evidence::emulated; }));
  EXPECT_TRUE(doubtful([](Record& r) { r.roof.above_roof = true; }));
  EXPECT_FALSE(doubtful([](Record& r) {
    r.roof.above_roof = true;
    r.cache.mode = "hot";
  }));
  EXPECT_FALSE(doubtful([](Record& r) { r.note = "for people"; }));
}

}  // namespace
}  // namespace millet
