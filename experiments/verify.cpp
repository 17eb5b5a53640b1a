// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <memory>
#include <regex>

#include "arguments.hpp"
#include "cases/shape_cases.hpp"
#include "machine/machine.hpp"
#include "millet/report/text_grid.hpp"
#include "near_names.hpp"
#include "operands/generate.hpp"
#include "operands/workload.hpp"
#include "run/budget.hpp"
#include "run/contest.hpp"
#include "run/interrupt.hpp"
#include "run/progress.hpp"
#include "subcommands.hpp"

namespace millet {

namespace {

struct VerifyArguments {
  std::string backends;
  std::string presets;
  std::string m;
  std::string filter;
  std::string kernel;
  std::string budget = "60s";
  std::uint64_t seed = 1;
  bool quiet = false;
};

// What was found out about one kernel.
struct Findings {
  Index correct = 0;
  Index wrong = 0;
  Index declined = 0;
  double worst_ratio = 0;
  std::string first_wrong;
  std::map<std::string, Index> reasons;  // of declines
};

// Shapes that catch tails and tile edges: m, n and k around powers of two, extents of 1, a long k.
std::vector<ShapeCases> default_shapes() {
  std::vector<ShapeCases> shapes;
  for (const auto& [n, k] :
       std::vector<std::pair<Index, Index>>{{1, 32}, {7, 64}, {33, 96}, {129, 512}, {256, 2048}, {95, 8192}}) {
    DenseShape shape;
    shape.label = "edge";
    shape.n = n;
    shape.k = k;
    shape.m = {1, 2, 3, 5, 8, 16, 17, 33, 65};
    shapes.push_back({"edges", "", shape, {}});
  }
  for (const auto& [experts, top_k] : std::vector<std::pair<Index, Index>>{{1, 1}, {5, 2}, {16, 4}}) {
    for (const Index a_div : {Index{1}, top_k}) {
      MoeShape shape;
      shape.label = "edge";
      shape.experts = experts;
      shape.top_k = top_k;
      shape.a_div = a_div;
      shape.weighted = a_div == 1;
      shape.block_m = 16;
      shape.n = 65;
      shape.k = 160;
      shape.m = {1, 3, 17};
      shapes.push_back({"edges", "", shape, {}});
    }
  }
  return shapes;
}

class Verification {
 public:
  Verification(const VerifyArguments& arguments, const std::vector<BackendSession>& backends, double budget,
               std::size_t cases)
      : arguments_(arguments), backends_(backends), budget_(budget), progress_(cases, arguments.quiet) {}

  // All kernels, activation formats and output types on one shape, without and with NaN and extreme scales planted.
  Expected<void> verify(const ShapeCases& cases, const DenseShape& shape) {
    // Small shapes are tried in every way; a preset's oracle takes a second each time.
    const bool thorough = arguments_.presets.empty();
    for (const bool special : {false, true}) {
      for (const ActivationFormat activation : {ActivationFormat::mx, ActivationFormat::bf16, ActivationFormat::f32}) {
        if (!thorough && (special || activation != ActivationFormat::mx)) continue;
        OperandOptions options;
        options.activation = activation;
        options.seed = arguments_.seed;
        WeightSource source;
        source.load = [&](ScaleMode mode) -> Expected<LoadedWeights> {
          MxMatrix<> weights = random_weights(shape.n, shape.k, mode, arguments_.seed);
          if (special) plant_special_codes(weights);
          return LoadedWeights{std::move(weights), {}};
        };
        const Index largest = *std::max_element(shape.m.begin(), shape.m.end());
        if (out_of_time()) return {};
        auto workload = DenseWorkload::make(shape, source, largest, options);
        if (!workload) return fail(std::move(workload));
        for (const Index m : shape.m) {
          const std::string name = case_name(cases, m) + (special ? "/special" : "");
          const reference::Product expected = workload->expected(m);
          for (const OutputType output : {OutputType::bf16, OutputType::f32}) {
            const auto problem = make_gemm_problem(m, shape.n, shape.k, activation, output);
            if (!problem) return tl::unexpected(problem.error());
            if (auto done = verify_kernels<GemmProblem>(name, workload->operands(*problem), expected); !done)
              return done;
          }
        }
      }
    }
    return {};
  }

