// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "arguments.hpp"
#include "cases/shape_arguments.hpp"
#include "machine/machine.hpp"
#include "near_names.hpp"
#include "run/session.hpp"
#include "subcommands.hpp"
#include "weights/weight_cases.hpp"

namespace millet {

namespace {

// The options as typed.
struct RunArguments {
  ShapeArguments shapes;
  std::optional<std::string> weights;
  std::string tensor;
  MxPairSuffixes suffixes;
  std::string backends;
  std::string baselines = "eigen_f32";
  std::vector<std::string> baseline_programs;
  std::string baseline_limit = "300s";
  std::string protocol = "cold";
  std::string budget = "60s";
  std::string out;
  bool resume = false;
  std::uint64_t seed = 1;
  std::string activation = "mx";
  std::string output = "bf16";
  std::string scale_mode = "rceil";
  std::string experts = "used";
  std::string kernel;
  int policy = -1;
  std::vector<std::string> tuned;
  std::string shard;
  std::vector<std::string> tags;
  bool strict = false;
  bool quiet = false;
};

template <class T>
Expected<T> parse_word(std::string_view option, const std::string& word, std::optional<T> value,
                       const std::vector<std::string>& words) {
  if (value) return *value;
  return tl::unexpected(unknown_name(option, word, words));
}

Expected<WeightCases> wanted_layers(const RunArguments& arguments) {
  WeightRequest request;
  request.file = *arguments.weights;
  request.tensor = arguments.tensor;
  request.suffixes = arguments.suffixes;
  if (!arguments.shapes.m.empty()) {
    auto m = parse_extents("--m", arguments.shapes.m);
    if (!m) return fail(std::move(m));
    request.m = *std::move(m);
  }
  auto cases = cases_of_weights(request);
  if (!cases) return cases;
  auto kept = filtered(std::move(cases->layers), arguments.shapes.filter);
  if (!kept) return fail(std::move(kept));
  cases->layers = *std::move(kept);
  return cases;
}

Expected<RunOptions> parse(const RunArguments& arguments) {
  RunOptions options;
  if (arguments.weights) {
    auto cases = wanted_layers(arguments);
    if (!cases) return fail(std::move(cases));
    options.shapes = std::move(cases->layers);
    options.skipped_tensors = std::move(cases->skipped);
  } else {
    auto shapes = wanted_shapes(arguments.shapes);
    if (!shapes) return fail(std::move(shapes));
    options.shapes = *std::move(shapes);
  }
  for (const auto& [option, text, list] : {std::tuple{"--backend", &arguments.backends, &options.backends},
                                           std::tuple{"--baseline", &arguments.baselines, &options.baselines}}) {
    if (text->empty() || *text == "none") continue;
    auto names = parse_list(option, *text);
    if (!names) return fail(std::move(names));
    *list = *std::move(names);
  }
  if (arguments.protocol != "cold" && arguments.protocol != "hot") {
    return tl::unexpected(unknown_name("--protocol", arguments.protocol, std::vector<std::string>{"cold", "hot"}));
  }
  options.protocol = arguments.protocol == "cold" ? Protocol::cold_graph : Protocol::hot_eager;
  const auto budget = parse_duration("--budget", arguments.budget);
  if (!budget) return tl::unexpected(budget.error());
  options.budget_seconds = *budget;
  for (const std::string& program : arguments.baseline_programs) {
    const auto equals = program.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == program.size()) {
      return fail(ErrorCode::invalid_argument, "--baseline-program: '{}' is not of the form name=command", program);
    }
    options.baseline_programs[program.substr(0, equals)] = program.substr(equals + 1);
  }
  const auto limit = parse_duration("--baseline-limit", arguments.baseline_limit);
  if (!limit) return tl::unexpected(limit.error());
  options.baseline_limit_seconds = *limit;
  const auto activation = parse_word("--activation", arguments.activation,
                                     parse_activation_format(arguments.activation), {"mx", "bf16", "f32"});
  if (!activation) return tl::unexpected(activation.error());
  const auto output = parse_word("--output", arguments.output, parse_output_type(arguments.output), {"bf16", "f32"});
  if (!output) return tl::unexpected(output.error());
  const auto mode = parse_word("--scale-mode", arguments.scale_mode, parse_scale_mode(arguments.scale_mode),
                               {"floor", "ceil", "even", "rceil"});
  if (!mode) return tl::unexpected(mode.error());
  if (arguments.experts != "used" && arguments.experts != "all") {
    return tl::unexpected(unknown_name("--experts", arguments.experts, std::vector<std::string>{"all", "used"}));
  }
  options.operands = {*activation, *output, *mode, arguments.seed,
                      arguments.experts == "all" ? ResidentExperts::all : ResidentExperts::used};
  options.out = arguments.out.empty() ? default_results_folder() : arguments.out;
  options.records = options.out / "records.jsonl";
  options.resume = arguments.resume;
  options.kernel = arguments.kernel;
  if (arguments.policy >= 0) {
    if (arguments.kernel.empty()) {
      return fail(ErrorCode::invalid_argument, "--policy {}: policies belong to kernels; name one with --kernel",
                  arguments.policy);
    }
    options.policy = arguments.policy;
  }
  for (const std::string& tuned : arguments.tuned) {
    const auto equals = tuned.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == tuned.size()) {
      return fail(ErrorCode::invalid_argument, "--tuned: '{}' is not of the form backend=file.csv", tuned);
    }
    options.tuned[tuned.substr(0, equals)] = tuned.substr(equals + 1);
  }
  if (!arguments.shard.empty()) {
    const auto shard = parse_shard("--shard", arguments.shard);
    if (!shard) return tl::unexpected(shard.error());
    options.shard = *shard;
  }
  options.strict = arguments.strict;
  options.quiet = arguments.quiet;
  for (const std::string& tag : arguments.tags) {
    const auto equals = tag.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(ErrorCode::invalid_argument, "--tag: '{}' is not of the form name=value", tag);
    }
    options.tags[tag.substr(0, equals)] = tag.substr(equals + 1);
  }
  return options;
}

}  // namespace

