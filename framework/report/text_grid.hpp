// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millet {

/// Forms of a report: Markdown and HTML for pages, CSV with one row a case for programs, aligned columns for a
/// terminal.
enum class ReportFormat { markdown, csv, terminal, html };

/// A table of text cells.
struct TextGrid {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  ///< each as long as the header
  std::size_t left_columns = 1;                ///< this many columns are left-aligned, the others right-aligned
};

/// What a page with colours adds to one cell.
struct CellShade {
  double weight = 0;  ///< -1 (bad) to 1 (good); 0 has no colour
  std::string aside;  ///< a second, smaller line
};

/// By row and column of a grid. Cells that are not in it are plain.
using CellShades = std::map<std::pair<std::size_t, std::size_t>, CellShade>;

/// A pipe table whose source is aligned too; pipes in cells are escaped, line breaks become spaces.
[[nodiscard]] std::string to_markdown(const TextGrid& grid);

/// RFC 4180 with \n line ends: cells with commas, quotes or line breaks are quoted. A cell that a spreadsheet would
/// take for a formula (= + - @ before something that is no number) gets a leading apostrophe.
[[nodiscard]] std::string to_csv(const TextGrid& grid);

/// An HTML table; all text is escaped. The first column heads its rows. What is long may break into lines.
[[nodiscard]] std::string to_html(const TextGrid& grid, std::string_view caption, const CellShades& shades = {});

/// Columns padded with spaces, two between columns.
[[nodiscard]] std::string to_terminal(const TextGrid& grid);

}  // namespace millet
