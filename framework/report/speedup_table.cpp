// SPDX-License-Identifier: Apache-2.0
#include "millet/report/speedup_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>

#include "millet/measure/statistics.hpp"
#include "millet/report/page.hpp"
#include "millet/report/setup.hpp"

namespace millet {

namespace {

/// The records of one shape and one M, best first.
using Cell = std::vector<const Record*>;

// What tells rows apart, in the order in which the columns show it.
auto row_key(const RecordCase& c) {
  return std::make_tuple(c.label, c.experts, c.m > 0 ? c.slots / c.m : 0, c.k, c.n, c.a_div, c.weighted, c.epilogue);
}

// Correct and timed before wrong before not run; the fastest first.
bool better(const Record* x, const Record* y) {
  const auto rank = [](const Record& r) { return r.timed() ? 0 : r.wrong() ? 1 : 2; };
  if (rank(*x) != rank(*y)) return rank(*x) < rank(*y);
  return x->timed() && x->result.median_ns < y->result.median_ns;
}

const RecordBaseline* find_baseline(const Record& record, std::string_view name) {
  for (const RecordBaseline& baseline : record.baselines) {
    if (baseline.name == name && baseline.n > 0) return &baseline;
  }
  return nullptr;
}

// A ratio, and whether it could as well be 1.
struct Ratio {
  double value = 0;
  double low = 0;   ///< with both medians at the unfavourable ends of their intervals
  double high = 0;  ///< 0 if unbounded
  [[nodiscard]] bool unclear() const noexcept { return low <= 1 && (high >= 1 || high == 0); }
};

// Only between two measured numbers of one run.
std::optional<Ratio> speedup_over(const Record& r, std::string_view baseline_name) {
  const RecordBaseline* baseline = find_baseline(r, baseline_name);
  if (baseline == nullptr || !r.timed() || r.evidence != Evidence::measured) return std::nullopt;
  return Ratio{baseline->median_ns / r.result.median_ns, baseline->ci95_lo_ns / r.result.ci95_hi_ns,
               r.result.ci95_lo_ns > 0 ? baseline->ci95_hi_ns / r.result.ci95_lo_ns : 0.0};
}

/// One set-up as rows of shapes and columns of M.
class ShapeTable {
 public:
  explicit ShapeTable(const Setup& setup) : grouped_(setup.records.front()->subject.operation == "grouped") {
    for (const Record* record : setup.records) {
      ms_.push_back(record->subject.m);
      auto row = std::find_if(rows_.begin(), rows_.end(),
                              [&](const Row& r) { return row_key(*r.subject) == row_key(record->subject); });
      if (row == rows_.end()) row = rows_.insert(rows_.end(), Row{&record->subject, {}});
      row->cells[record->subject.m].push_back(record);
    }
    std::sort(ms_.begin(), ms_.end());
    ms_.erase(std::unique(ms_.begin(), ms_.end()), ms_.end());
    for (Row& row : rows_) {
      for (auto& [m, cell] : row.cells) {
        std::stable_sort(cell.begin(), cell.end(), better);
        for (const Record* record : cell) add_notes(*record);
      }
    }
  }

  /// A table of text_of(record) for the best record of each cell.
  template <class TextOf>
  [[nodiscard]] TextGrid grid(TextOf text_of, const char* without_record = "not run") const {
    TextGrid grid = empty_grid();
    for (const Row& row : rows_) {
      std::vector<std::string> cells = row_start(*row.subject);
      for (const Index m : ms_) {
        const auto cell = row.cells.find(m);
        cells.push_back(cell == row.cells.end() ? without_record : text_of(*cell->second.front()));
      }
      grid.rows.push_back(std::move(cells));
    }
    return grid;
  }

  /// The same for ratios, with geometric means; ratio_of gives nothing where text_of says why.
  template <class RatioOf, class TextOf>
  [[nodiscard]] TextGrid ratio_grid(RatioOf ratio_of, TextOf text_of, const char* without_record = "not run") const {
    TextGrid grid = this->grid(text_of, without_record);
    std::vector<std::vector<double>> columns(ms_.size());
    std::vector<double> all;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      std::vector<double> of_row;
      for (std::size_t j = 0; j < ms_.size(); ++j) {
        const auto cell = rows_[i].cells.find(ms_[j]);
        if (cell == rows_[i].cells.end()) continue;
        const std::optional<double> ratio = ratio_of(*cell->second.front());
        if (!ratio) continue;
        of_row.push_back(*ratio);
        columns[j].push_back(*ratio);
        all.push_back(*ratio);
      }
      grid.rows[i].push_back(mean_text(of_row, ms_.size()));
    }
    grid.header.emplace_back("geomean");
    std::vector<std::string> last(grid.left_columns + extent_columns());
    last.front() = "geomean";
    for (const auto& column : columns) last.push_back(mean_text(column, rows_.size()));
    last.push_back(mean_text(all, rows_.size() * ms_.size()));
    grid.rows.push_back(std::move(last));
    return grid;
  }

