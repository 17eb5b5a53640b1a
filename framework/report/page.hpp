// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millet/report/text_grid.hpp"

namespace millet {

/// Collects headings, lines and tables as Markdown, or for a terminal. CSV has no page: it is one table.
class ReportPage {
 public:
  explicit ReportPage(ReportFormat format) : markdown_(format == ReportFormat::markdown) {}

  void heading(std::string_view text) {
    text_ += markdown_ ? fmt::format("## {}\n\n", text) : fmt::format("== {}\n", text);
  }
  void lines(const std::vector<std::string>& lines) {
    for (const std::string& line : lines) text_ += fmt::format("{}{}\n", markdown_ ? "- " : "   ", line);
    text_ += '\n';
  }
  void table(std::string_view caption, const TextGrid& grid) {
    text_ += markdown_ ? fmt::format("**{}**\n\n{}\n", caption, to_markdown(grid))
                       : fmt::format("{}\n{}\n", caption, to_terminal(grid));
  }
  [[nodiscard]] std::string text() && { return std::move(text_); }

 private:
  bool markdown_;
  std::string text_;
};

}  // namespace millet
