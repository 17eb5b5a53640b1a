// SPDX-License-Identifier: Apache-2.0
// The HTML report, opened by a real browser without a screen.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "millet/report/html_report.hpp"
#include "report/sample_records.hpp"

namespace millet {
namespace {

using nlohmann::json;

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Every kind of row that a report can hold.
std::vector<Record> all_kinds() {
  std::vector<Record> records;
  double speed = 1;
  for (const auto& [label, k, n] : {std::tuple{"qkv", 6144, 2304}, std::tuple{"o_proj", 2048, 6144},
                                    std::tuple{"gate_up", 6144, 1536}, std::tuple{"mlp_down", 1536, 6144}}) {
    for (const Index m : {1, 2, 4, 8, 16, 32, 64}) {
      speed *= 1.02;
      const Work work{1.03 * k * n, 2.0 * static_cast<double>(m) * k * n};
      const Ceilings ceilings{25e9, 90e9, {{32768, 160e9}, {1048576, 90e9}, {16777216, 68e9}}, 1, "loops of this test"};
      const double ns = record_roof(work, ceilings, 0).lower_bound_ns * 1.6 * speed;
      Record r = dense_record(label, k, n, m, ns * 1e-3);
      r.work = {work.bytes, work.flops, 0};
      r.roof = record_roof(work, ceilings, ns);
      r.subject.kernel = m <= 16 ? "portable.gemv_range" : "portable.gemm_range";
      r.baselines = {
          {"eigen_f32 (avx2, 1 thread)", "performance", 9, 2.2 * ns / speed, 2.1 * ns / speed, 2.3 * ns / speed}};
      r.published = RecordPublished{3.64, "MI355X", "stock Triton", "ROCm/aiter pull request 3783", ""};
      r.env.warnings = {"a virtual machine with 2 CPUs: neighbours share its caches and memory"};
      renew_ids(r);
      records.push_back(r);
    }
  }
  records[3].clock = {"steady_clock", 3, 2, true};
  records[9].verify = {"oracle", 3.2, 0.5, false, "row 1 column 7 is 3.2 bounds away"};
  records[11].evidence = Evidence::not_run;
  records[11].note = "the budget of 30 s was spent before this case; raise --budget, or go on with --resume";
  records[20].subject.kernel =
      "portable.a_kernel_with_a_name_that_somebody_made_much_longer_than_any_legend_has_room_for";
  renew_ids(records[20]);
  Record grouped = full_record();
  grouped.subject.kernel = "<script>alert('kernel')</script>";
  grouped.env.os = std::string(400, 'x');
  grouped.roof = record_roof({grouped.work.bytes, grouped.work.flops}, {1e12, 1e14, {}, 0, "<b>bold</b>"}, 7200.5);
  renew_ids(grouped);
  records.push_back(grouped);
  return records;
}

struct Browsing {
  json found;
  std::string console;  ///< messages, which a good page has none of
};

class ReportInBrowser : public testing::Test {
 protected:
  void SetUp() override {
    const char* const wanted = std::getenv("MILLET_BROWSER");
    for (const std::string& name : {std::string(wanted == nullptr ? "" : wanted), std::string("chromium"),
                                    std::string("chromium-browser"), std::string("google-chrome")}) {
      if (!name.empty() && std::system(fmt::format("command -v '{}' > /dev/null", name).c_str()) == 0) {  // NOLINT
        browser_ = name;
        return;
      }
    }
    FAIL() << "no browser; scripts/setup.sh --with-long-tests installs one, or MILLET_BROWSER names it";
  }

  /// What stderr and the final document are when a browser opens `html` with these switches.
  [[nodiscard]] std::pair<std::string, std::string> open(const std::string& html, const std::string& switches) {
    const std::string page = folder_ / "page.html";
    std::ofstream(page, std::ios::binary) << html;
    const int status = std::system(  // NOLINT: the command is the test's own
        fmt::format("timeout 120 '{}' --headless=new --no-sandbox --disable-gpu --disable-background-networking "
                    "--enable-logging=stderr --user-data-dir='{}' {} --dump-dom 'file://{}' > '{}' 2> '{}'",
                    browser_, folder_ / "profile", switches, page, folder_ / "dom", folder_ / "log")
            .c_str());
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << content_of(folder_ / "log");
    return {content_of(folder_ / "dom"), content_of(folder_ / "log")};
  }

