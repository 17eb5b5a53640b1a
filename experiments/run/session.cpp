// SPDX-License-Identifier: Apache-2.0
#include "run/session.hpp"

#include <algorithm>
#include <set>

#include "baselines/baseline_names.hpp"
#include "machine/build_info.hpp"
#include "machine/machine.hpp"
#include "millet/report/jsonl.hpp"
#include "millet/report/roofline_table.hpp"
#include "millet/report/speedup_table.hpp"
#include "near_names.hpp"
#include "operands/generate.hpp"
#include "run/budget.hpp"
#include "run/case_record.hpp"
#include "run/interrupt.hpp"
#include "run/plan.hpp"
#include "run/preparation_model.hpp"
#include "run/progress.hpp"
#include "run/report_files.hpp"
#include "weights/weights_report.hpp"

namespace millet {

namespace {

// Who is timed beside the kernels.
struct Baselines {
  std::vector<HostBaseline> host;
  bool reference = false;
  std::vector<BackendSession> backends;
  std::vector<BaselineProgram> programs;
};

Expected<void> start_programs(const RunOptions& options, const std::vector<BackendSession>& timed,
                              Baselines& baselines) {
  std::vector<BaselineCommand> commands = built_in_programs(options.baselines);
  for (const auto& [name, command] : options.baseline_programs) commands.push_back({command, {name}, ""});
  std::vector<std::string> devices;
  for (const BackendSession& session : timed) {
    const std::string& device = session.device.name;
    if (std::find(devices.begin(), devices.end(), device) == devices.end()) devices.push_back(device);
  }
  for (const BaselineCommand& command : commands) {
    auto program = BaselineProgram::start(command, devices, options.baseline_limit_seconds);
    if (!program) return fail(std::move(program));
    baselines.programs.push_back(*std::move(program));
  }
  return {};
}

Expected<Baselines> open_baselines(const RunOptions& options, const std::vector<BackendSession>& timed) {
  Baselines baselines;
  std::vector<std::string> backends;
  const std::vector<std::string>& of_programs = program_baseline_names();
  for (const std::string& name : options.baselines) {
    if (std::find(of_programs.begin(), of_programs.end(), name) != of_programs.end()) continue;
    if (std::find(host_baseline_names().begin(), host_baseline_names().end(), name) != host_baseline_names().end()) {
      const auto same = [&](const HostBaseline& known) { return known.name == name; };
      if (std::any_of(baselines.host.begin(), baselines.host.end(), same)) continue;
      auto loaded = HostBaseline::load(name);
      if (!loaded) return fail(std::move(loaded));
      baselines.host.push_back(*std::move(loaded));
    } else if (name == "reference") {
      baselines.reference = true;
    } else {
      std::vector<std::string> known = baseline_names();
      if (std::find(known.begin(), known.end(), name) == known.end()) {
        known.insert(known.end(), of_programs.begin(), of_programs.end());
        return tl::unexpected(unknown_name("baseline", name, known));
      }
      backends.push_back(name);
    }
  }
  if (!backends.empty()) {
    auto sessions = open_backends(backends, Purpose::times, options.strict);
    if (!sessions) return fail(std::move(sessions));
    baselines.backends = *std::move(sessions);
  }
  if (auto started = start_programs(options, timed, baselines); !started) return fail(std::move(started));
  return baselines;
}

// The ids that a results file has a time for, from a build like this one.
std::set<std::string> measured_cases(std::span<const Record> records) {
  const std::string build = build_id(build_info());
  std::set<std::string> ids;
  for (const Record& record : records) {
    if (record.build_id == build && record.timed()) ids.insert(record.case_id);
  }
  return ids;
}

// What a reader of a grouped record must know about the memory behind it.
std::string residency(const DenseCase&, bool) { return ""; }
std::string residency(const GroupedCase& planned, bool first) {
  const RoutedTokens& routed = planned.routed;
  if (routed.problem.experts == routed.logical.experts) return "";
  return fmt::format("{}{} of {} experts in memory: {} that the routing names, 2 of NaN; --experts all holds all",
                     first ? "" : "; ", routed.problem.experts, routed.logical.experts, routed.used);
}

class Session {
 public:
  Session(const RunOptions& options, const SessionHooks& hooks, std::vector<BackendSession> backends,
          Baselines baselines, const Plan& plan, JsonlWriter writer, std::vector<PublishedCell> published)
      : options_(options),
        hooks_(hooks),
        backends_(std::move(backends)),
        baselines_(std::move(baselines)),
        plan_(plan),
        writer_(std::move(writer)),
        published_(std::move(published)),
        budget_(options.budget_seconds),
        progress_(plan.cases, options.quiet),
        cases_left_(plan.cases) {}