void add_run(CLI::App& app, Invocation& invocation) {
  auto* const command = app.add_subcommand("run", "Verify and time kernels over shapes; print and write tables");
  const auto arguments = std::make_shared<RunArguments>();
  RunArguments& a = *arguments;
  const std::vector<CLI::Option*> shapes = add_shape_options(*command, a.shapes);
  auto* const weights = command->add_option("--weights", a.weights,
                                            "Instead of shapes: the matrices of a model.safetensors or "
                                            "model.safetensors.index.json, F32, F16 and BF16 quantized "
                                            "by --scale-mode, MX-FP8 pairs as they are");
  for (CLI::Option* option : shapes) weights->excludes(option);
  command->add_option("--tensor", a.tensor, "Only tensors of --weights whose name matches this regular expression")
      ->needs(weights);
  command
      ->add_option("--weight-suffix", a.suffixes.values, "Ends the name of an MX-FP8 pair's values: .weight (default)")
      ->needs(weights);
  command
      ->add_option("--scale-suffix", a.suffixes.scales,
                   "Stands there in the name of its scales: .weight_scale (default)")
      ->needs(weights);
  command->add_option("--backend", a.backends, "Backends to time, a list; default: every one that can run here");
  command->add_option(
      "--baseline,--baselines", a.baselines,
      "Timed beside the kernels, a list: eigen_f32 (default), openblas_f32, onednn_bf16, "
      "reference, a backend's name, none; on a GPU triton, triton_best, triton_retuned, cublaslt, bf16, "
      "floor, floor_early; millet doctor says which this build has");
  command
      ->add_option("--baseline-program", a.baseline_programs,
                   "name=command: a baseline of your own, a program as docs/baseline-programs.md describes")
      ->take_all();
  command->add_option("--baseline-limit", a.baseline_limit,
                      "Time that an answer of a baseline's program may take: 300s (default)");
  command->add_option(
      "--protocol", a.protocol,
      "cold: weights rotate over twice the last-level cache (default); hot: 200 calls after 30 warm-ups");
  command->add_option(
      "--budget", a.budget,
      "Time for the whole run: 60s (default), 500ms, 2m; minimum samples are kept; what programs of baselines take to "
      "prepare comes on top");
  command->add_option("--out", a.out, "Folder for records.jsonl and the tables; default results/<date>-<host>");
  command->add_flag("--resume", a.resume, "Leave out what --out holds already, measured by this very build");
  command->add_option("--seed", a.seed, "Of operands, routing and the order of samples");
  command->add_option("--activation", a.activation, "What kernels get as A: mx (default), bf16, f32");
  command->add_option("--output", a.output, "Type of C: bf16 (default), f32");
  command->add_option("--scale-mode", a.scale_mode, "Scales of the weights: rceil (default), floor, ceil, even");
  command->add_option("--experts", a.experts,
                      "MoE weights in memory: used (default: those that the routing names, and two of NaN), all");
  command->add_option("--kernel", a.kernel, "Force this kernel (also MILLET_FORCE_KERNEL); a decline is an error");
  command->add_option("--policy", a.policy, "Policy of the forced kernel, by number")->check(CLI::NonNegativeNumber);
  command
      ->add_option("--tuned", a.tuned, "backend=file.csv: a tuned table (of millet tune) instead of the built-in one")
      ->take_all();
  command->add_option("--shard", a.shard,
                      "i/n: only the i-th of n parts of the cases, from 1/n to n/n; every case is in one of them");
  command->add_option("--tag", a.tags, "name=value to keep in every record")->take_all();
  command->add_flag("--strict", a.strict, "A bad row in a tuned table is an error");
  command->add_flag("--quiet", a.quiet, "No progress");
  command->footer(exit_code_help);
  command->callback([arguments, &invocation] {
    auto options = parse(*arguments);
    if (!options) {
      invocation.code = report_error(options.error());
      return;
    }
    options->command_line = invocation.command_line;
    const auto code = run_session(*options);
    invocation.code = code ? *code : report_error(code.error());
  });
}

}  // namespace millet
