// SPDX-License-Identifier: Apache-2.0
#include "millet/report/text_grid.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "millet/report/markup.hpp"

namespace millet {

namespace {

// Columns that `text` takes on a screen: code points, which is right for the characters that reports use.
std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  return text;
}

std::string markdown_cell(const std::string& text) {
  std::string escaped;
  for (const char c : one_line(text)) {
    if (c == '|') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

bool is_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string csv_cell(const std::string& text) {
  std::string cell = text;
  if (!cell.empty() && std::string_view("=+-@").find(cell.front()) != std::string_view::npos && !is_number(cell)) {
    cell.insert(0, 1, '\'');
  }
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string quoted = "\"";
  for (const char c : cell) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

template <class CellForm>
TextGrid with_cells(const TextGrid& grid, CellForm form) {
  TextGrid result = grid;
  for (std::string& cell : result.header) cell = form(cell);
  for (auto& row : result.rows) {
    for (std::string& cell : row) cell = form(cell);
  }
  return result;
}

std::vector<std::size_t> column_widths(const TextGrid& grid, std::size_t least) {
  std::vector<std::size_t> widths(grid.header.size(), least);
  const auto widen = [&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  };
  widen(grid.header);
  for (const auto& row : grid.rows) widen(row);
  return widths;
}

std::string padded(const std::string& cell, std::size_t width, bool left) {
  const std::string space(width - display_width(cell), ' ');
  return left ? cell + space : space + cell;
}

}  // namespace

std::string to_markdown(const TextGrid& grid) {
  const TextGrid cells = with_cells(grid, markdown_cell);
  const std::vector<std::size_t> widths = column_widths(cells, 3);
  std::string text;
  const auto add = [&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += fmt::format("| {} ", padded(row[i], widths[i], i < cells.left_columns));
    }
    text += "|\n";
  };
  add(cells.header);
  for (std::size_t i = 0; i < widths.size(); ++i) {
    text += i < cells.left_columns ? fmt::format("| {} ", std::string(widths[i], '-'))
                                   : fmt::format("| {}: ", std::string(widths[i] - 1, '-'));
  }
  text += "|\n";
  for (const auto& row : cells.rows) add(row);
  return text;
}

std::string to_csv(const TextGrid& grid) {
  std::string text;
  const auto add = [&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i != 0) text += ',';
      text += csv_cell(row[i]);
    }
    text += '\n';
  };
  add(grid.header);
  for (const auto& row : grid.rows) add(row);
  return text;
}

std::string to_html(const TextGrid& grid, std::string_view caption, const CellShades& shades) {
  std::string text = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"group\" "
      "aria-label=\"{0}\"><table{1}>\n<caption><b>{0}</b></caption>\n<thead><tr>",
      escape_markup(caption), shades.empty() ? "" : " class=\"heat\"");
  for (std::size_t i = 0; i < grid.header.size(); ++i) {
    text += fmt::format("<th scope=\"col\"{}>{}</th>", i < grid.left_columns ? " class=\"left\"" : "",
                        escape_markup(grid.header[i]));
  }
  text += "</tr></thead>\n<tbody>\n";
  constexpr std::size_t longest_unbroken = 44;
  for (std::size_t row = 0; row < grid.rows.size(); ++row) {
    text += "<tr>";
    for (std::size_t i = 0; i < grid.rows[row].size(); ++i) {
      const std::string& cell = grid.rows[row][i];
      if (i == 0) {
        text += fmt::format("<th scope=\"row\" class=\"left\">{}</th>", escape_markup(cell));
        continue;
      }
      const auto shade = shades.find({row, i});
      std::string css = i < grid.left_columns ? "left" : "";
      if (display_width(cell) > longest_unbroken) css += css.empty() ? "long" : " long";
      std::string style;
      std::string aside;
      if (shade != shades.end()) {
        const double weight = std::clamp(shade->second.weight, -1.0, 1.0);
        if (weight != 0) {
          css += fmt::format("{}{}", css.empty() ? "" : " ", weight > 0 ? "up" : "down");
          style = fmt::format(" style=\"--h:{:.2f}\"", std::abs(weight));
        }
        if (!shade->second.aside.empty()) aside = fmt::format("<small>{}</small>", escape_markup(shade->second.aside));
      }
      text += fmt::format("<td{}{}>{}{}</td>", css.empty() ? "" : fmt::format(" class=\"{}\"", css), style,
                          escape_markup(cell), aside);
    }
    text += "</tr>\n";
  }
  return text + "</tbody>\n</table></div>\n";
}

std::string to_terminal(const TextGrid& grid) {
  const TextGrid cells = with_cells(grid, one_line);
  const std::vector<std::size_t> widths = column_widths(cells, 1);
  std::string text;
  const auto add = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i != 0) line += "  ";
      line += padded(row[i], widths[i], i < cells.left_columns);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  };
  add(cells.header);
  for (const auto& row : cells.rows) add(row);
  return text;
}

}  // namespace millet
