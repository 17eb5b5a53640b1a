// SPDX-License-Identifier: Apache-2.0
#include "weights/weights_report.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include "millet/measure/statistics.hpp"
#include "millet/report/page.hpp"
#include "millet/report/setup.hpp"

namespace millet {

namespace {

std::string tag(const Record& record, const std::string& name) {
  const auto found = record.tags.find(name);
  return found == record.tags.end() ? "" : found->second;
}

// A fraction in a tag as percent, or "" where there is none.
std::string percent(const std::string& text, int decimals) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return "";
  return fmt::format("{:.{}f}", 100.0 * value, decimals);
}

/// One tensor of one file, with the records of some set-up or of all.
struct Layer {
  const Record* first;
  const Record* with_errors = nullptr;  // the last one that knows what the quantization cost
  std::map<Index, const Record*> of_m;  // the last one each
};

std::vector<Layer> layers_of(const std::vector<const Record*>& records) {
  std::vector<Layer> layers;
  std::map<std::pair<std::string, std::string>, std::size_t> known;
  for (const Record* record : records) {
    const auto [place, added] =
        known.try_emplace({tag(*record, weight_tag::file), tag(*record, weight_tag::tensor)}, layers.size());
    if (added) layers.push_back({record, nullptr, {}});
    Layer& layer = layers[place->second];
    layer.of_m[record->subject.m] = record;
    if (!tag(*record, weight_tag::relative_frobenius(ScaleMode::rceil)).empty()) layer.with_errors = record;
  }
  return layers;
}

bool is_stored_mx(const Record& record) { return record.subject.scale_mode == "stored"; }

// What stands where an error should: a pair has no original, another layer was not loaded.
std::string no_errors(const Layer& layer) { return is_stored_mx(*layer.first) ? "n/a" : "not run"; }

TextGrid quantization_grid(const std::vector<Layer>& layers) {
  TextGrid grid;
  grid.left_columns = 2;
  grid.header = {"layer", "type", "N", "K"};
  for (const ScaleMode mode : scale_modes) grid.header.emplace_back(to_string(mode));
  grid.header.emplace_back("saturated");
  for (const Layer& layer : layers) {
    const Record& r = *layer.first;
    std::vector<std::string> row{tag(r, weight_tag::tensor), tag(r, weight_tag::type), std::to_string(r.subject.n),
                                 std::to_string(r.subject.k)};
    std::string saturated;
    for (const ScaleMode mode : scale_modes) {
      if (layer.with_errors == nullptr) {
        row.push_back(no_errors(layer));
        continue;
      }
      const Record& known = *layer.with_errors;
      row.push_back(fmt::format("{} / {}", percent(tag(known, weight_tag::relative_frobenius(mode)), 2),
                                percent(tag(known, weight_tag::worst_block(mode)), 1)));
      saturated += (saturated.empty() ? "" : " / ") + tag(known, weight_tag::saturated(mode));
    }
    row.push_back(layer.with_errors == nullptr ? no_errors(layer) : saturated);
    grid.rows.push_back(std::move(row));
  }
  return grid;
}

/// The products of one set-up, and what must be said about some of them.
class ProductTable {
 public:
  explicit ProductTable(const Setup& setup) : layers_(layers_of(setup.records)) {
    std::set<Index> ms;
    for (const Record* record : setup.records) {
      ms.insert(record->subject.m);
      for (const RecordBaseline& baseline : record->baselines) {
        if (std::find(baselines_.begin(), baselines_.end(), baseline.name) == baselines_.end()) {
          baselines_.push_back(baseline.name);
        }
      }
    }
    grid_.header = {"layer", "N", "K"};
    for (const Index m : ms) {
      grid_.header.push_back(fmt::format("M={}: us", m));
      grid_.header.emplace_back("% read");
      for (std::size_t i = 0; i < baselines_.size(); ++i) grid_.header.push_back(speedup_title(i));
      grid_.header.emplace_back("error/bound");
    }
    const std::size_t of_m = 3 + baselines_.size();
    speedups_.resize(ms.size() * baselines_.size());
    for (const Layer& layer : layers_) {
      const RecordCase& c = layer.first->subject;
      std::vector<std::string> row{tag(*layer.first, weight_tag::tensor), std::to_string(c.n), std::to_string(c.k)};
      std::size_t column = 0;
      for (const Index m : ms) {
        const auto found = layer.of_m.find(m);
        if (found == layer.of_m.end()) {
          row.insert(row.end(), of_m, "-");
        } else {
          add_cells(row, *found->second, column);
        }
        column += baselines_.size();
      }
      grid_.rows.push_back(std::move(row));
    }
    add_means(ms.size());
  }

