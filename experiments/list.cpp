// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <regex>

#include "arguments.hpp"
#include "cases/shape_cases.hpp"
#include "millet/backends/registry.hpp"
#include "millet/report/text_grid.hpp"
#include "near_names.hpp"
#include "run/backend_session.hpp"
#include "subcommands.hpp"

namespace millet {

namespace {

struct ListArguments {
  std::string filter;
  Index m = 0, n = 0, k = 0;
  Index experts = 0, top_k = 1;
  std::string activation = "mx";
  std::string output = "bf16";
  bool policies = false;
};

// The problems that --m, --n and --k describe; none of them when no extent was given.
struct Problems {
  std::optional<GemmProblem> dense;
  std::optional<GroupedProblem> grouped;
};

Expected<Problems> problems_of(const ListArguments& arguments) {
  const auto activation = parse_activation_format(arguments.activation);
  const auto output = parse_output_type(arguments.output);
  if (!activation) {
    return tl::unexpected(
        unknown_name("--activation", arguments.activation, std::vector<std::string>{"mx", "bf16", "f32"}));
  }
  if (!output)
    return tl::unexpected(unknown_name("--output", arguments.output, std::vector<std::string>{"bf16", "f32"}));
  Problems problems;
  const int given = (arguments.m != 0 ? 1 : 0) + (arguments.n != 0 ? 1 : 0) + (arguments.k != 0 ? 1 : 0);
  if (given == 0) return problems;
  if (given < 3)
    return fail(ErrorCode::invalid_argument, "list: --m, --n and --k describe a problem together; give all three");
  auto dense = make_gemm_problem(arguments.m, arguments.n, arguments.k, *activation, *output);
  if (!dense) return fail(std::move(dense));
  problems.dense = *dense;
  GroupedProblem fields;
  fields.experts = std::max<Index>(1, arguments.experts);
  fields.slots = arguments.m * arguments.top_k;
  fields.n = arguments.n;
  fields.k = arguments.k;
  fields.a_div = arguments.top_k;
  fields.padded_slots = fields.slots;
  fields.activation = *activation;
  fields.output = *output;
  auto grouped = make_grouped_problem(fields);
  if (!grouped) return fail(std::move(grouped));
  problems.grouped = *grouped;
  return problems;
}

std::string accumulator_name(const Accumulator& accumulator) {
  if (accumulator.unit_roundoff == f32_accumulator.unit_roundoff && accumulator.promotion_interval == 0) return "f32";
  std::string name = fmt::format("u=2^{:.0f}", std::log2(accumulator.unit_roundoff));
  if (accumulator.promotion_interval > 0) name += fmt::format(", f32 every {}", accumulator.promotion_interval);
  return name;
}

template <class P>
void add_rows(const Backend& backend, const std::optional<P>& problem, const std::regex& filter, TextGrid& grid,
              std::vector<std::string>& known, bool policies) {
  for (const KernelFor<P>& kernel : backend.kernels<P>()) {
    const std::string id(kernel.id);
    known.push_back(id);
    if (!std::regex_search(id, filter)) continue;
    std::vector<std::string> row{id,
                                 std::string(to_string(kernel.operation)),
                                 std::string(to_string(kernel.determinism)),
                                 accumulator_name(kernel.accumulator),
                                 kernel.weight_layout->name(),
                                 std::to_string(kernel.policy_count)};
    if (problem) {
      const Verdict verdict = kernel.supports(*problem);
      row.push_back(verdict ? "accepts" : std::string(verdict.reason));
      row.push_back(verdict ? std::to_string(kernel.workspace_bytes(*problem, 0)) : "");
    }
    grid.rows.push_back(std::move(row));
    if (!policies) continue;
    for (int policy = 0; policy < kernel.policy_count; ++policy) {
      std::vector<std::string> line(grid.header.size());
      line[0] = fmt::format("  policy {}: {}", policy, kernel.policy_name(policy));
      grid.rows.push_back(std::move(line));
    }
  }
}

Expected<void> print_presets() {
  const auto names = preset_names();
  if (!names) return tl::unexpected(names.error());
  TextGrid grid;
  grid.header = {"preset", "shapes", "cases"};
  for (const std::string& name : *names) {
    const auto cases = cases_of_preset(name);
    if (!cases) return tl::unexpected(cases.error());
    std::size_t count = 0;
    for (const ShapeCases& shape : *cases) count += shape.m().size();
    grid.rows.push_back({name, std::to_string(cases->size()), std::to_string(count)});
  }
  fmt::print("\n{}", to_terminal(grid));
  return {};
}

Expected<ExitCode> print_list(const ListArguments& arguments) {
  const auto problems = problems_of(arguments);
  if (!problems) return tl::unexpected(problems.error());
  std::regex filter;
  try {
    filter.assign(arguments.filter);
  } catch (const std::regex_error& error) {
    return fail(ErrorCode::invalid_argument, "--filter: '{}' is no regular expression: {}", arguments.filter,
                error.what());
  }
  TextGrid backends;
  backends.header = {"backend", "here", "what"};
  backends.left_columns = 3;
  TextGrid kernels;
  kernels.header = {"kernel", "operation", "determinism", "accumulator", "weights", "policies"};
  kernels.left_columns = 5;
  if (problems->dense) {
    kernels.header.insert(kernels.header.end(), {to_string(*problems->dense), "workspace bytes"});
    kernels.left_columns = 7;
  }
  std::vector<std::string> known;
  for (const Backend& backend : registered_backends()) {
    const auto available = backend.available();
    backends.rows.push_back({std::string(backend.name), available ? "available" : available.error().message,
                             std::string(backend.description)});
    add_rows(backend, problems->dense, filter, kernels, known, arguments.policies);
    add_rows(backend, problems->grouped, filter, kernels, known, arguments.policies);
  }
  if (kernels.rows.empty()) {
    Error error = unknown_name("kernel matching", arguments.filter, known);
    return tl::unexpected(std::move(error));
  }
  fmt::print("{}\n{}", to_terminal(backends), to_terminal(kernels));
  if (auto printed = print_presets(); !printed) return fail(std::move(printed));
  return ExitCode::ok;
}

}  // namespace

void add_list(CLI::App& app, Invocation& invocation) {
  auto* const command = app.add_subcommand("list", "Backends, kernels, their envelopes and the presets");
  const auto arguments = std::make_shared<ListArguments>();
  ListArguments& a = *arguments;
  command->add_option("--filter", a.filter, "Only kernels whose id matches this regular expression");
  command->add_option("--m", a.m, "Ask which kernels accept this problem: rows of A (MoE: tokens)");
  command->add_option("--n", a.n, "Columns of C");
  command->add_option("--k", a.k, "Reduction extent");
  command->add_option("--experts", a.experts, "Experts of the grouped problem that grouped kernels are asked about");
  command->add_option("--top-k", a.top_k, "Slots of a token, likewise")->check(CLI::PositiveNumber);
  command->add_option("--activation", a.activation, "mx (default), bf16, f32");
  command->add_option("--output", a.output, "bf16 (default), f32");
  command->add_flag("--policies", a.policies, "Name every policy");
  command->footer(exit_code_help);
  command->callback([arguments, &invocation] {
    const auto code = print_list(*arguments);
    invocation.code = code ? *code : report_error(code.error());
  });
}

}  // namespace millet