  /// shade_of(record) for the best record of each cell.
  template <class ShadeOf>
  [[nodiscard]] CellShades shades(ShadeOf shade_of) const {
    CellShades shades;
    const std::size_t first = 1 + extent_columns();
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      for (std::size_t j = 0; j < ms_.size(); ++j) {
        const auto cell = rows_[i].cells.find(ms_[j]);
        if (cell != rows_[i].cells.end()) shades[{i, first + j}] = shade_of(*cell->second.front());
      }
    }
    return shades;
  }

  /// The footnote mark of a record, such as " [2]", or "".
  [[nodiscard]] std::string mark(const Record& record) const {
    const auto number = note_numbers_.find(&record);
    return number == note_numbers_.end() ? "" : fmt::format(" [{}]", number->second);
  }

  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

 private:
  struct Row {
    const RecordCase* subject;
    std::map<Index, Cell> cells;
  };

  void add_notes(const Record& record) {
    const std::vector<std::string> texts = remarks(record);
    if (texts.empty()) return;
    const std::string kernel = record.subject.kernel.empty() ? "" : ", " + record.subject.kernel;
    const std::string policy = record.subject.policy.empty() ? "" : " " + record.subject.policy;
    notes_.push_back(fmt::format("[{}] {}{}{} ({}): {}", notes_.size() + 1, shape_name(record.subject), kernel, policy,
                                 to_string(record.evidence), fmt::join(texts, "; ")));
    note_numbers_.emplace(&record, notes_.size());
  }

  [[nodiscard]] std::size_t extent_columns() const noexcept { return grouped_ ? 4 : 2; }

  [[nodiscard]] TextGrid empty_grid() const {
    TextGrid grid;
    grid.header = grouped_ ? std::vector<std::string>{"layer", "E", "top_k", "K", "N"}
                           : std::vector<std::string>{"projection", "K", "N"};
    for (const Index m : ms_) grid.header.push_back(fmt::format("M={}", m));
    return grid;
  }

  [[nodiscard]] std::vector<std::string> row_start(const RecordCase& c) const {
    std::string label = c.weighted ? c.label + " (weighted)" : c.label;
    if (c.epilogue) label += " " + *c.epilogue;
    if (!grouped_) return {label, std::to_string(c.k), std::to_string(c.n)};
    return {label, std::to_string(c.experts), std::to_string(c.slots / c.m), std::to_string(c.k), std::to_string(c.n)};
  }

  static std::string mean_text(const std::vector<double>& ratios, std::size_t wanted) {
    if (ratios.empty()) return "-";
    const std::string mean = fmt::format("{:.2f}", geometric_mean(ratios));
    return ratios.size() == wanted ? mean : fmt::format("{} ({} of {})", mean, ratios.size(), wanted);
  }

  bool grouped_;
  std::vector<Index> ms_;
  std::vector<Row> rows_;
  std::vector<std::string> notes_;
  std::map<const Record*, std::size_t> note_numbers_;
};

// Why a record has no time, or nothing if it has one.
std::string no_time(const Record& r) { return r.timed() ? "" : r.wrong() ? "wrong" : "not run"; }

// The widest and the usual uncertainty of the medians of a set-up.
std::string spread_text(const Setup& setup) {
  std::vector<double> spreads;
  for (const Record* r : setup.records) {
    if (r->timed()) spreads.push_back(50.0 * (r->result.ci95_hi_ns - r->result.ci95_lo_ns) / r->result.median_ns);
  }
  if (spreads.empty()) return "";
  return fmt::format(" (95 % confidence: +-{:.1f} % in the middle, +-{:.1f} % at worst)", summarize(spreads).median,
                     *std::max_element(spreads.begin(), spreads.end()));
}