  [[nodiscard]] const TextGrid& grid() const noexcept { return grid_; }
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

  [[nodiscard]] std::string caption() const {
    std::string text = "Products with these weights; % read: of the measured read rate";
    for (std::size_t i = 0; i < baselines_.size(); ++i) {
      text += fmt::format("; {} over {}, measured in the same run", speedup_title(i), baselines_[i]);
    }
    return text + "; error/bound: largest error against the f64 reference over what is allowed, right up to 1";
  }

 private:
  [[nodiscard]] std::string speedup_title(std::size_t i) const {
    return baselines_.size() == 1 ? "speedup" : fmt::format("speedup {}", i + 1);
  }

  void add_cells(std::vector<std::string>& row, const Record& r, std::size_t column) {
    const std::string mark = note_mark(r);
    row.push_back((r.timed() ? format_us(r.result.median_ns) : r.wrong() ? "wrong" : "not run") + mark);
    row.push_back(r.timed() && r.roof.read_bytes_per_second > 0 ? fmt::format("{:.1f}", r.roof.pct_of_read) : "-");
    for (std::size_t i = 0; i < baselines_.size(); ++i) {
      const auto found = std::find_if(r.baselines.begin(), r.baselines.end(), [&](const RecordBaseline& b) {
        return b.name == baselines_[i] && b.n > 0 && r.timed() && r.evidence == Evidence::measured;
      });
      if (found == r.baselines.end()) {
        row.emplace_back("-");
        continue;
      }
      const double speedup = found->median_ns / r.result.median_ns;
      speedups_[column + i].push_back(speedup);
      row.push_back(fmt::format("{:.2f}", speedup));
    }
    row.push_back(r.verify.mode == "none" ? "-"
                  : r.verify.correct      ? fmt::format("{:.3f} ok", r.verify.max_ratio)
                                          : fmt::format("{:.3g} WRONG", r.verify.max_ratio));
  }

  // Geometric means of the speedups, in a last row.
  void add_means(std::size_t ms) {
    if (layers_.size() < 2 || baselines_.empty()) return;
    std::vector<std::string> row{"geomean", "", ""};
    for (std::size_t m = 0; m < ms; ++m) {
      row.insert(row.end(), 2, "");
      for (std::size_t i = 0; i < baselines_.size(); ++i) {
        const std::vector<double>& values = speedups_[m * baselines_.size() + i];
        row.push_back(values.empty() ? "-"
                      : values.size() == layers_.size()
                          ? fmt::format("{:.2f}", geometric_mean(values))
                          : fmt::format("{:.2f} ({} of {})", geometric_mean(values), values.size(), layers_.size()));
      }
      row.emplace_back("");
    }
    grid_.rows.push_back(std::move(row));
  }

  std::string note_mark(const Record& record) {
    const std::vector<std::string> texts = remarks(record);
    if (texts.empty()) return "";
    notes_.push_back(fmt::format("[{}] {}: {}", notes_.size() + 1, shape_name(record.subject), fmt::join(texts, "; ")));
    return fmt::format(" [{}]", notes_.size());
  }

