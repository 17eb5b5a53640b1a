// SPDX-License-Identifier: Apache-2.0
#include "millet/report/page.hpp"

#include <fmt/format.h>

#include <utility>

#include "millet/report/markup.hpp"

namespace millet {

void ReportPage::heading(std::string_view text) {
  if (html()) {
    text_ += fmt::format("{}<section>\n<h2>{}</h2>\n", in_section_ ? "</section>\n" : "", escape_markup(text));
    in_section_ = true;
  } else {
    text_ += format_ == ReportFormat::markdown ? fmt::format("## {}\n\n", text) : fmt::format("== {}\n", text);
  }
  after_heading_ = true;
}

void ReportPage::lines(const std::vector<std::string>& lines) {
  if (html()) {
    text_ += fmt::format("<ul class=\"{}\">\n", after_heading_ ? "facts" : "notes");
    for (const std::string& line : lines) {
      const bool warns = line.starts_with("warning:") || line.starts_with("ERROR");
      text_ += fmt::format("<li{}>{}</li>\n", warns ? " class=\"warning\"" : "", escape_markup(line));
    }
    text_ += "</ul>\n";
  } else {
    for (const std::string& line : lines) {
      text_ += fmt::format("{}{}\n", format_ == ReportFormat::markdown ? "- " : "   ", line);
    }
    text_ += '\n';
  }
  after_heading_ = false;
}

void ReportPage::table(std::string_view caption, const TextGrid& grid, const CellShades& shades) {
  text_ += html()                              ? to_html(grid, caption, shades)
           : format_ == ReportFormat::markdown ? fmt::format("**{}**\n\n{}\n", caption, to_markdown(grid))
                                               : fmt::format("{}\n{}\n", caption, to_terminal(grid));
  after_heading_ = false;
}

void ReportPage::picture(std::string_view svg, std::string_view caption) {
  if (!html()) return;
  text_ += fmt::format("<figure>\n{}<figcaption>{}</figcaption>\n</figure>\n", svg, escape_markup(caption));
  after_heading_ = false;
}

std::string ReportPage::text() && {
  if (in_section_) text_ += "</section>\n";
  return std::move(text_);
}

}  // namespace millet