void add_speedups(ReportPage& page, const Setup& setup, const ShapeTable& shapes) {
  std::vector<std::pair<std::string, std::string>> baselines;  // name and role, in order of appearance
  for (const Record* record : setup.records) {
    for (const RecordBaseline& b : record->baselines) {
      const auto known = [&](const auto& pair) { return pair.first == b.name; };
      if (std::none_of(baselines.begin(), baselines.end(), known)) baselines.emplace_back(b.name, b.role);
    }
  }
  if (page.html() && baselines.empty()) {
    page.lines(
        {"No baseline was timed in this run, so it has no speedup: one is shown only between two times of one run "
         "on one device (millet run --baseline)."});
  }
  for (const auto& [name, role] : baselines) {
    const std::string& baseline = name;
    const auto ratio = [&](const Record& r) -> std::optional<double> {
      const auto speedup = speedup_over(r, baseline);
      return speedup ? std::optional(speedup->value) : std::nullopt;
    };
    const auto text = [&](const Record& r) -> std::string {
      if (const auto speedup = speedup_over(r, baseline))
        return fmt::format("{}{:.2f}", speedup->unclear() ? "~" : "", speedup->value);
      if (!r.timed()) return no_time(r);
      return r.evidence == Evidence::measured ? "no baseline" : std::string(to_string(r.evidence));
    };
    // A factor of four has the full colour.
    const CellShades shades = shapes.shades([&](const Record& r) {
      const auto speedup = speedup_over(r, baseline);
      return CellShade{speedup ? std::log2(speedup->value) / 2 : 0.0,
                       r.published ? fmt::format("published {:.2f}", r.published->speedup) : ""};
    });
    const bool published = page.html() && std::any_of(setup.records.begin(), setup.records.end(),
                                                      [](const Record* r) { return r->published.has_value(); });
    const std::string title =
        role == "floor" ? fmt::format("Time of {}, which does less than the work, over the time of a call", name)
                        : fmt::format("Speedup over {} ({} baseline)", name, role);
    page.table(fmt::format("{}, both measured in the same run; ~ could be 1.00{}", title,
                           published ? "; small: published figures, of another machine, see below" : ""),
               shapes.ratio_grid(ratio, text), shades);
  }
}

void add_published(ReportPage& page, const Setup& setup, const ShapeTable& shapes) {
  using Origin = std::tuple<std::string, std::string, std::string>;  // device, baseline, source
  const auto origin_of = [](const RecordPublished& p) { return Origin(p.device, p.baseline, p.source); };
  std::vector<Origin> origins;
  for (const Record* r : setup.records) {
    if (!r->published) continue;
    if (const Origin origin = origin_of(*r->published);
        std::find(origins.begin(), origins.end(), origin) == origins.end()) {
      origins.push_back(origin);
    }
  }
  for (const Origin& origin : origins) {
    const auto ratio = [&](const Record& r) -> std::optional<double> {
      return r.published && origin_of(*r.published) == origin ? std::optional(r.published->speedup) : std::nullopt;
    };
    const auto text = [&](const Record& r) -> std::string {
      const auto speedup = ratio(r);
      if (!speedup) return "-";
      return fmt::format("{}{:.2f}", r.published->note.empty() ? "" : "~", *speedup);
    };
    const auto& [device, baseline, source] = origin;
    page.table(fmt::format("Published, not measured here: speedup over {} on {}, from {}; ~ has a note below", baseline,
                           device, source),
               shapes.ratio_grid(ratio, text, "-"));
    std::vector<std::string> notes;
    for (const Record* r : setup.records) {
      if (ratio(*r) && !r->published->note.empty()) {
        notes.push_back(fmt::format("published, {}: {}", shape_name(r->subject), r->published->note));
      }
    }
    if (!notes.empty()) page.lines(notes);
  }
}

std::string number(double value) { return fmt::format("{}", value); }
std::string positive(double value) { return value > 0 ? number(value) : ""; }

