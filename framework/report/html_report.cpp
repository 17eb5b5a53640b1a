// SPDX-License-Identifier: Apache-2.0
#include "millet/report/html_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "millet/report/markup.hpp"
#include "millet/report/roofline_plot.hpp"
#include "millet/report/roofline_table.hpp"
#include "millet/report/speedup_table.hpp"

namespace millet {

namespace {

struct Counts {
  std::size_t rows = 0;
  std::size_t wrong = 0;
  std::size_t not_run = 0;
  std::size_t doubtful = 0;  ///< of those with a time
};

Counts count(const std::vector<Setup>& setups) {
  Counts counts;
  for (const Setup& setup : setups) {
    for (const Record* r : setup.records) {
      ++counts.rows;
      counts.wrong += r->wrong() ? 1 : 0;
      counts.not_run += !r->timed() && !r->wrong() ? 1 : 0;
      counts.doubtful += r->timed() && is_doubtful(*r) ? 1 : 0;
    }
  }
  return counts;
}

std::string flags_box(const std::vector<Setup>& setups) {
  const Counts counts = count(setups);
  std::set<std::string> warnings;
  for (const Setup& setup : setups) {
    for (const Record* r : setup.records) warnings.insert(r->env.warnings.begin(), r->env.warnings.end());
  }
  const bool calm = counts.wrong + counts.not_run + counts.doubtful == 0 && warnings.empty();
  if (calm) return fmt::format("<p class=\"calm\">None of the {} rows is flagged.</p>\n", counts.rows);
  std::string box = fmt::format(
      "<div class=\"flags\" role=\"note\">\n<p><b>Before reading:</b> of {} rows {} WRONG (no time is shown), {} "
      "without a "
      "time, {} with a doubtful time; <a href=\"#flagged\">the list</a> says why.</p>\n",
      counts.rows,
      counts.wrong == 0   ? "none is"
      : counts.wrong == 1 ? "1 is"
                          : fmt::format("{} are", counts.wrong),
      counts.not_run, counts.doubtful);
  for (const std::string& warning : warnings) box += fmt::format("<p>{}</p>\n", escape_markup(warning));
  return box + "</div>\n";
}

std::string stamp(const std::vector<Setup>& setups) {
  std::set<std::string> devices;
  std::set<std::string> builds;
  std::set<std::string> starts;
  for (const Setup& setup : setups) {
    for (const Record* r : setup.records) {
      devices.insert(r->env.device.empty() ? "an unnamed device" : r->env.device);
      builds.insert(fmt::format("{}{} ({}, {})", r->build.git, r->build.dirty ? ", modified" : "", r->build.compiler,
                                r->build.type));
      starts.insert(r->run.start);
    }
  }
  const std::string span = starts.empty()       ? ""
                           : starts.size() == 1 ? *starts.begin()
                                                : fmt::format("{} to {}", *starts.begin(), *starts.rbegin());
  return fmt::format("<p class=\"soft\">{}<br>build {}<br>run {}</p>\n",
                     escape_markup(fmt::format("{}", fmt::join(devices, "; "))),
                     escape_markup(fmt::format("{}", fmt::join(builds, "; "))), escape_markup(span));
}

void add_flagged(ReportPage& page, const std::vector<Setup>& setups) {
  TextGrid grid;
  grid.header = {"case", "backend", "kernel", "protocol", "what"};
  grid.left_columns = 5;
  for (const Setup& setup : setups) {
    for (const Record* r : setup.records) {
      std::vector<std::string> texts = remarks(*r);
      if (texts.empty() && !r->timed()) texts.emplace_back("not run");
      if (texts.empty()) continue;
      grid.rows.push_back({shape_name(r->subject), r->subject.backend, r->subject.kernel, r->subject.protocol,
                           fmt::format("{}", fmt::join(texts, "; "))});
    }
  }
  page.heading("Flagged rows");
  if (grid.rows.empty()) {
    page.lines({"None."});
  } else {
    page.table("Every row with a remark", grid);
  }
}

}  // namespace

std::string html_report(std::span<const Record> records, std::string_view more) {
  const std::vector<Setup> setups = group_by_setup(records);
  std::string body = "<header>\n<h1>Decode kernels on MX-FP8 weights</h1>\n";
  body += stamp(setups) + "</header>\n<main>\n" + flags_box(setups);

  ReportPage page(ReportFormat::html);
  const std::vector<RooflinePlot> plots = roofline_plots(records);
  if (!plots.empty()) {
    page.heading(plots.size() == 1 ? "Roofline" : "Rooflines");
    for (std::size_t i = 0; i < plots.size(); ++i) {
      page.picture(
          roofline_svg(plots[i], fmt::format("roofline{}", i)),
          fmt::format("{} marks, one for each kernel and case; the tables below hold their numbers. Roofs: {}.",
                      plots[i].marks.size(), plots[i].source));
    }
  }
  for (const Setup& setup : setups) {
    page.heading(setup_heading(setup));
    page.lines(setup_facts(setup));
    add_speedup_tables(page, setup);
    add_roofline_table(page, setup);
  }
  body += std::move(page).text();
  body += more;
  ReportPage flagged(ReportFormat::html);
  add_flagged(flagged, setups);
  body += fmt::format("<div id=\"flagged\">\n{}</div>\n", std::move(flagged).text());
  body +=
      "</main>\n<footer>Written by millet report. Colours: green is better, orange is worse; a factor of four, or all "
      "of the read rate, has the full colour.</footer>\n";
  return html_document("millet report", body);
}

}  // namespace millet