  Expected<void> run();

  [[nodiscard]] std::size_t measured() const noexcept { return measured_; }
  [[nodiscard]] std::size_t incorrect() const noexcept { return incorrect_; }
  [[nodiscard]] std::size_t broken() const noexcept { return broken_; }
  [[nodiscard]] std::size_t not_run() const noexcept { return not_run_; }
  [[nodiscard]] double elapsed() const noexcept { return budget_.elapsed(); }
  [[nodiscard]] bool over_budget() const noexcept { return budget_.left() < 0; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return writer_.path(); }

 private:
  Expected<void> run_shape(const ShapeCases& cases, const std::vector<DenseCase>& planned);
  Expected<void> run_shape(const ShapeCases& cases, const std::vector<GroupedCase>& planned);
  // Prepares, verifies, times and records one case. `before` is when its preparation began.
  template <class Case>
  Expected<void> run_case(const ShapeCases& cases, const Case& planned,
                          const HostOperands<decltype(Case::problem)>& operands, const reference::Product& expected,
                          Index touched_weight_bytes, BaselineWeightCache* kept, double before);
  template <class Case>
  Expected<void> write_not_run(const ShapeCases& cases, const Case& planned, const std::string& reason);
  Expected<void> write(Record record);
  // Why the cases of a shape cannot be prepared within budget and memory, or nothing.
  [[nodiscard]] std::string obstacle(double modelled, double host_bytes) const;
  [[nodiscard]] const RecordCommon& common_of(const BackendSession* session) const {
    return common_[static_cast<std::size_t>(session - backends_.data())];
  }
  template <class Case>
  Record start_record(const ShapeCases& cases, const Case& planned, std::size_t entrant) const;
  [[nodiscard]] std::string summary(const Record& record) const;
  [[nodiscard]] double eta() const noexcept;