  Expected<void> verify(const ShapeCases& cases, const MoeShape& shape) {
    for (const Index tokens : shape.m) {
      if (out_of_time()) return {};
      OperandOptions options;
      options.seed = arguments_.seed;
      constexpr Index small = Index{1} << 26;
      if (shape.experts * shape.n * shape.k < small) options.resident_experts = ResidentExperts::all;
      auto routed = route_tokens(shape, tokens, options);
      if (!routed) return fail(std::move(routed));
      if (static_cast<double>(routed->problem.experts) * routed->problem.expert_bytes() * 3 >
          0.6 * static_cast<double>(available_memory_bytes())) {
        unverified_.push_back(case_name(cases, tokens) + " (memory)");
        continue;
      }
      const auto pool = random_expert_pool(shape.experts, shape.n, shape.k, options.scale_mode, options.seed);
      auto workload = GroupedWorkload::make(*routed, pool, options);
      if (!workload) return fail(std::move(workload));
      const reference::Product expected = reference::eigen_grouped_gemm(workload->operands(*routed));
      for (const OutputType output : {OutputType::bf16, OutputType::f32}) {
        routed->problem.output = output;
        if (auto done = verify_kernels<GroupedProblem>(case_name(cases, tokens), workload->operands(*routed), expected);
            !done) {
          return done;
        }
      }
    }
    return {};
  }

  Expected<ExitCode> run(const std::vector<ShapeCases>& shapes) {
    for (const ShapeCases& cases : shapes) {
      if (InterruptGuard::requested()) break;
      for (const Index m : cases.m()) {
        if (out_of_time()) unverified_.push_back(case_name(cases, m) + " (budget)");
      }
      if (out_of_time()) continue;
      progress_.begin(case_name(cases, cases.m().front()), budget_.left());
      const auto verified = std::visit([&](const auto& shape) { return verify(cases, shape); }, cases.shape);
      if (!verified) return tl::unexpected(verified.error());
      progress_.end(out_of_time() ? "stopped: the budget is spent" : "done");
      if (out_of_time()) unverified_.push_back(case_name(cases, cases.m().back()) + " (budget, in part)");
    }
    progress_.clear();
    return print();
  }

 private:
  [[nodiscard]] bool out_of_time() const noexcept { return budget_.left() <= 0; }

  template <class P>
  Expected<void> verify_kernels(const std::string& name, const HostOperands<P>& operands,
                                const reference::Product& expected) {
    for (const BackendSession& session : backends_) {
      for (const KernelFor<P>& kernel : session.backend->kernels<P>()) {
        if (InterruptGuard::requested() || out_of_time()) return {};
        if (!arguments_.kernel.empty() && kernel.id != arguments_.kernel) continue;
        Findings& findings = findings_[std::string(kernel.id)];
        if (const Verdict verdict = kernel.supports(operands.problem); !verdict) {
          ++findings.declined;
          ++findings.reasons[std::string(verdict.reason)];
          continue;
        }
        for (int policy = 0; policy < kernel.policy_count; ++policy) {
          auto instance = KernelInstance<P>::create(*session.backend, kernel, policy, operands);
          if (!instance) return fail(std::move(instance));
          const auto comparison = verify_instance(*instance, expected);
          if (!comparison) return tl::unexpected(comparison.error());
          ++(comparison->correct ? findings.correct : findings.wrong);
          findings.worst_ratio = std::max(findings.worst_ratio, comparison->max_ratio);
          if (!comparison->correct && findings.first_wrong.empty()) {
            findings.first_wrong = fmt::format("{} {} {} ({}): {}", kernel.id, name, to_string(operands.problem),
                                               kernel.policy_name(policy), comparison->verdict);
          }
        }
      }
    }
    return {};
  }

