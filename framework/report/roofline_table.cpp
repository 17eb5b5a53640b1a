// SPDX-License-Identifier: Apache-2.0
#include "millet/report/roofline_table.hpp"

#include <fmt/format.h>

#include "millet/measure/statistics.hpp"
#include "millet/report/page.hpp"
#include "millet/report/setup.hpp"

namespace millet {

namespace {

struct Point {
  const Record* record;
  double intensity = 0;  ///< operations a byte
  bool memory_bound = true;
  double pct_of_roof = 0;  ///< 0 without a time or a roof

  explicit Point(const Record& r)
      : record(&r),
        intensity(Work{r.work.bytes, r.work.flops}.intensity()),
        // bytes / read >= flops / fma, without a division by a missing roof
        memory_bound(r.work.bytes * r.roof.fma_flops_per_second >= r.work.flops * r.roof.read_bytes_per_second),
        pct_of_roof(r.timed() ? 100.0 * r.roof.lower_bound_ns / r.result.median_ns : 0.0) {}

  [[nodiscard]] bool has_roofs() const noexcept {
    return record->roof.read_bytes_per_second > 0 && record->roof.fma_flops_per_second > 0;
  }
  [[nodiscard]] std::string bound() const { return !has_roofs() ? "unknown" : memory_bound ? "memory" : "compute"; }
};

TextGrid raw_grid(const std::vector<Setup>& setups) {
  TextGrid grid;
  grid.header = {"label",
                 "operation",
                 "m",
                 "n",
                 "k",
                 "experts",
                 "slots",
                 "backend",
                 "kernel",
                 "device",
                 "threads",
                 "protocol",
                 "cache",
                 "evidence",
                 "bytes",
                 "flops",
                 "intensity",
                 "bound",
                 "read_bytes_per_second",
                 "fma_flops_per_second",
                 "roof_source",
                 "lower_bound_ns",
                 "median_ns",
                 "pct_of_roof",
                 "above_roof",
                 "case_id"};
  for (const Setup& setup : setups) {
    for (const Record* record : setup.records) {
      const Record& r = *record;
      const RecordCase& c = r.subject;
      const Point point(r);
      const auto number = [](double value) { return fmt::format("{}", value); };
      grid.rows.push_back({c.label,
                           c.operation,
                           std::to_string(c.m),
                           std::to_string(c.n),
                           std::to_string(c.k),
                           std::to_string(c.experts),
                           std::to_string(c.slots),
                           c.backend,
                           c.kernel,
                           r.env.device,
                           std::to_string(c.threads),
                           c.protocol,
                           r.cache.mode,
                           std::string(to_string(r.evidence)),
                           number(r.work.bytes),
                           number(r.work.flops),
                           number(point.intensity),
                           point.bound(),
                           number(r.roof.read_bytes_per_second),
                           number(r.roof.fma_flops_per_second),
                           r.roof.source,
                           number(r.roof.lower_bound_ns),
                           r.timed() ? number(r.result.median_ns) : "",
                           r.timed() && point.has_roofs() ? number(point.pct_of_roof) : "",
                           r.roof.above_roof ? "yes" : "no",
                           r.case_id});
    }
  }
  return grid;
}

}  // namespace

void add_roofline_table(ReportPage& page, const Setup& setup) {
  TextGrid grid;
  grid.header = {"case", "kernel", "MB", "MFLOP", "FLOP/B", "bound by", "least us", "median us", "% of roof"};
  grid.left_columns = 2;
  std::vector<std::string> notes;
  std::vector<double> pcts;
  for (const Record* record : setup.records) {
    const Record& r = *record;
    const Point point(r);
    const std::string no_time = r.wrong() ? "wrong" : "not run";
    grid.rows.push_back({shape_name(r.subject), r.subject.kernel, fmt::format("{:.2f}", r.work.bytes * 1e-6),
                         fmt::format("{:.1f}", r.work.flops * 1e-6), fmt::format("{:.2f}", point.intensity),
                         point.bound(), point.has_roofs() ? format_us(r.roof.lower_bound_ns) : "no roof",
                         r.timed() ? format_us(r.result.median_ns) : no_time,
                         !r.timed() ? "-"
                         : !point.has_roofs()
                             ? "no roof"
                             : fmt::format("{:.1f}{}", point.pct_of_roof, r.roof.above_roof ? " (!)" : "")});
    if (r.timed() && point.has_roofs()) pcts.push_back(point.pct_of_roof);
    if (r.timed() && r.roof.above_roof) {
      notes.push_back(fmt::format("{}: {}, {}: {:.1f} % of the roof; {}", r.cache.mode == "hot" ? "note" : "ERROR",
                                  shape_name(r.subject), r.subject.kernel, point.pct_of_roof, above_roof_text(r)));
    }
  }
  page.table(pcts.empty()
                 ? "Roofline"
                 : fmt::format("Roofline; {} timed points at {:.1f} % of the roof in the geometric mean, {} above it",
                               pcts.size(), geometric_mean(pcts), notes.size()),
             grid);
  if (!notes.empty()) page.lines(notes);
}

std::string roofline_report(std::span<const Record> records, ReportFormat format) {
  const std::vector<Setup> setups = group_by_setup(records);
  if (format == ReportFormat::csv) return to_csv(raw_grid(setups));
  ReportPage page(format);
  for (const Setup& setup : setups) {
    page.heading(setup_heading(setup));
    page.lines(setup_facts(setup));
    add_roofline_table(page, setup);
  }
  return std::move(page).text();
}

}  // namespace millet