  const RunOptions& options_;
  const SessionHooks& hooks_;
  std::vector<BackendSession> backends_;
  Baselines baselines_;
  const Plan& plan_;
  JsonlWriter writer_;
  std::vector<PublishedCell> published_;
  Budget budget_;
  Progress progress_;
  std::vector<RecordCommon> common_;                // as backends_
  std::map<Index, HostRoofLoops> host_roofs_;       // by threads; shared by the backends that use as many
  std::map<std::string, std::string> weight_tags_;  // of the weights at hand
  std::size_t cases_left_;
  double modelled_left_ = 0;
  std::size_t measured_ = 0;
  std::size_t incorrect_ = 0;
  std::size_t broken_ = 0;
  std::size_t not_run_ = 0;
};

Expected<void> Session::run() {
  const double seconds = std::clamp(0.02 * budget_.seconds(), 0.05, 1.0);
  for (BackendSession& session : backends_) {
    progress_.begin(fmt::format("measuring the roofs of {}", session.backend->name), -1);
    auto ceilings = session.backend->measure_ceilings(seconds);
    if (!ceilings) return fail(std::move(ceilings));
    session.ceilings = *std::move(ceilings);
    common_.push_back(common_record(options_, session));
    const Index threads = session.threads();
    if (threads > 0 && session.backend->on_each_thread != nullptr && !host_roofs_.contains(threads)) {
      host_roofs_.try_emplace(threads, threads, session.backend->on_each_thread);
    }
  }
  for (const PlannedShape& shape : plan_.shapes) {
    modelled_left_ += modelled_seconds(shape.dense) + modelled_seconds(shape.grouped);
    for (const DenseCase& planned : shape.dense) modelled_left_ += modelled_seconds(planned);
    for (const GroupedCase& planned : shape.grouped) modelled_left_ += modelled_seconds(planned);
  }
  for (const PlannedShape& shape : plan_.shapes) {
    if (auto done = run_shape(*shape.shape, shape.dense); !done) return done;
    if (auto done = run_shape(*shape.shape, shape.grouped); !done) return done;
  }
  return {};
}

std::string Session::obstacle(double modelled, double host_bytes) const {
  if (budget_.left() <= 0) {
    return fmt::format("the budget of {:g} s was spent before this case; raise --budget, or go on with --resume",
                       budget_.seconds());
  }
  if (const double seconds = budget_.predicted(modelled); seconds > budget_.left() + 0.25 * budget_.seconds()) {
    return fmt::format(
        "preparing it takes about {:.1f} s, and {:.1f} s of the budget of {:g} s are left; raise --budget, "
        "or go on with --resume",
        seconds, std::max(0.0, budget_.left()), budget_.seconds());
  }
  if (const auto available = static_cast<double>(available_memory_bytes()); host_bytes > 0.3 * available) {
    return fmt::format("the weights take {:.0f} MiB, and 30 % of the {:.0f} MiB of free memory may hold them",
                       host_bytes / 0x1p20, available / 0x1p20);
  }
  return "";
}

Expected<void> Session::run_shape(const ShapeCases& cases, const std::vector<DenseCase>& planned) {
  if (planned.empty() || InterruptGuard::requested()) return {};
  const double modelled = modelled_seconds(planned);
  const std::string reason = obstacle(modelled, planned.front().problem.weight_bytes());
  const double before = budget_.elapsed();
  std::optional<DenseWorkload> workload;
  BaselineWeightCache kept;
  weight_tags_ = cases.weights.tags;
  for (const DenseCase& one : planned) {
    if (InterruptGuard::requested()) return {};
    const std::string late = reason.empty() ? obstacle(0, 0) : reason;
    if (!late.empty()) {
      if (auto done = write_not_run(cases, one, late); !done) return done;
      continue;
    }
    progress_.begin(one.name, eta());
    if (!workload) {
      Index largest_m = 0;
      for (const DenseCase& other : planned) largest_m = std::max(largest_m, other.m);
      auto made = DenseWorkload::make(std::get<DenseShape>(cases.shape), cases.weights, largest_m, options_.operands);
      if (!made) return fail(std::move(made));
      workload = *std::move(made);
      weight_tags_.insert(workload->tags().begin(), workload->tags().end());
      static_cast<void>(workload->expected(1));
      budget_.learn(modelled, budget_.elapsed() - before);
      modelled_left_ -= modelled;
    }
    const reference::Product expected = workload->expected(one.m);
    if (auto done = run_case(cases, one, workload->operands(one.problem), expected,
                             static_cast<Index>(one.problem.weight_bytes()), &kept, budget_.elapsed());
        !done) {
      return done;
    }
  }
  if (!workload) modelled_left_ -= modelled;
  return {};
}

Expected<void> Session::run_shape(const ShapeCases& cases, const std::vector<GroupedCase>& planned) {
  if (planned.empty() || InterruptGuard::requested()) return {};
  const GroupedProblem& first = planned.front().problem;
  const double modelled = modelled_seconds(planned);
  const std::string reason = obstacle(modelled, 0);
  const double before = budget_.elapsed();
  std::vector<MxMatrix<>> pool;
  for (const GroupedCase& one : planned) {
    if (InterruptGuard::requested()) return {};
    const double resident_bytes = static_cast<double>(one.routed.problem.experts) * one.problem.expert_bytes();
    const std::string late = reason.empty() ? obstacle(modelled_seconds(one), resident_bytes) : reason;
    if (!late.empty()) {
      if (auto done = write_not_run(cases, one, late); !done) return done;
      continue;
    }
    progress_.begin(one.name, eta());
    if (pool.empty()) {
      pool = random_expert_pool(first.experts, first.n, first.k, options_.operands.scale_mode, options_.operands.seed);
      budget_.learn(modelled, budget_.elapsed() - before);
      modelled_left_ -= modelled;
    }
    const double case_start = budget_.elapsed();
    auto workload = GroupedWorkload::make(one.routed, pool, options_.operands);
    if (!workload) return fail(std::move(workload));
    const HostGrouped operands = workload->operands(one.routed);
    const reference::Product expected = reference::eigen_grouped_gemm(operands);
    const auto touched = static_cast<Index>(static_cast<double>(one.routed.used) * one.problem.expert_bytes());
    if (auto done = run_case(cases, one, operands, expected, touched, nullptr, case_start); !done) return done;
  }
  if (pool.empty()) modelled_left_ -= modelled;
  return {};
}

template <class Case>
Expected<void> Session::run_case(const ShapeCases& cases, const Case& planned,
                                 const HostOperands<decltype(Case::problem)>& operands,
                                 const reference::Product& expected, Index touched_weight_bytes,
                                 BaselineWeightCache* kept, double before) {
  using P = decltype(Case::problem);
  const double modelled = modelled_seconds(planned);
  Contest<P> contest;
  contest.operands = operands;
  contest.expected = &expected;
  contest.touched_weight_bytes = touched_weight_bytes;
  contest.kept = kept;
  contest.time_reference = baselines_.reference;
  for (const BaselineProgram& program : baselines_.programs) contest.programs.push_back(&program);
  contest.baseline_kernels = planned.baseline_kernels;
  std::set<Index> host_threads;
  std::vector<std::size_t> entrant_of_kernel;
  for (std::size_t i = 0; i < planned.entrants.size(); ++i) {
    const Entrant<P>& entrant = planned.entrants[i];
    if (entrant.choice.selection.kernel == nullptr) continue;
    contest.kernels.push_back(entrant.choice);
    entrant_of_kernel.push_back(i);
    if (entrant.choice.session->on_host()) host_threads.insert(entrant.choice.session->threads());
  }
  for (const Index threads : host_threads) {
    if (const auto loops = host_roofs_.find(threads); loops != host_roofs_.end()) {
      contest.host_roofs.push_back(&loops->second);
    }
  }
  // A ratio between different devices would say nothing: the host's baselines stand beside the host's kernels only.
  if (!host_threads.empty()) {
    for (const HostBaseline& baseline : baselines_.host) contest.host_baselines.push_back(&baseline);
    contest.host_threads.assign(host_threads.begin(), host_threads.end());
  }

  ContestOptions contest_options;
  contest_options.protocol = options_.protocol;
  contest_options.seconds = budget_.share(cases_left_, modelled_left_);
  contest_options.seed = options_.operands.seed;
  auto result = hold_contest(contest, contest_options);
  double sampled = 0;
  std::vector<const BackendSession*> baselines;
  for (const Choice<P>& choice : contest.baseline_kernels) baselines.push_back(choice.session);
  std::string line;
  std::vector<Record> records;
  std::vector<bool> recorded(planned.entrants.size(), false);
  for (std::size_t i = 0; i < entrant_of_kernel.size(); ++i) {
    const std::size_t at = entrant_of_kernel[i];
    const Entrant<P>& entrant = planned.entrants[at];
    Record record = start_record(cases, planned, at);
    if (result) {
      add_outcome(record, common_of(entrant.choice.session), *result, i, *entrant.choice.session, baselines,
                  options_.protocol);
    } else {
      record.note = result.error().message;
      ++broken_;
    }
    if (record.timed()) record.note += residency(planned, record.note.empty());
    line += (line.empty() ? "" : "; ") + summary(record);
    recorded[at] = true;
    if (hooks_.case_done) records.push_back(record);
    if (auto done = write(std::move(record)); !done) return done;
  }
  for (std::size_t i = 0; i < planned.entrants.size(); ++i) {
    if (recorded[i]) continue;
    Record record = start_record(cases, planned, i);
    line += (line.empty() ? "" : "; ") + summary(record);
    if (auto done = write(std::move(record)); !done) return done;
  }
  if (result) {
    const auto add_time = [&](const Measurement& measurement) {
      for (const double seconds : measurement.seconds) sampled += seconds;
    };
    const auto add = [&](const Outcome& outcome) {
      add_time(outcome.measurement);
      if (outcome.wrong()) ++incorrect_;
      if (outcome.broken) ++broken_;
    };
    for (const Outcome& outcome : result->kernels) add(outcome);
    for (const Outcome& outcome : result->baseline_kernels) add(outcome);
    for (const HostOutcome& host : result->host_baselines) add(host.outcome);
    for (const Outcome& reference : result->reference) add(reference);
    for (const HostRoofs& roofs : result->host_roofs) {
      add_time(roofs.read);
      add_time(roofs.multiply_add);
    }
    for (const ProgramOutcome& program : result->programs) add(program.outcome);
    budget_.set_aside(result->program_seconds);
    budget_.learn(modelled, std::max(0.0, budget_.elapsed() - before - sampled - result->program_seconds));
  }
  modelled_left_ = std::max(0.0, modelled_left_ - modelled);
  --cases_left_;
  if (hooks_.case_done && !records.empty()) {
    auto outcome = hooks_.case_done(records);
    if (!outcome) return fail(std::move(outcome));
    line = *std::move(outcome);
  }
  progress_.end(line);
  return {};
}

template <class Case>
Record Session::start_record(const ShapeCases& cases, const Case& planned, std::size_t entrant) const {
  using P = decltype(Case::problem);
  const Entrant<P>& one = planned.entrants[entrant];
  const PlannedCase<P>& base = planned;
  Record record = planned_record(common_of(one.choice.session), options_, cases, base, one, work_of(planned));
  const PublishedCell* cell = nullptr;
  if constexpr (std::is_same_v<P, GemmProblem>) {
    cell = find_published(published_, planned.problem.m, planned.problem.n, planned.problem.k);
    for (const auto& [name, value] : weight_tags_) record.tags[name] = value;
  }
  if (cell != nullptr) record.published = {cell->speedup, cell->device, cell->baseline, cell->source, cell->note};
  return record;
}

template <class Case>
Expected<void> Session::write_not_run(const ShapeCases& cases, const Case& planned, const std::string& reason) {
  progress_.begin(planned.name, eta());
  for (std::size_t i = 0; i < planned.entrants.size(); ++i) {
    Record record = start_record(cases, planned, i);
    if (record.note.empty()) record.note = reason;
    if (auto done = write(std::move(record)); !done) return done;
  }
  modelled_left_ = std::max(0.0, modelled_left_ - modelled_seconds(planned));
  --cases_left_;
  progress_.end("not run: " + reason);
  return {};
}

Expected<void> Session::write(Record record) {
  ++(record.timed() ? measured_ : not_run_);
  return writer_.append(record);
}

std::string Session::summary(const Record& record) const {
  if (!record.timed())
    return fmt::format("{}: {}", record.subject.backend, record.wrong() ? "WRONG " + record.note : record.note);
  std::string text = fmt::format("{} {:.1f} us, {:.0f} % of read", record.subject.kernel,
                                 record.result.median_ns * 1e-3, record.roof.pct_of_read);
  for (const RecordBaseline& baseline : record.baselines) {
    text += fmt::format(", {:.2f}x {}", baseline.median_ns / record.result.median_ns, baseline.name);
  }
  if (record.roof.above_roof) text += ", ABOVE THE ROOF";
  if (record.clock.throttled) text += ", throttled";
  if (record.cache.mode == "warm") text += ", cache=warm";
  return text;
}

double Session::eta() const noexcept {
  const std::size_t done = plan_.cases - cases_left_;
  if (done == 0) return std::max(0.0, budget_.left());
  const double pace = budget_.elapsed() / static_cast<double>(done) * static_cast<double>(cases_left_);
  return std::min(pace, std::max(0.0, budget_.left()));
}

Expected<void> print_reports(const RunOptions& options) {
  auto contents = read_jsonl(options.records);
  if (!contents) return fail(std::move(contents));
  for (const std::string& line : contents->bad_lines) fmt::print(stderr, "millet: left out {}\n", line);
  if (auto done = write_report_files(options.out, contents->records); !done) return done;
  if (options.skipped_tensors) {
    const std::vector<SkippedTensor>& skipped = *options.skipped_tensors;
    if (auto done = write_weights_files(options.out, contents->records, skipped); !done) return done;
    fmt::print("{}", weights_report(contents->records, skipped, ReportFormat::terminal));
    std::fflush(stdout);
    return {};
  }
  fmt::print("{}\n{}", speedup_report(contents->records, ReportFormat::terminal),
             roofline_report(contents->records, ReportFormat::terminal));
  std::fflush(stdout);
  return {};
}

// How many kernels tuned rows chose, where any did.
std::string about_choices(const Plan& plan) {
  std::size_t all = 0;
  std::size_t exact = 0;
  std::size_t near = 0;
  const auto count = [&](const auto& cases) {
    for (const auto& planned : cases) {
      for (const auto& entrant : planned.entrants) {
        ++all;
        if (entrant.choice.selection.row == nullptr) continue;
        ++(entrant.choice.selection.how == Chosen::tuned_exact ? exact : near);
      }
    }
  };
  for (const PlannedShape& shape : plan.shapes) {
    count(shape.dense);
    count(shape.grouped);
  }
  if (exact + near == 0) return "";
  return fmt::format("tuned rows chose {} of {} kernels, {} of them by the very shape and {} by the nearest m",
                     exact + near, all, exact, near);
}

}  // namespace

Expected<ExitCode> run_session(const RunOptions& options, const SessionHooks& hooks) {
  const auto finish = [&] { return hooks.finish ? hooks.finish() : print_reports(options); };
  keep_freed_memory();
  auto backends = open_backends(options.backends, Purpose::times, options.strict, options.tuned);
  if (!backends) return fail(std::move(backends));
  for (const BackendSession& session : *backends) {
    for (const std::string& row : session.tuned.rejected()) fmt::print(stderr, "millet: skipped {}\n", row);
  }
  auto baselines = open_baselines(options, *backends);
  if (!baselines) return fail(std::move(baselines));
  auto published = published_cells();
  if (!published) return fail(std::move(published));

  const std::filesystem::path& file = options.records;
  std::set<std::string> done;
  std::error_code ignored;
  if (options.resume && std::filesystem::exists(file, ignored)) {
    auto contents = read_jsonl(file);
    if (!contents) return fail(std::move(contents));
    done = hooks.done ? hooks.done(contents->records) : measured_cases(contents->records);
  }
  std::vector<const BackendSession*> baseline_backends;
  for (const BackendSession& session : baselines->backends) baseline_backends.push_back(&session);
  auto plan = make_plan(options, *backends, baseline_backends, std::move(done));
  if (!plan) return fail(std::move(plan));
  if (plan->resumed > 0 && !options.quiet) {
    fmt::print(stderr, "millet: {} measurements are in {} already\n", plan->resumed, file.string());
  }
  if (!options.quiet) {
    if (const std::string text = about_choices(*plan); !text.empty()) fmt::print(stderr, "millet: {}\n", text);
  }
  if (options.shard && plan->cases == 0 && plan->resumed == 0) {
    fmt::print(stderr, "millet: shard {}/{} holds none of the {} cases\n", options.shard->number, options.shard->count,
               plan->elsewhere);
    return ExitCode::ok;
  }
  auto writer = JsonlWriter::open(file);
  if (!writer) return fail(std::move(writer));

  if (plan->cases == 0) {
    if (auto printed = finish(); !printed) return fail(std::move(printed));
    return ExitCode::ok;
  }
  const InterruptGuard interrupts;
  Session session(options, hooks, *std::move(backends), *std::move(baselines), *plan, *std::move(writer),
                  *std::move(published));
  if (auto ran = session.run(); !ran) {
    fmt::print(stderr, "\nmillet: {} measurements were kept in {}\n", session.measured(), session.path().string());
    return fail(std::move(ran));
  }
  const bool interrupted = InterruptGuard::requested();
  if (auto printed = finish(); !printed) return fail(std::move(printed));
  std::string text = fmt::format("{} measured", session.measured());
  if (session.not_run() > 0) text += fmt::format(", {} not run or wrong (the notes say why)", session.not_run());
  if (session.incorrect() > 0) text += fmt::format(", {} INCORRECT", session.incorrect());
  fmt::print(stderr, "millet: {} in {:.1f} s{}; {}\n", text, session.elapsed(),
             session.over_budget()
                 ? fmt::format(" (budget {:g} s; every case gets its least number of samples)", options.budget_seconds)
                 : "",
             session.path().string());
  if (interrupted) {
    fmt::print(stderr, "millet: interrupted; what was measured is kept, go on with --resume --out {}\n",
               options.out.string());
    return ExitCode::interrupted;
  }
  if (session.incorrect() > 0) return ExitCode::incorrect;
  if (session.broken() > 0) {
    fmt::print(stderr, "millet: {} contestants ended with an error; the notes below the tables say which\n",
               session.broken());
    return ExitCode::failed;
  }
  if (session.measured() == 0) {
    return fail(ErrorCode::unsupported, "run: none of the {} cases was measured; the notes below the tables say why",
                plan->cases);
  }
  return ExitCode::ok;
}

}  // namespace millet
