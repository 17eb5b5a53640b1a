// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace millet {

/// Forms of a report: Markdown for pages, CSV with one row a case for programs, aligned columns for a terminal.
enum class ReportFormat { markdown, csv, terminal };

/// A table of text cells.
struct TextGrid {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  ///< each as long as the header
  std::size_t left_columns = 1;                ///< this many columns are left-aligned, the others right-aligned
};

/// A pipe table whose source is aligned too; pipes in cells are escaped, line breaks become spaces.
[[nodiscard]] std::string to_markdown(const TextGrid& grid);

/// RFC 4180 with \n line ends: cells with commas, quotes or line breaks are quoted. A cell that a spreadsheet would
/// take for a formula (= + - @ before something that is no number) gets a leading apostrophe.
[[nodiscard]] std::string to_csv(const TextGrid& grid);

/// Columns padded with spaces, two between columns.
[[nodiscard]] std::string to_terminal(const TextGrid& grid);

}  // namespace millet