  [[nodiscard]] Expected<ExitCode> print() const {
    TextGrid grid;
    grid.header = {"kernel", "correct", "wrong", "declined", "worst error / bound"};
    Index verified = 0;
    Index wrong = 0;
    for (const auto& [kernel, findings] : findings_) {
      grid.rows.push_back({kernel, std::to_string(findings.correct), std::to_string(findings.wrong),
                           std::to_string(findings.declined), fmt::format("{:.3f}", findings.worst_ratio)});
      verified += findings.correct + findings.wrong;
      wrong += findings.wrong;
    }
    fmt::print("{}", to_terminal(grid));
    for (const auto& [kernel, findings] : findings_) {
      for (const auto& [reason, count] : findings.reasons) fmt::print("{} declined {}: {}\n", kernel, count, reason);
      if (!findings.first_wrong.empty()) fmt::print("WRONG: {}\n", findings.first_wrong);
    }
    for (const std::string& name : unverified_) fmt::print("not verified: {}\n", name);
    fmt::print("{} checks, {} wrong, {} cases not verified, {:.1f} s\n", verified, wrong, unverified_.size(),
               budget_.elapsed());
    std::fflush(stdout);
    if (InterruptGuard::requested()) return ExitCode::interrupted;
    if (wrong > 0) return ExitCode::incorrect;
    if (verified == 0) {
      return fail(ErrorCode::unknown_name, "verify: nothing was verified{}",
                  arguments_.kernel.empty() ? "; raise --budget" : "; see millet list for kernels and their envelopes");
    }
    return ExitCode::ok;
  }

  const VerifyArguments& arguments_;
  const std::vector<BackendSession>& backends_;
  Budget budget_;
  Progress progress_;
  std::map<std::string, Findings> findings_;
  std::vector<std::string> unverified_;
};

Expected<ExitCode> verify(const VerifyArguments& arguments) {
  std::vector<std::string> names;
  if (!arguments.backends.empty()) {
    auto parsed = parse_list("--backend", arguments.backends);
    if (!parsed) return fail(std::move(parsed));
    names = *std::move(parsed);
  }
  const auto budget = parse_duration("--budget", arguments.budget);
  if (!budget) return tl::unexpected(budget.error());
  std::vector<ShapeCases> shapes;
  if (arguments.presets.empty()) {
    shapes = default_shapes();
  } else {
    const auto presets = parse_list("--preset", arguments.presets);
    if (!presets) return tl::unexpected(presets.error());
    for (const std::string& preset : *presets) {
      auto cases = cases_of_preset(preset);
      if (!cases) return fail(std::move(cases));
      std::move(cases->begin(), cases->end(), std::back_inserter(shapes));
    }
  }
  if (!arguments.m.empty()) {
    const auto m = parse_extents("--m", arguments.m);
    if (!m) return tl::unexpected(m.error());
    for (ShapeCases& shape : shapes) shape.m() = *m;
  }
  auto kept = filtered(std::move(shapes), arguments.filter);
  if (!kept) return fail(std::move(kept));
  const auto backends = open_backends(names, Purpose::results, false);
  if (!backends) return tl::unexpected(backends.error());
  if (!arguments.kernel.empty()) {
    std::vector<std::string> kernels;
    for (const BackendSession& session : *backends) {
      for (const GemmKernel& kernel : session.backend->gemm_kernels) kernels.emplace_back(kernel.id);
      for (const GroupedKernel& kernel : session.backend->grouped_kernels) kernels.emplace_back(kernel.id);
    }
    if (std::find(kernels.begin(), kernels.end(), arguments.kernel) == kernels.end()) {
      return tl::unexpected(unknown_name("kernel", arguments.kernel, kernels));
    }
  }
  keep_freed_memory();
  const InterruptGuard interrupts;
  return Verification(arguments, *backends, *budget, kept->size()).run(*kept);
}

}  // namespace

void add_verify(CLI::App& app, Invocation& invocation) {
  auto* const command = app.add_subcommand(
      "verify",
      "Check every kernel against the f64 reference: all policies, formats and output types, NaN and extreme scales");
  const auto arguments = std::make_shared<VerifyArguments>();
  VerifyArguments& a = *arguments;
  command->add_option("--backend", a.backends, "Backends, a list; all (default) is every one that can run here");
  command->add_option("--preset", a.presets,
                      "Shapes of these presets, with MX activations, instead of small ones around tile edges");
  command->add_option("--m", a.m, "Rows of A (MoE: tokens) instead of those of the shapes: 1,2,4");
  command->add_option("--filter", a.filter, "Only cases whose name matches this regular expression");
  command->add_option("--kernel", a.kernel, "Only this kernel");
  command->add_option("--budget", a.budget, "Stop after this time: 60s (default)");
  command->add_option("--seed", a.seed, "Of operands and routing");
  command->add_flag("--quiet", a.quiet, "No progress");
  command->footer(exit_code_help);
  command->callback([arguments, &invocation] {
    const auto code = verify(*arguments);
    invocation.code = code ? *code : report_error(code.error());
  });
}

}  // namespace millet
