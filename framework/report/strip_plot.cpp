// SPDX-License-Identifier: Apache-2.0
#include "millet/report/strip_plot.hpp"

#include <algorithm>

#include "millet/measure/statistics.hpp"
#include "millet/report/log_scale.hpp"
#include "millet/report/markup.hpp"
#include "millet/report/picture.hpp"

namespace millet {

namespace {

constexpr double width = 960;
constexpr double left = 76;
constexpr double right = width - 20;
constexpr double top = 52;
constexpr double bottom = 420;

bool is_drawable(double value) { return value > 0 && value <= 1e30; }

// The different texts that `text_of` gives, in order of appearance.
template <class TextOf>
std::vector<std::string> distinct(const std::vector<Strip>& strips, TextOf text_of) {
  std::vector<std::string> texts;
  for (const Strip& strip : strips) {
    if (std::find(texts.begin(), texts.end(), text_of(strip)) == texts.end()) texts.push_back(text_of(strip));
  }
  return texts;
}

std::size_t index_in(const std::vector<std::string>& texts, const std::string& text) {
  return static_cast<std::size_t>(std::find(texts.begin(), texts.end(), text) - texts.begin());
}

}  // namespace

std::string strip_svg(const StripPlot& plot, const std::string& id) {
  const auto groups = distinct(plot.strips, [](const Strip& s) { return s.group; });
  const auto series = distinct(plot.strips, [](const Strip& s) { return s.series; });
  double least = 0;
  double most = 0;
  std::size_t count = 0;
  for (const Strip& strip : plot.strips) {
    for (const StripValue& value : strip.values) {
      if (!is_drawable(value.value)) continue;
      least = count == 0 ? value.value : std::min(least, value.value);
      most = std::max(most, value.value);
      ++count;
    }
  }
  if (count == 0) return "";
  const LogScale y{least / 1.25, most * 1.25, bottom, top};
  const double group_width = (right - left) / static_cast<double>(groups.size());
  const double strip_width = group_width / (static_cast<double>(series.size()) + 1);

  std::string body;
  for (const double value : ticks(y)) {
    body += fmt::format("<line class=\"grid\" x1=\"{1}\" x2=\"{2}\" y1=\"{0:.1f}\" y2=\"{0:.1f}\"/>", y(value), left,
                        right);
    body += picture_text(left - 8, y(value) + 4, fmt::format("{:g}", value), "end", "soft");
  }
  body += fmt::format("<text transform=\"translate(16 {:.1f})rotate(-90)\" text-anchor=\"middle\">{}</text>",
                      0.5 * (top + bottom), escape_markup(plot.axis));
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const double x = left + group_width * static_cast<double>(i);
    if (i > 0)
      body += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>", x, top, bottom);
    body += picture_text(x + 0.5 * group_width, bottom + 22, groups[i], "middle", "");
  }
  std::string marks;
  for (const Strip& strip : plot.strips) {
    const std::size_t of_series = index_in(series, strip.series);
    const double x = left + group_width * static_cast<double>(index_in(groups, strip.group)) +
                     strip_width * (static_cast<double>(of_series) + 1);
    std::vector<double> values;
    for (std::size_t i = 0; i < strip.values.size(); ++i) {
      const StripValue& value = strip.values[i];
      if (!is_drawable(value.value)) continue;
      values.push_back(value.value);
      // Beside each other in turn, so that equal values do not hide each other.
      const double aside = strip_width * 0.11 * (static_cast<double>(i % 5) - 2);
      marks += picture_mark(x + aside, y(value.value), of_series, false, value.label);
    }
    if (values.empty()) continue;
    const double mean = y(geometric_mean(values));
    marks += fmt::format("<line class=\"mean\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>",
                         x - 0.42 * strip_width, x + 0.42 * strip_width, mean, mean);
  }
  LegendRows legend(left, right, bottom + 54);
  for (std::size_t i = 0; i < series.size(); ++i) legend.add_mark(i, false, shortened(series[i], 60));
  legend.add_line("class=\"mean\"", "geometric mean");
  const double height = legend.bottom() + 12;
  return fmt::format(
             "<svg class=\"picture\" viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\" aria-labelledby=\"{2}-title "
             "{2}-desc\"><title id=\"{2}-title\">{3}</title><desc id=\"{2}-desc\">{4} values of {5} in {6} groups: "
             "{7}; "
             "the vertical axis is logarithmic. The tables hold every number.</desc>"
             "<rect class=\"paper\" width=\"{0:.0f}\" height=\"{1:.0f}\"/>"
             "<text x=\"{8}\" y=\"28\" font-size=\"17\" font-weight=\"600\">{9}</text>"
             "<rect class=\"frame\" x=\"{8}\" y=\"{10}\" width=\"{11}\" height=\"{12}\"/>",
             width, height, id, escape_markup(plot.title), count,
             escape_markup(fmt::format("{}", fmt::join(series, ", "))), groups.size(),
             escape_markup(fmt::format("{}", fmt::join(groups, ", "))), left, escape_markup(shortened(plot.title, 88)),
             top, right - left, bottom - top) +
         body + "<g>" + marks + "</g>" + legend.svg() + "</svg>\n";
}

}  // namespace millet
