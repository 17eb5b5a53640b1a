// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>

#include "arguments.hpp"
#include "baselines/baseline_names.hpp"
#include "cases/shape_arguments.hpp"
#include "machine/build_info.hpp"
#include "machine/machine.hpp"
#include "millet/report/jsonl.hpp"
#include "millet/report/text_grid.hpp"
#include "near_names.hpp"
#include "run/plan.hpp"
#include "run/preparation_model.hpp"
#include "run/session.hpp"
#include "subcommands.hpp"
#include "tune/decision.hpp"
#include "tune/tuned_file.hpp"

namespace millet {

namespace {

// The options as typed.
struct TuneArguments {
  ShapeArguments shapes;
  std::string backend;
  std::string baseline = "default";
  std::string protocol = "cold";
  std::string budget = "10m";
  std::string kernels;
  std::string activation = "mx";
  std::string out;
  std::uint64_t seed = 1;
  bool resume = false;
  bool dry_run = false;
  bool quiet = false;
};

// Tuning of one backend: a session whose contestants are all candidates, and the table that its records decide about.
class Tuning {
 public:
  Tuning(BackendSession session, TuneBaseline baseline, TunedFile file)
      : session_(std::move(session)), baseline_(std::move(baseline)), file_(std::move(file)) {}

  // Takes over what one contest decides; the file on disk has it when this returns.
  Expected<std::string> take(const TuneContest& contest) {
    const Decision decision = decide(contest, session_, baseline_);
    const RecordCase& subject = contest.front()->subject;
    decisions_.push_back({subject, decision});
    if (!decision.row) return decision.reason;
    file_.put(*decision.row, decision.reason);
    if (auto saved = file_.save(); !saved) return fail(std::move(saved));
    return fmt::format("{:.3f} us, {}", decision.row->median_us, decision.reason);
  }

  // Contests of this very build by the same protocol and seed that decide something need not be held again; an
  // interrupted run may not have told the table.
  std::set<std::string> resume(std::span<const Record> records, const RunOptions& options) {
    std::set<std::string> done;
    for (const TuneContest& contest : contests_of(records, session_, build_id(build_info()))) {
      const RecordCase& subject = contest.front()->subject;
      if (subject.protocol != to_string(options.protocol) || subject.seed != options.operands.seed) continue;
      if (!decide(contest, session_, baseline_).row) continue;
      for (const Record* record : contest) done.insert(record->case_id);
      resumed_.push_back(contest);
    }
    return done;
  }

  // What the contests that were not held again decide. Errors: those of the file.
  Expected<void> take_resumed() {
    for (const TuneContest& contest : resumed_) {
      if (auto taken = take(contest); !taken) return fail(std::move(taken));
    }
    return {};
  }

  void print() const {
    TextGrid grid;
    grid.header = {"shape", "kernel", "policy", "us", "+-%", "baseline", "times", "use"};
    grid.left_columns = 2;
    std::size_t kept = 0;
    std::size_t rows = 0;
    std::string without;
    for (const auto& [subject, decision] : decisions_) {
      if (!decision.row) {
        without += fmt::format("{}: {}\n", shape_text(subject), decision.reason);
        continue;
      }
      const TunedRow& row = *decision.row;
      ++rows;
      kept += decision.kept_default ? 1 : 0;
      grid.rows.push_back({shape_text(subject), row.kernel, fmt::format("{}", row.policy),
                           fmt::format("{:.3f}", row.median_us), fmt::format("{:.1f}", row.spread_pct), row.baseline,
                           fmt::format("{:.2f}", row.baseline_us / row.median_us), row.use ? "yes" : "no"});
    }
    if (rows > 0) {
      fmt::print("Tuned {} on {}/{}: {} rows, {} of them keep the default choice\n\n{}", session_.backend->name,
                 session_.device.architecture, session_.device.compute_units, rows, kept, to_terminal(grid));
      fmt::print("\n{}\n", file_.path().string());
    }
    if (!without.empty()) fmt::print("\nWithout a row:\n{}", without);
    std::fflush(stdout);
  }

  [[nodiscard]] bool decided_nothing() const noexcept {
    return std::none_of(decisions_.begin(), decisions_.end(),
                        [](const Decided& d) { return d.decision.row.has_value(); });
  }

 private:
  static std::string shape_text(const RecordCase& subject) {
    return subject.operation == "dense"
               ? fmt::format("{} m={} n={} k={}", subject.label, subject.m, subject.n, subject.k)
               : fmt::format("{} slots={} n={} k={} e={}{}", subject.label, subject.slots, subject.n, subject.k,
                             subject.experts, subject.epilogue ? " " + *subject.epilogue : "");
  }

  struct Decided {
    RecordCase subject;
    Decision decision;
  };

