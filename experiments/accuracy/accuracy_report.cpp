// SPDX-License-Identifier: Apache-2.0
#include "accuracy/accuracy_report.hpp"

#include <fmt/format.h>

#include "millet/measure/statistics.hpp"
#include "millet/report/page.hpp"

namespace millet {

namespace {

std::string percent(double fraction) { return fmt::format("{:.3g}", 100 * fraction); }

// A table of error_of(ModeError), with geometric means of each kind of activations below.
template <class ErrorOf>
TextGrid error_grid(const AccuracyRun& run, bool with_bf16, ErrorOf error_of) {
  TextGrid grid;
  grid.left_columns = 2;
  grid.header = {"layer", "activations", "N", "K"};
  if (with_bf16) grid.header.emplace_back("bf16");
  for (const ScaleMode mode : scale_modes) grid.header.emplace_back(to_string(mode));
  for (const LayerAccuracy& layer : run.layers) {
    for (const SpreadError& error : layer.errors) {
      std::vector<std::string> row{layer.name, std::string(to_string(error.spread)), std::to_string(layer.n),
                                   std::to_string(layer.k)};
      if (with_bf16) row.push_back(percent(error.bf16));
      for (const ModeError& mode : error.modes) row.push_back(percent(error_of(mode)));
      grid.rows.push_back(std::move(row));
    }
  }
  if (run.layers.size() < 2) return grid;
  for (std::size_t spread = 0; spread < std::size(activation_spreads); ++spread) {
    std::vector<std::string> row{"geomean", std::string(to_string(activation_spreads[spread])), "", ""};
    const auto add = [&](auto value_of) {
      std::vector<double> values;
      for (const LayerAccuracy& layer : run.layers) {
        if (const double value = value_of(layer.errors[spread]); value > 0) values.push_back(value);
      }
      row.push_back(values.empty() ? "0" : percent(geometric_mean(values)));
    };
    if (with_bf16) add([](const SpreadError& error) { return error.bf16; });
    for (std::size_t i = 0; i < std::size(scale_modes); ++i) {
      add([&](const SpreadError& error) { return error_of(error.modes[i]); });
    }
    grid.rows.push_back(std::move(row));
  }
  return grid;
}

TextGrid saturation_grid(const AccuracyRun& run) {
  TextGrid grid;
  grid.left_columns = 2;
  grid.header = {"layer", "activations"};
  for (const ScaleMode mode : scale_modes) grid.header.emplace_back(to_string(mode));
  for (const LayerAccuracy& layer : run.layers) {
    for (const SpreadError& error : layer.errors) {
      std::vector<std::string> row{layer.name, std::string(to_string(error.spread))};
      for (const ModeError& mode : error.modes) {
        row.push_back(fmt::format("{} / {}", mode.saturated_weights, mode.saturated_activations));
      }
      grid.rows.push_back(std::move(row));
    }
  }
  return grid;
}

std::string csv_report(const AccuracyRun& run) {
  TextGrid grid;
  grid.header = {"file",
                 "layer",
                 "type",
                 "n",
                 "k",
                 "m",
                 "seed",
                 "activations",
                 "scale_mode",
                 "error_f32",
                 "error_bf16",
                 "error_weights_alone",
                 "bf16_error_f32",
                 "saturated_weights",
                 "saturated_activations"};
  const auto number = [](double value) { return fmt::format("{}", value); };
  for (const LayerAccuracy& layer : run.layers) {
    for (const SpreadError& error : layer.errors) {
      for (std::size_t i = 0; i < std::size(scale_modes); ++i) {
        const ModeError& mode = error.modes[i];
        grid.rows.push_back({run.file, layer.name, layer.type, std::to_string(layer.n), std::to_string(layer.k),
                             std::to_string(run.m), std::to_string(run.seed), std::string(to_string(error.spread)),
                             std::string(to_string(scale_modes[i])), number(mode.against_f32),
                             number(mode.against_bf16), number(mode.weights_alone), number(error.bf16),
                             std::to_string(mode.saturated_weights), std::to_string(mode.saturated_activations)});
      }
    }
  }
  return to_csv(grid);
}

}  // namespace

StripPlot accuracy_plot(const AccuracyRun& run) {
  StripPlot plot{"Relative error of the product, MX-FP8 against f32", "relative error, %", {}};
  for (std::size_t spread = 0; spread < std::size(activation_spreads); ++spread) {
    const std::string group = fmt::format("activations: {}", to_string(activation_spreads[spread]));
    const auto add = [&](std::string series, auto value_of) {
      Strip strip{group, std::move(series), {}};
      for (const LayerAccuracy& layer : run.layers) {
        const double value = 100 * value_of(layer.errors[spread]);
        strip.values.push_back({value, fmt::format("{}, {}, {}: {:.3g} %", layer.name, group, strip.series, value)});
      }
      plot.strips.push_back(std::move(strip));
    };
    for (std::size_t i = 0; i < std::size(scale_modes); ++i) {
      add(std::string(to_string(scale_modes[i])), [&](const SpreadError& error) { return error.modes[i].against_f32; });
    }
  }
  return plot;
}

std::string accuracy_report(const AccuracyRun& run, ReportFormat format) {
  if (format == ReportFormat::csv) return csv_report(run);
  ReportPage page(format);
  page.heading("Accuracy of products in MX-FP8");
  page.lines(
      {"weights of " + run.file,
       fmt::format("{} layer{}, {} skipped; {} rows of activations, seed {}", run.layers.size(),
                   run.layers.size() == 1 ? "" : "s", run.skipped.size(), run.m, run.seed),
       "relative Frobenius norms of whole products; every product is computed in f64, so that only the formats "
       "of the operands differ",
       "activations: gaussian N(0, 1); heavy-tailed: Student's t, 4 degrees of freedom; outlier channels: N(0, 1) "
       "with one channel in 128 at 50 times the size"});
  page.picture(strip_svg(accuracy_plot(run), "accuracy"), "A mark for each layer; the tables below hold the numbers.");
  page.table("Error against f32 operands, %: bf16 operands, and both operands in MX-FP8 by scale mode",
             error_grid(run, true, [](const ModeError& mode) { return mode.against_f32; }));
  page.table("Error against bf16 operands, %: both operands in MX-FP8 by scale mode",
             error_grid(run, false, [](const ModeError& mode) { return mode.against_bf16; }));
  page.table("Error against f32 operands, %: weights alone in MX-FP8, activations in f32",
             error_grid(run, false, [](const ModeError& mode) { return mode.weights_alone; }));
  page.table("Saturated elements: weights / activations", saturation_grid(run));
  if (!run.skipped.empty()) {
    TextGrid grid;
    grid.header = {"skipped tensor", "why"};
    grid.left_columns = 2;
    for (const SkippedLayer& layer : run.skipped) grid.rows.push_back({layer.name, layer.reason});
    page.table("Skipped", grid);
  }
  return std::move(page).text();
}

}  // namespace millet