  std::vector<Layer> layers_;
  std::vector<std::string> baselines_;         // names, in order of appearance
  std::vector<std::vector<double>> speedups_;  // for each m and baseline
  TextGrid grid_;
  std::vector<std::string> notes_;
};

TextGrid skipped_grid(std::span<const SkippedTensor> skipped) {
  TextGrid grid;
  grid.left_columns = 4;
  grid.header = {"skipped tensor", "type", "shape", "why"};
  for (const SkippedTensor& tensor : skipped)
    grid.rows.push_back({tensor.name, tensor.type, tensor.shape, tensor.reason});
  return grid;
}

std::string csv_report(const std::vector<Setup>& setups) {
  TextGrid grid;
  grid.header = {"file", "tensor", "type", "n", "k"};
  for (const ScaleMode mode : scale_modes) {
    grid.header.push_back(weight_tag::relative_frobenius(mode));
    grid.header.push_back(weight_tag::worst_block(mode));
    grid.header.push_back(weight_tag::saturated(mode));
  }
  for (const char* title : {"nan_blocks", "m", "backend", "kernel", "scale_mode", "evidence", "check", "max_ratio",
                            "median_us", "pct_of_read", "baseline", "baseline_us", "speedup", "remarks", "case_id"}) {
    grid.header.emplace_back(title);
  }
  for (const Setup& setup : setups) {
    for (const Record* record : setup.records) {
      const Record& r = *record;
      const RecordCase& c = r.subject;
      std::vector<std::string> row{tag(r, weight_tag::file), tag(r, weight_tag::tensor), tag(r, weight_tag::type),
                                   std::to_string(c.n), std::to_string(c.k)};
      for (const ScaleMode mode : scale_modes) {
        row.push_back(tag(r, weight_tag::relative_frobenius(mode)));
        row.push_back(tag(r, weight_tag::worst_block(mode)));
        row.push_back(tag(r, weight_tag::saturated(mode)));
      }
      const RecordBaseline* best = nullptr;
      for (const RecordBaseline& b : r.baselines) {
        if (b.n > 0 && b.role == "performance" && (best == nullptr || b.median_ns < best->median_ns)) best = &b;
      }
      const bool compared = best != nullptr && r.timed();
      row.insert(row.end(), {tag(r, weight_tag::nan_blocks), std::to_string(c.m), c.backend, c.kernel, c.scale_mode,
                             std::string(to_string(r.evidence)),
                             r.verify.mode == "none" ? "not checked"
                             : r.verify.correct      ? "correct"
                                                     : "wrong",
                             r.verify.mode == "none" ? "" : fmt::format("{}", r.verify.max_ratio),
                             r.timed() ? fmt::format("{}", r.result.median_ns * 1e-3) : "",
                             r.timed() ? fmt::format("{}", r.roof.pct_of_read) : "", compared ? best->name : "",
                             compared ? fmt::format("{}", best->median_ns * 1e-3) : "",
                             compared ? fmt::format("{}", best->median_ns / r.result.median_ns) : "",
                             fmt::format("{}", fmt::join(remarks(r), "; ")), r.case_id});
      grid.rows.push_back(std::move(row));
    }
  }
  return to_csv(grid);
}

}  // namespace

bool is_layer(const Record& record) { return record.tags.contains(weight_tag::tensor); }

std::string weights_report(std::span<const Record> records, std::span<const SkippedTensor> skipped,
                           ReportFormat format) {
  std::vector<Setup> setups = group_by_setup(records);
  for (Setup& setup : setups) std::erase_if(setup.records, [](const Record* r) { return !is_layer(*r); });
  std::erase_if(setups, [](const Setup& setup) { return setup.records.empty(); });
  if (format == ReportFormat::csv) return csv_report(setups);

  ReportPage page(format);
  std::vector<const Record*> all;
  std::vector<std::string> files;
  for (const Setup& setup : setups) all.insert(all.end(), setup.records.begin(), setup.records.end());
  for (const Record* record : all) {
    std::string file = "weights of " + tag(*record, weight_tag::file);
    if (std::find(files.begin(), files.end(), file) == files.end()) files.push_back(std::move(file));
  }
  const std::vector<Layer> layers = layers_of(all);
  page.heading("Weights in MX-FP8");
  files.push_back(fmt::format("{} layer{}", layers.size(), layers.size() == 1 ? "" : "s"));
  if (!skipped.empty()) files.back() += fmt::format(", {} of the selected tensors skipped, see below", skipped.size());
  for (const Layer& layer : layers) {
    const std::string nan_blocks = layer.with_errors == nullptr ? "" : tag(*layer.with_errors, weight_tag::nan_blocks);
    if (nan_blocks.empty()) continue;
    files.push_back(fmt::format("{}: {} blocks hold a NaN or an infinity, become NaN and are left out of its errors",
                                tag(*layer.first, weight_tag::tensor), nan_blocks));
  }
  page.lines(files);
  page.table(
      "Quantization error in each scale mode: relative Frobenius % / worst block of 32 %; saturated: elements beyond "
      "the "
      "range, in the same order",
      quantization_grid(layers));
  for (const Setup& setup : setups) {
    const ProductTable products(setup);
    page.heading(setup_heading(setup));
    page.lines(setup_facts(setup));
    page.table(products.caption(), products.grid());
    if (!products.notes().empty()) page.lines(products.notes());
  }
  if (!skipped.empty()) page.table("Skipped: no layers", skipped_grid(skipped));
  return std::move(page).text();
}

}  // namespace millet
