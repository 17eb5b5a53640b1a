// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "accuracy/accuracy_report.hpp"
#include "millet/report/markup.hpp"
#include "records_files.hpp"
#include "subcommands.hpp"
#include "weights/weight_cases.hpp"

namespace millet {

namespace {

struct AccuracyArguments {
  std::string weights;
  std::string tensor;
  Index m = 16;
  std::uint64_t seed = 1;
  std::string html;
  std::string svg;
  bool markdown = false;
  bool csv = false;
};

Expected<AccuracyRun> measure(const AccuracyArguments& arguments) {
  WeightRequest request;
  request.file = arguments.weights;
  request.tensor = arguments.tensor;
  auto cases = cases_of_weights(request);
  if (!cases) return fail(std::move(cases));
  AccuracyRun run;
  run.file = arguments.weights;
  run.m = arguments.m;
  run.seed = arguments.seed;
  for (const SkippedTensor& tensor : cases->skipped) run.skipped.push_back({tensor.name, tensor.reason});
  for (const ShapeCases& layer : cases->layers) {
    const auto& shape = std::get<DenseShape>(layer.shape);
    if (!layer.weights.original) {
      run.skipped.push_back({shape.label, "it is in MX-FP8 already: there is nothing to compare it with"});
      continue;
    }
    const auto original = layer.weights.original();
    if (!original) return tl::unexpected(original.error());
    auto errors = product_errors(*original, shape.n, shape.k, arguments.m, arguments.seed);
    if (!errors && errors.error().code == ErrorCode::unsupported) {
      run.skipped.push_back({shape.label, errors.error().message});
      continue;
    }
    if (!errors) return fail(std::move(errors));
    run.layers.push_back({shape.label, layer.weights.tags.at(weight_tag::type), shape.n, shape.k, *std::move(errors)});
  }
  if (run.layers.empty()) {
    return fail(ErrorCode::unsupported,
                "accuracy: none of the {} selected tensors has errors to show; the first, '{}': {}", run.skipped.size(),
                run.skipped.front().name, run.skipped.front().reason);
  }
  return run;
}

Expected<ExitCode> print_accuracy(const AccuracyArguments& arguments) {
  if (arguments.markdown && arguments.csv) {
    return fail(ErrorCode::invalid_argument, "--md and --csv: one form at a time; run millet accuracy twice");
  }
  const auto run = measure(arguments);
  if (!run) return tl::unexpected(run.error());
  if (!arguments.svg.empty()) {
    auto written = write_text_file(arguments.svg, standalone_svg(strip_svg(accuracy_plot(*run), "accuracy")));
    if (!written) return fail(std::move(written));
  }
  if (!arguments.html.empty()) {
    const std::string body = fmt::format("<header><h1>Accuracy of MX-FP8</h1></header>\n<main>\n{}</main>\n",
                                         accuracy_report(*run, ReportFormat::html));
    auto written = write_text_file(arguments.html, html_document("millet accuracy", body));
    if (!written) return fail(std::move(written));
  }
  const ReportFormat format = arguments.markdown ? ReportFormat::markdown
                              : arguments.csv    ? ReportFormat::csv
                                                 : ReportFormat::terminal;
  if (auto printed = print_text(accuracy_report(*run, format)); !printed) return fail(std::move(printed));
  return ExitCode::ok;
}

}  // namespace

void add_accuracy(CLI::App& app, Invocation& invocation) {
  auto* const command =
      app.add_subcommand("accuracy", "What each scale mode costs the products of a model's weights, by activations");
  const auto arguments = std::make_shared<AccuracyArguments>();
  command->add_option("--weights", arguments->weights, "model.safetensors, or the index of a sharded one")->required();
  command->add_option("--tensor", arguments->tensor, "Only tensors whose name matches this regular expression");
  command->add_option("--m", arguments->m, "Rows of activations: 16 (default)")
      ->check(CLI::Range(Index{1}, Index{4096}));
  command->add_option("--seed", arguments->seed, "Of the activations");
  command->add_option("--html", arguments->html, "Also write a self-contained page with the picture to this file");
  command->add_option("--svg", arguments->svg, "Also write the picture to this file");
  command->add_flag("--md", arguments->markdown, "Markdown instead of aligned columns");
  command->add_flag("--csv", arguments->csv, "CSV with one row a layer, kind of activations and scale mode");
  command->footer(exit_code_help);
  command->callback([arguments, &invocation] {
    const auto code = print_accuracy(*arguments);
    invocation.code = code ? *code : report_error(code.error());
  });
}

}  // namespace millet