// One row a record and baseline.
TextGrid long_grid(const std::vector<Setup>& setups) {
  TextGrid grid;
  grid.header = {"preset",
                 "label",
                 "tp",
                 "operation",
                 "m",
                 "n",
                 "k",
                 "experts",
                 "slots",
                 "a_div",
                 "weighted",
                 "epilogue",
                 "activation",
                 "output",
                 "scale_mode",
                 "backend",
                 "kernel",
                 "policy",
                 "chosen",
                 "device",
                 "execution_space",
                 "threads",
                 "protocol",
                 "timer",
                 "cache",
                 "evidence",
                 "check",
                 "error_over_bound",
                 "samples",
                 "median_us",
                 "ci95_lo_us",
                 "ci95_hi_us",
                 "min_us",
                 "bytes",
                 "flops",
                 "pct_of_read",
                 "pct_of_fma",
                 "lower_bound_us",
                 "above_roof",
                 "baseline",
                 "baseline_role",
                 "baseline_us",
                 "speedup",
                 "speedup_lo",
                 "speedup_hi",
                 "published_speedup",
                 "published_device",
                 "published_baseline",
                 "published_source",
                 "remarks",
                 "case_id",
                 "build_id",
                 "git",
                 "start",
                 "host"};
  for (const Setup& setup : setups) {
    for (const Record* record : setup.records) {
      const Record& r = *record;
      const RecordCase& c = r.subject;
      const auto us = [&](double ns) { return r.timed() ? number(ns * 1e-3) : ""; };
      std::vector<const RecordBaseline*> baselines;
      for (const RecordBaseline& baseline : r.baselines) baselines.push_back(&baseline);
      if (baselines.empty()) baselines.push_back(nullptr);
      for (const RecordBaseline* b : baselines) {
        const Ratio speedup = b != nullptr ? speedup_over(r, b->name).value_or(Ratio{}) : Ratio{};
        grid.rows.push_back({c.preset,
                             c.label,
                             std::to_string(c.tp),
                             c.operation,
                             std::to_string(c.m),
                             std::to_string(c.n),
                             std::to_string(c.k),
                             std::to_string(c.experts),
                             std::to_string(c.slots),
                             std::to_string(c.a_div),
                             c.weighted ? "yes" : "no",
                             c.epilogue.value_or("none"),
                             c.activation,
                             c.output,
                             c.scale_mode,
                             c.backend,
                             c.kernel,
                             c.policy,
                             c.chosen,
                             r.env.device,
                             c.execution_space,
                             std::to_string(c.threads),
                             c.protocol,
                             r.clock.source,
                             r.cache.mode,
                             std::string(to_string(r.evidence)),
                             r.verify.mode == "none" ? "not checked"
                             : r.verify.correct      ? "correct"
                                                     : "wrong",
                             r.verify.mode == "none" ? "" : number(r.verify.max_ratio),
                             std::to_string(r.result.n),
                             us(r.result.median_ns),
                             us(r.result.ci95_lo_ns),
                             us(r.result.ci95_hi_ns),
                             us(r.result.min_ns),
                             number(r.work.bytes),
                             number(r.work.flops),
                             r.timed() ? number(r.roof.pct_of_read) : "",
                             r.timed() ? number(r.roof.pct_of_fma) : "",
                             number(r.roof.lower_bound_ns * 1e-3),
                             r.roof.above_roof ? "yes" : "no",
                             b != nullptr ? b->name : "",
                             b != nullptr ? b->role : "",
                             b != nullptr ? number(b->median_ns * 1e-3) : "",
                             positive(speedup.value),
                             positive(speedup.low),
                             positive(speedup.high),
                             r.published ? number(r.published->speedup) : "",
                             r.published ? r.published->device : "",
                             r.published ? r.published->baseline : "",
                             r.published ? r.published->source : "",
                             fmt::format("{}", fmt::join(remarks(r), "; ")),
                             r.case_id,
                             r.build_id,
                             r.build.git + (r.build.dirty ? " (dirty)" : ""),
                             r.run.start,
                             r.run.host_hash});
      }
    }
  }
  return grid;
}

}  // namespace

void add_speedup_tables(ReportPage& page, const Setup& setup) {
  const ShapeTable shapes(setup);
  page.table("Median time of a call, us" + spread_text(setup), shapes.grid([&](const Record& r) {
    return (r.timed() ? format_us(r.result.median_ns) : no_time(r)) + shapes.mark(r);
  }));
  page.table("% of this machine's measured read rate, scales counted", shapes.grid([&](const Record& r) -> std::string {
    if (!r.timed()) return no_time(r);
    if (r.roof.read_bytes_per_second <= 0) return "no roof";
    return fmt::format("{:.1f}{}", r.roof.pct_of_read, r.roof.above_roof ? " (!)" : "");
  }),
             shapes.shades([](const Record& r) {
               return CellShade{!r.timed() ? 0.0 : r.roof.above_roof ? -1.0 : r.roof.pct_of_read / 100, ""};
             }));
  add_speedups(page, setup, shapes);
  add_published(page, setup, shapes);
  page.table("Largest error over its bound, against the f64 reference; correct up to 1",
             shapes.grid([](const Record& r) -> std::string {
               if (r.verify.mode == "none") return "not checked";
               return fmt::format("{:.3g}{}", r.verify.max_ratio, r.verify.correct ? "" : " WRONG");
             }),
             shapes.shades([](const Record& r) {
               return CellShade{r.wrong() ? -1.0 : 0.0, ""};
             }));
  if (!shapes.notes().empty()) page.lines(shapes.notes());
}

std::string speedup_report(std::span<const Record> records, ReportFormat format) {
  const std::vector<Setup> setups = group_by_setup(records);
  if (format == ReportFormat::csv) return to_csv(long_grid(setups));
  ReportPage page(format);
  for (const Setup& setup : setups) {
    page.heading(setup_heading(setup));
    page.lines(setup_facts(setup));
    add_speedup_tables(page, setup);
  }
  return std::move(page).text();
}

}  // namespace millet