  /// The page as it is, for its messages; then a copy that allows the probe, for what is in it.
  [[nodiscard]] Browsing browse(const std::string& html, const std::string& switches) {
    Browsing browsing;
    browsing.console = console_of(open(html, switches).second);
    std::string probed = html;
    const std::string policy = "default-src 'none'; ";
    EXPECT_NE(probed.find(policy), std::string::npos);
    probed.erase(probed.find("<meta http-equiv"),
                 probed.find("<meta name=\"viewport\"") - probed.find("<meta http-equiv"));
    probed.insert(probed.find("<title>"),
                  fmt::format("<script>{}</script>", content_of(MILLET_TEST_DATA "/browser/probe.js")));
    const auto [dom, log] = open(probed, switches);
    const std::string start = "<pre id=\"probe\">";
    const std::size_t begin = dom.find(start);
    EXPECT_NE(begin, std::string::npos) << log;
    if (begin == std::string::npos) return browsing;
    std::string text = dom.substr(begin + start.size(), dom.find("</pre>", begin) - begin - start.size());
    for (const auto& [entity, character] : {std::pair{"&lt;", "<"}, std::pair{"&gt;", ">"}, std::pair{"&amp;", "&"}}) {
      for (std::size_t at = text.find(entity); at != std::string::npos; at = text.find(entity, at + 1)) {
        text.replace(at, std::string(entity).size(), character);
      }
    }
    browsing.found = json::parse(text);
    return browsing;
  }

  static std::string console_of(const std::string& log) {
    std::string messages;
    for (std::size_t at = log.find("CONSOLE"); at != std::string::npos; at = log.find("CONSOLE", at + 1)) {
      messages += log.substr(at, log.find('\n', at) - at) + "\n";
    }
    return messages;
  }

  std::string browser_;
  TemporaryFolder folder_;
};

TEST_F(ReportInBrowser, RendersWholeInLightDarkAndNarrowWindows) {
  const std::string html = html_report(all_kinds());
  for (const auto& [switches, dark] :
       {std::pair{"--window-size=1180,2000", false}, std::pair{"--window-size=1180,2000 --force-dark-mode", true},
        std::pair{"--window-size=500,900", false}}) {
    SCOPED_TRACE(switches);
    const auto [found, console] = browse(html, switches);
    EXPECT_EQ(console, "");
    ASSERT_TRUE(found.is_object());
    EXPECT_EQ(found["errors"], json::array());
    EXPECT_EQ(found["fetched"], json::array());
    EXPECT_EQ(found["pictures"], 2);
    EXPECT_EQ(found["marks"], 27) << "28 dense rows but one wrong and one not run, and a grouped one";
    EXPECT_EQ(found["marks_outside"], 0);
    EXPECT_EQ(found["marks_without_area"], 0);
    EXPECT_EQ(found["text_outside"], json::array());
    EXPECT_EQ(found["text_overlapping"], json::array());
    EXPECT_EQ(found["cells_cut"], json::array());
    EXPECT_EQ(found["low_contrast"], json::array());
    EXPECT_LE(found["wider_than_window"], 0);
    EXPECT_GE(found["tables"], 10);
    EXPECT_GE(found["shaded"], 40);
    EXPECT_EQ(found["dark"], dark);
  }
}

TEST_F(ReportInBrowser, TheProbeSeesFaults) {
  std::string html = html_report(all_kinds());
  const std::string mark = "<g><path class=\"mark series0\" transform=\"translate(";
  ASSERT_NE(html.find(mark), std::string::npos);
  html.insert(html.find(mark) + mark.size(), "9");  // far to the right
  html.insert(html.find("FLOP/s</text>"), std::string(200, 'w'));
  html.insert(html.find("</main>"), "<p style=\"color:#eee;width:9rem;white-space:nowrap;overflow:hidden\">" +
                                        std::string(90, 'v') + "</p><p style=\"width:3000px\">x</p>");
  const auto [found, console] = browse(html, "--window-size=1180,2000");
  ASSERT_TRUE(found.is_object());
  EXPECT_EQ(found["marks_outside"], 1);
  EXPECT_GE(found["text_outside"].size(), 1U);
  EXPECT_EQ(found["cells_cut"].size(), 1U);
  EXPECT_GE(found["low_contrast"].size(), 1U);
  EXPECT_GT(found["wider_than_window"], 0);
}

TEST_F(ReportInBrowser, ThePolicyStopsScriptsThatSomehowGotIn) {
  std::string html = html_report(all_kinds());
  html.insert(html.find("</main>"), "<script>document.title = 'taken'</script>");
  const auto [dom, log] = open(html, "");
  EXPECT_EQ(dom.find("<title>taken</title>"), std::string::npos);
  EXPECT_NE(console_of(log), "") << "and says so";
}

}  // namespace
}  // namespace millet
