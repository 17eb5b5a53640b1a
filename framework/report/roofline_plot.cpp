// SPDX-License-Identifier: Apache-2.0
#include "millet/report/roofline_plot.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <tuple>

#include "millet/measure/statistics.hpp"
#include "millet/report/log_scale.hpp"
#include "millet/report/markup.hpp"
#include "millet/report/picture.hpp"
#include "millet/report/setup.hpp"

namespace millet {

namespace {

constexpr double width = 960;
constexpr double left = 76;  // room for the labels of the axis
constexpr double right = width - 20;
constexpr double top = 52;
constexpr double bottom = 470;
constexpr double legend_top = bottom + 66;

std::string bytes_text(Index bytes) {
  if (bytes >= Index{1} << 20) return fmt::format("{:.3g} MiB", static_cast<double>(bytes) / 0x1p20);
  return fmt::format("{:.3g} KiB", static_cast<double>(bytes) / 0x1p10);
}

struct Axes {
  LogScale x, y;
};

Axes axes_of(const RooflinePlot& plot) {
  const double peak = plot.flops_per_second;
  double fastest = plot.memory.bytes_per_second;
  for (const MemoryRoof& level : plot.levels) fastest = std::max(fastest, level.bytes_per_second);
  // All ridges are in the picture.
  double least_x = peak / fastest;
  double most_x = peak / plot.memory.bytes_per_second;
  double least_y = peak;
  double most_y = peak;
  for (const RooflineMark& mark : plot.marks) {
    least_x = std::min(least_x, mark.intensity);
    most_x = std::max(most_x, mark.intensity);
    least_y = std::min(least_y, mark.flops_per_second);
    most_y = std::max(most_y, mark.flops_per_second);
  }
  least_x /= plot.marks.empty() ? 20 : 1.8;
  most_x *= plot.marks.empty() ? 10 : 1.8;
  least_y = std::min(least_y, plot.memory.bytes_per_second * least_x);
  return {{least_x, most_x, left, right}, {least_y / 1.8, most_y * 1.8, bottom, top}};
}

// A line from the left edge (or from where it enters from below) to the flat roof.
std::string memory_line(const Axes& axes, double rate, double peak, std::string_view attributes) {
  const double begin = std::max(axes.x.low, axes.y.low / rate);
  const double end = std::min(axes.x.high, peak / rate);
  if (end <= begin) return "";
  return fmt::format("<path {} d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>", attributes, axes.x(begin), axes.y(begin * rate),
                     axes.x(end), axes.y(end * rate));
}

std::string grid_lines(const Axes& axes) {
  std::string svg;
  for (const double value : ticks(axes.x)) {
    const double x = axes.x(value);
    svg += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>", x, top, bottom);
    svg += picture_text(x, bottom + 20, fmt::format("{:g}", value), "middle", "soft");
  }
  for (const double value : ticks(axes.y)) {
    const double y = axes.y(value);
    svg += fmt::format("<line class=\"grid\" x1=\"{1}\" x2=\"{2}\" y1=\"{0:.1f}\" y2=\"{0:.1f}\"/>", y, left, right);
    svg += picture_text(left - 8, y + 4, with_prefix(value), "end", "soft");
  }
  svg +=
      picture_text(0.5 * (left + right), bottom + 42, "operations a byte of compulsory traffic (FLOP/B)", "middle", "");
  svg += fmt::format("<text transform=\"translate(16 {:.1f})rotate(-90)\" text-anchor=\"middle\">FLOP/s</text>",
                     0.5 * (top + bottom));
  return svg;
}

// "M=8" over each column of marks, where there is room.
std::string column_labels(const RooflinePlot& plot, const Axes& axes) {
  std::map<Index, std::vector<double>> columns;
  for (const RooflineMark& mark : plot.marks) {
    if (mark.m > 0) columns[mark.m].push_back(mark.intensity);
  }
  std::string svg;
  double last = -1e9;
  for (const auto& [m, intensities] : columns) {
    const double x = axes.x(geometric_mean(intensities));
    if (x - last < 44) continue;
    last = x;
    svg += fmt::format("<line class=\"guide\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>", x, top, bottom);
    svg += picture_text(x, bottom - 8, fmt::format("M={}", m), "middle", "soft");
  }
  return svg;
}

std::string roof_lines(const RooflinePlot& plot, const Axes& axes) {
  std::string svg;
  double fastest = plot.memory.bytes_per_second;
  for (std::size_t i = 0; i < plot.levels.size(); ++i) {
    fastest = std::max(fastest, plot.levels[i].bytes_per_second);
    svg += memory_line(axes, plot.levels[i].bytes_per_second, plot.flops_per_second,
                       fmt::format("class=\"level\" stroke-dasharray=\"{}\"", dash_pattern(i)));
  }
  svg += memory_line(axes, plot.memory.bytes_per_second, plot.flops_per_second, "class=\"roof\"");
  const double peak_y = axes.y(plot.flops_per_second);
  svg += fmt::format("<path class=\"roof\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>",
                     std::max(left, axes.x(plot.flops_per_second / fastest)), peak_y, right, peak_y);
  svg += picture_text(right - 10, peak_y - 9, with_prefix(plot.flops_per_second) + "FLOP/s", "end", "");
  // The memory roof's rate stands on its line, left of the middle.
  const double rate = plot.memory.bytes_per_second;
  const double end = std::min(axes.x.high, plot.flops_per_second / rate);
  const double intensity = axes.x.low * std::pow(end / axes.x.low, 0.4);
  const double angle = std::atan2(axes.y(10 * axes.y.low) - axes.y(axes.y.low), axes.x(10 * axes.x.low) - axes.x.from) *
                       180 / std::numbers::pi;
  svg += fmt::format(
      "<text transform=\"translate({:.1f} {:.1f})rotate({:.1f})\" dy=\"-9\" text-anchor=\"middle\">{}B/s</text>",
      axes.x(intensity), axes.y(intensity * rate), angle, with_prefix(rate));
  return svg;
}

std::string legend(const RooflinePlot& plot, const std::vector<std::string>& series, double& y) {
  LegendRows rows(left, right, legend_top);
  rows.add_line("class=\"roof\"", fmt::format("{} {}B/s", plot.memory.name, with_prefix(plot.memory.bytes_per_second)));
  for (std::size_t i = 0; i < plot.levels.size(); ++i) {
    rows.add_line(fmt::format("class=\"level\" stroke-dasharray=\"{}\"", dash_pattern(i)),
                  fmt::format("{} {}B/s", plot.levels[i].name, with_prefix(plot.levels[i].bytes_per_second)));
  }
  rows.add_line("class=\"roof\"", fmt::format("peak {}FLOP/s", with_prefix(plot.flops_per_second)));
  rows.next_row();
  for (std::size_t i = 0; i < series.size(); ++i) {
    const auto count = std::count_if(plot.marks.begin(), plot.marks.end(),
                                     [&](const RooflineMark& mark) { return mark.series == series[i]; });
    rows.add_mark(i, false, fmt::format("{} ({})", shortened(series[i], 60), count));
  }
  if (std::any_of(plot.marks.begin(), plot.marks.end(), [](const RooflineMark& mark) { return mark.flagged; })) {
    rows.add_mark(0, true, "red border: flagged, see the notes");
  }
  y = rows.bottom();
  return rows.svg();
}

auto machine_key(const Record& r) {
  return std::tie(r.env.device, r.env.architecture, r.run.host_hash, r.subject.threads, r.subject.protocol);
}

// Records come from files: a rate that no machine has would make the axes endless.
bool is_drawable(double value) { return value >= 1e-9 && value <= 1e24; }

bool has_roofs(double bytes_per_second, double flops_per_second) {
  return is_drawable(bytes_per_second) && is_drawable(flops_per_second) &&
         is_drawable(flops_per_second / bytes_per_second);
}

void raise_level(RooflinePlot& plot, Index footprint_bytes, double bytes_per_second) {
  if (!is_drawable(bytes_per_second)) return;
  const std::string name = fmt::format("read, {}", bytes_text(footprint_bytes));
  const auto known =
      std::find_if(plot.levels.begin(), plot.levels.end(), [&](const MemoryRoof& level) { return level.name == name; });
  if (known == plot.levels.end()) {
    plot.levels.push_back({name, bytes_per_second});
  } else {
    known->bytes_per_second = std::max(known->bytes_per_second, bytes_per_second);
  }
}

void raise_roofs(RooflinePlot& plot, const RecordRoof& roof) {
  plot.memory.bytes_per_second = std::max(plot.memory.bytes_per_second, roof.read_bytes_per_second);
  plot.flops_per_second = std::max(plot.flops_per_second, roof.fma_flops_per_second);
  for (const RecordReadRate& rate : roof.read_by_level) raise_level(plot, rate.footprint_bytes, rate.bytes_per_second);
}

bool has_mark(const Record& r) {
  return r.timed() && has_roofs(r.roof.read_bytes_per_second, r.roof.fma_flops_per_second) &&
         is_drawable(r.work.flops / r.work.bytes) && is_drawable(r.work.flops / (r.result.median_ns * 1e-9));
}

RooflineMark mark_of(const Record& r) {
  const std::vector<std::string> texts = remarks(r);
  return {r.subject.kernel,
          fmt::format("{}, {}: {} us, {:.1f} % of the roof{}{}", shape_name(r.subject), r.subject.kernel,
                      format_us(r.result.median_ns), 100 * r.roof.lower_bound_ns / r.result.median_ns,
                      texts.empty() ? "" : "; ", fmt::join(texts, "; ")),
          r.work.flops / r.work.bytes,
          r.work.flops / (r.result.median_ns * 1e-9),
          r.subject.operation == "dense" ? r.subject.m : 0,
          is_doubtful(r)};
}

}  // namespace

std::vector<RooflinePlot> roofline_plots(std::span<const Record> records) {
  std::vector<RooflinePlot> plots;
  std::vector<const Record*> firsts;  // of each plot
  for (const Setup& setup : group_by_setup(records)) {
    for (const Record* record : setup.records) {
      const Record& r = *record;
      if (!has_mark(r)) continue;
      const auto known = std::find_if(firsts.begin(), firsts.end(),
                                      [&](const Record* first) { return machine_key(*first) == machine_key(r); });
      const auto at = static_cast<std::size_t>(known - firsts.begin());
      if (known == firsts.end()) {
        const Index threads = r.subject.threads;
        RooflinePlot plot;
        plot.title = fmt::format("Roofline of {}, {}{}, {}", r.env.device, r.env.architecture,
                                 threads == 0 ? "" : fmt::format(", {} thread{}", threads, threads == 1 ? "" : "s"),
                                 r.subject.protocol);
        plot.source = r.roof.source;
        firsts.push_back(&r);
        plots.push_back(std::move(plot));
      }
      raise_roofs(plots[at], r.roof);
      plots[at].marks.push_back(mark_of(r));
    }
  }
  return plots;
}

RooflinePlot roofline_plot(std::string title, const Ceilings& ceilings, std::span<const Record> records) {
  RooflinePlot plot;
  plot.title = std::move(title);
  plot.source = ceilings.source;
  plot.memory.bytes_per_second = ceilings.read_bytes_per_second;
  plot.flops_per_second = ceilings.fma_flops_per_second;
  for (const ReadRate& rate : ceilings.read_by_level) raise_level(plot, rate.footprint_bytes, rate.bytes_per_second);
  const bool protocols = std::any_of(records.begin(), records.end(), [&](const Record& r) {
    return r.subject.protocol != records.front().subject.protocol;
  });
  for (const Record& r : records) {
    if (!has_mark(r)) continue;
    plot.marks.push_back(mark_of(r));
    if (protocols) plot.marks.back().series += " " + r.subject.protocol;
  }
  return plot;
}

std::string roofline_svg(const RooflinePlot& plot, const std::string& id) {
  if (!has_roofs(plot.memory.bytes_per_second, plot.flops_per_second)) return "";
  const Axes axes = axes_of(plot);
  std::vector<std::string> series;
  for (const RooflineMark& mark : plot.marks) {
    if (std::find(series.begin(), series.end(), mark.series) == series.end()) series.push_back(mark.series);
  }
  std::string marks;
  std::string flagged;  // after the others, so that none hides them
  for (const RooflineMark& mark : plot.marks) {
    const auto index = static_cast<std::size_t>(std::find(series.begin(), series.end(), mark.series) - series.begin());
    (mark.flagged ? flagged : marks) +=
        picture_mark(axes.x(mark.intensity), axes.y(mark.flops_per_second), index, mark.flagged, mark.label);
  }
  double height = 0;
  const std::string legend_rows = legend(plot, series, height);
  height += 12;
  std::string svg = fmt::format(
      "<svg class=\"picture\" viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\" aria-labelledby=\"{2}-title {2}-desc\">"
      "<title id=\"{2}-title\">{3}</title><desc id=\"{2}-desc\">{4} marks of {5} kernels under measured roofs: {6} "
      "{7}B/s, peak {8}FLOP/s. Both axes are logarithmic. The roofline tables hold every number.</desc>"
      "<rect class=\"paper\" width=\"{0:.0f}\" height=\"{1:.0f}\"/>",
      width, height, id, escape_markup(plot.title), plot.marks.size(), series.size(), escape_markup(plot.memory.name),
      with_prefix(plot.memory.bytes_per_second), with_prefix(plot.flops_per_second));
  svg += fmt::format("<text x=\"{}\" y=\"28\" font-size=\"17\" font-weight=\"600\">{}</text>", left,
                     escape_markup(shortened(plot.title, 88)));
  svg += fmt::format("<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>", left, top, right - left,
                     bottom - top);
  svg += grid_lines(axes) + column_labels(plot, axes) + roof_lines(plot, axes) + "<g>" + marks + flagged + "</g>" +
         legend_rows;
  return svg + "</svg>\n";
}

}  // namespace millet