  BackendSession session_;
  TuneBaseline baseline_;
  TunedFile file_;
  std::vector<TuneContest> resumed_;
  std::vector<Decided> decisions_;
};

// The search space and about how long it takes; nothing is run.
template <class Case>
void add_space(const std::vector<Case>& cases, TextGrid& grid, double& seconds, std::size_t& candidates) {
  seconds += modelled_seconds(cases);
  for (const Case& planned : cases) {
    std::vector<std::string_view> kernels;
    for (const auto& entrant : planned.entrants) {
      const auto* const kernel = entrant.choice.selection.kernel;
      if (kernel == nullptr) continue;
      ++candidates;
      if (std::find(kernels.begin(), kernels.end(), kernel->id) == kernels.end()) kernels.push_back(kernel->id);
    }
    const auto& first = planned.entrants.front();
    const double own = modelled_seconds(planned);
    seconds += own;
    grid.rows.push_back({planned.name,
                         kernels.empty()
                             ? first.decline
                             : fmt::format("{} policy {}", first.subject.kernel, first.choice.selection.policy),
                         fmt::format("{}", kernels.size()),
                         fmt::format("{}", kernels.empty() ? 0 : planned.entrants.size()), fmt::format("{:.2f}", own)});
  }
}

void print_space(const Plan& plan, const BackendSession& session, double budget) {
  TextGrid grid;
  grid.header = {"case", "default choice", "kernels", "candidates", "s to prepare"};
  grid.left_columns = 2;
  double seconds = 0;
  std::size_t candidates = 0;
  for (const PlannedShape& shape : plan.shapes) {
    add_space(shape.dense, grid, seconds, candidates);
    add_space(shape.grouped, grid, seconds, candidates);
  }
  fmt::print("Search space of {} on {}/{}\n\n{}\n", session.backend->name, session.device.architecture,
             session.device.compute_units, to_terminal(grid));
  if (plan.resumed > 0) fmt::print("{} candidates are measured already and left out.\n", plan.resumed);
  fmt::print(
      "{} contests with {} candidates. About {:.0f} s prepare and verify them, {:.0f} s of the budget of {:g} s are "
      "left for samples{}; about {:.0f} s in all. Every candidate gets at least its 2 warm-ups and 5 samples.\n",
      plan.cases, candidates, seconds, std::max(0.0, budget - seconds), budget,
      seconds > budget ? " (too few: raise --budget, or go on with --resume)" : "", std::max(seconds, budget));
  std::fflush(stdout);
}

// Names of --baseline that a run knows, for one backend; empty where its own kernels are meant.
Expected<std::vector<std::string>> outside_baseline(const TuneBaseline& baseline, const BackendSession& session) {
  const Backend& backend = *session.backend;
  if (baseline.name == "default") return std::vector<std::string>{};
  std::vector<std::string> known = baseline_names();
  if (std::find(known.begin(), known.end(), baseline.name) != known.end()) {
    const std::vector<std::string> backends = backend_names();
    const bool of_host = std::find(backends.begin(), backends.end(), baseline.name) == backends.end();
    if (of_host && !session.on_host()) {
      return fail(ErrorCode::invalid_argument,
                  "--baseline: {} computes on the host and backend '{}' does not; name a kernel or default",
                  baseline.name, backend.name);
    }
    return std::vector<std::string>{baseline.name};
  }
  const auto names = [&](const auto& kernels) {
    for (const auto& kernel : kernels) known.emplace_back(kernel.id);
  };
  names(backend.gemm_kernels);
  names(backend.grouped_kernels);
  known.emplace_back("default");
  if (std::find(known.begin(), known.end(), baseline.name) != known.end()) return std::vector<std::string>{};
  return tl::unexpected(unknown_name("baseline", baseline.name, known));
}

Expected<ExitCode> tune(const TuneArguments& arguments, const std::string& command_line) {
  RunOptions options;
  auto shapes = wanted_shapes(arguments.shapes);
  if (!shapes) return fail(std::move(shapes));
  options.shapes = *std::move(shapes);
  if (arguments.protocol != "cold" && arguments.protocol != "hot") {
    return tl::unexpected(unknown_name("--protocol", arguments.protocol, std::vector<std::string>{"cold", "hot"}));
  }
  options.protocol = arguments.protocol == "cold" ? Protocol::cold_graph : Protocol::hot_eager;
  const auto budget = parse_duration("--budget", arguments.budget);
  if (!budget) return tl::unexpected(budget.error());
  options.budget_seconds = *budget;
  const auto activation = parse_activation_format(arguments.activation);
  if (!activation) {
    return tl::unexpected(
        unknown_name("--activation", arguments.activation, std::vector<std::string>{"mx", "bf16", "f32"}));
  }
  options.operands.activation = *activation;
  options.operands.seed = arguments.seed;
  options.search = SearchSpace{arguments.kernels};
  options.resume = arguments.resume;
  options.quiet = arguments.quiet;
  options.command_line = command_line;

  options.backends = {arguments.backend};
  if (arguments.backend == "all" || arguments.backend.find(',') != std::string::npos) {
    return fail(ErrorCode::invalid_argument, "--backend: '{}': a table belongs to one backend; tune them one by one",
                arguments.backend);
  }
  auto sessions = open_backends(options.backends, Purpose::times, false);
  if (!sessions) return fail(std::move(sessions));
  const BackendSession& session = sessions->front();
  auto baseline = parse_tune_baseline(arguments.baseline, *session.backend);
  if (!baseline) return fail(std::move(baseline));
  auto outside = outside_baseline(*baseline, session);
  if (!outside) return fail(std::move(outside));
  options.baselines = *std::move(outside);
  options.out = arguments.out.empty() ? std::filesystem::path(default_results_folder()) /
                                            fmt::format("{}-{}.csv", session.backend->name, session.device.architecture)
                                      : std::filesystem::path(arguments.out);
  if (options.out.extension() != ".csv") {
    return fail(ErrorCode::invalid_argument, "--out: '{}' is no name of a table; end it with .csv",
                options.out.string());
  }
  options.records = options.out;
  options.records.replace_extension(".jsonl");

  auto file = TunedFile::open(
      options.out, *session.backend,
      fmt::format("{}, {}. Written by millet tune; protocol {}. The comment before a row says how it was decided.",
                  session.device.name, session.device.runtime, to_string(options.protocol)));
  if (!file) return fail(std::move(file));
  for (const std::string& row : file->rejected()) fmt::print(stderr, "millet: keeps, but cannot use {}\n", row);
  Tuning tuning(session, *std::move(baseline), *std::move(file));

  // Contests point into these records.
  JsonlContents earlier;
  std::error_code ignored;
  if (arguments.resume && std::filesystem::exists(options.records, ignored)) {
    auto contents = read_jsonl(options.records);
    if (!contents) return fail(std::move(contents));
    earlier = *std::move(contents);
  }
  const std::set<std::string> done = tuning.resume(earlier.records, options);
  if (arguments.dry_run) {
    const auto plan = make_plan(options, *sessions, {}, done);
    if (!plan) return tl::unexpected(plan.error());
    print_space(*plan, session, options.budget_seconds);
    return ExitCode::ok;
  }
  if (auto taken = tuning.take_resumed(); !taken) return fail(std::move(taken));

  SessionHooks hooks;
  hooks.case_done = [&](std::span<const Record> records) {
    TuneContest contest;
    for (const Record& record : records) contest.push_back(&record);
    return tuning.take(contest);
  };
  hooks.done = [&](std::span<const Record>) { return done; };
  hooks.finish = [&]() -> Expected<void> {
    tuning.print();
    return {};
  };
  auto code = run_session(options, hooks);
  if (code && *code == ExitCode::ok && tuning.decided_nothing()) {
    return fail(ErrorCode::unsupported, "tune: no problem got a row; the lines above say why");
  }
  return code;
}

}  // namespace

void add_tune(CLI::App& app, Invocation& invocation) {
  auto* const command =
      app.add_subcommand("tune", "Time every policy of every kernel of a backend; write its tuned table");
  const auto arguments = std::make_shared<TuneArguments>();
  TuneArguments& a = *arguments;
  command->add_option("--backend", a.backend, "The backend to tune")->required();
  add_shape_options(*command, a.shapes);
  command->add_option("--kernel", a.kernels,
                      "Only kernels whose id matches this regular expression, and the default choice");
  command->add_option("--baseline", a.baseline,
                      "What the use column compares with: default (what is chosen without a table), kernel, "
                      "kernel:policy, or a baseline of millet run");
  command->add_option(
      "--protocol", a.protocol,
      "cold: weights rotate over twice the last-level cache (default); hot: 200 calls after 30 warm-ups");
  command->add_option("--budget", a.budget, "Time for all: 10m (default), 60s, 500ms; minimum samples are kept");
  command->add_option("--activation", a.activation, "What kernels get as A: mx (default), bf16, f32");
  command->add_option("--seed", a.seed, "Of operands, routing and the order of samples");
  command->add_option(
      "--out", a.out,
      "The tuned table, new or brought up to date; every time goes to the .jsonl file beside it. Default "
      "results/<date>-<host>/<backend>-<architecture>.csv");
  command->add_flag("--resume", a.resume, "Leave out what the .jsonl file holds already, measured by this very build");
  command->add_flag("--dry-run", a.dry_run, "Print the search space and about how long it takes; run nothing");
  command->add_flag("--quiet", a.quiet, "No progress");
  command->footer(exit_code_help);
  command->callback([arguments, &invocation] {
    const auto code = tune(*arguments, invocation.command_line);
    invocation.code = code ? *code : report_error(code.error());
  });
}

}  // namespace millet
