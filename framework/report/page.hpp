// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "millet/report/text_grid.hpp"

namespace millet {

/// Collects headings, lines and tables as Markdown, as sections of an HTML document, or for a terminal. CSV has no
/// page: it is one table. All text given is plain text; the page escapes what its form needs.
class ReportPage {
 public:
  explicit ReportPage(ReportFormat format) : format_(format) {}

  void heading(std::string_view text);
  /// Facts or notes, a line each.
  void lines(const std::vector<std::string>& lines);
  /// \param shades  colours and second lines of cells, which only HTML shows
  void table(std::string_view caption, const TextGrid& grid, const CellShades& shades = {});
  /// A picture as an inline SVG element with a caption; left out where text is all that there is.
  void picture(std::string_view svg, std::string_view caption);

  [[nodiscard]] bool html() const noexcept { return format_ == ReportFormat::html; }
  [[nodiscard]] std::string text() &&;

 private:
  ReportFormat format_;
  bool in_section_ = false;  // of HTML
  bool after_heading_ = false;
  std::string text_;
};

}  // namespace millet
