// SPDX-License-Identifier: Apache-2.0
#include "millet/report/picture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "millet/report/markup.hpp"

namespace millet {

namespace {

constexpr double row_height = 24;

// An upper estimate of the width of 13 px text; a legend has room to spare.
double text_width(std::string_view text) {
  const auto characters = std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
  return 8.2 * static_cast<double>(characters);
}

// Outlines of about equal area around (0, 0).
constexpr std::array<std::string_view, 8> outlines{
    "M-5.5 0A5.5 5.5 0 1 1 5.5 0A5.5 5.5 0 1 1 -5.5 0Z",
    "M-4.9-4.9H4.9V4.9H-4.9Z",
    "M0-7L7 0L0 7L-7 0Z",
    "M0-6.8L6.4 4.8H-6.4Z",
    "M0 6.8L6.4-4.8H-6.4Z",
    "M-2-6.4H2V-2H6.4V2H2V6.4H-2V2H-6.4V-2H-2Z",
    "M-3-5.8H3L6.2 0L3 5.8H-3L-6.2 0Z",
    "M0-6.6L6.3-2L3.9 5.4H-3.9L-6.3-2Z",
};

}  // namespace

std::string picture_text(double x, double y, std::string_view text, std::string_view anchor, std::string_view css) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>", x, y, anchor,
                     css.empty() ? "" : fmt::format(" class=\"{}\"", css), escape_markup(text));
}

std::string picture_mark(double x, double y, std::size_t series, bool flagged, std::string_view label) {
  const std::size_t form = series % outlines.size();
  return fmt::format("<path class=\"mark series{}{}\" transform=\"translate({:.1f} {:.1f})\" d=\"{}\">{}</path>", form,
                     flagged ? " flagged" : "", x, y, outlines[form],
                     label.empty() ? "" : fmt::format("<title>{}</title>", escape_markup(label)));
}

std::string_view dash_pattern(std::size_t index) {
  constexpr std::array<std::string_view, 4> patterns{"2 3", "7 4", "12 4 2 4", "16 5"};
  return patterns[index % patterns.size()];
}

double LegendRows::place(double width) {
  if (x_ > left_ && x_ + width > right_) next_row();
  const double x = x_;
  x_ += width + 18;
  return x;
}

void LegendRows::next_row() {
  if (x_ == left_) return;
  x_ = left_;
  y_ += row_height;
}

void LegendRows::add_line(std::string_view attributes, std::string_view text) {
  const double x = place(44 + text_width(text));
  svg_ += fmt::format("<path {} d=\"M{:.1f} {:.1f}h34\"/>", attributes, x, y_ - 4);
  svg_ += picture_text(x + 42, y_, text, "start", "");
}

void LegendRows::add_mark(std::size_t series, bool flagged, std::string_view text) {
  const double x = place(22 + text_width(text));
  // A sample is no mark: whoever counts the marks counts cases.
  std::string sample = picture_mark(x + 7, y_ - 4, series, flagged, "");
  sample.replace(sample.find("class=\"mark"), std::string_view("class=\"mark").size(), "class=\"sample mark");
  svg_ += sample + picture_text(x + 20, y_, text, "start", "");
}

}  // namespace millet
