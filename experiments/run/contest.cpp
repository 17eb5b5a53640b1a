// SPDX-License-Identifier: Apache-2.0
#include "run/contest.hpp"

#include <algorithm>
#include <chrono>

#include "machine/machine.hpp"
#include "millet/device/host_info.hpp"

namespace millet {

namespace {

constexpr double memory_share = 0.6;  // of what is available, for all contestants together

// Weight copies for a protocol on a cache, as far as memory reaches; 0 when not even one fits.
struct CopyPlan {
  Index copies = 0;
  CacheState cache;
};

CopyPlan plan_copies(Protocol protocol, Index last_level_cache, Index touched_bytes, Index bytes_per_copy,
                     Index fixed_bytes, Index memory) {
  CopyPlan plan;
  const Index wanted =
      protocol == Protocol::cold_graph && last_level_cache > 0
          ? (touched_bytes > 2 * last_level_cache ? 1 : copies_for_cold(last_level_cache, touched_bytes))
          : 1;
  const Index fitting = (memory - fixed_bytes) / std::max<Index>(1, bytes_per_copy);
  plan.copies = std::max<Index>(0, std::min(wanted, fitting));
  plan.cache.copies = plan.copies;
  plan.cache.footprint_bytes = plan.copies * touched_bytes;
  plan.cache.last_level_cache_bytes = last_level_cache;
  plan.cache.cold =
      protocol == Protocol::cold_graph && last_level_cache > 0 && plan.cache.footprint_bytes > 2 * last_level_cache;
  return plan;
}

std::string memory_obstacle(Index needed, Index memory) {
  return fmt::format(
      "needs {} MiB of memory for the weights; {} MiB may be used ({:.0f} % of what is free, shared by all "
      "contestants)",
      needed >> 20, memory >> 20, 100 * memory_share);
}

reference::Product run_oracle(const HostGemm& operands) { return reference::eigen_gemm(operands); }
reference::Product run_oracle(const HostGrouped& operands) { return reference::eigen_grouped_gemm(operands); }

Index expert_count(const GemmProblem&) { return 1; }
Index expert_count(const GroupedProblem& p) { return p.experts; }

// Contestants that are ready to be timed, and where their times go.
struct Field {
  std::vector<Contender> contenders;
  std::vector<Measurement*> measurements;
  std::vector<ProgramOutcome*> programs;  // null for what runs in this process

  void add(Contender contender, Measurement& measurement, ProgramOutcome* program = nullptr) {
    contenders.push_back(std::move(contender));
    measurements.push_back(&measurement);
    programs.push_back(program);
  }
};

template <class P>
void enter_kernel(const Contest<P>& contest, const Choice<P>& choice, const ContestOptions& options, Index memory,
                  Outcome& outcome, Field& field) {
  const Backend& backend = *choice.session->backend;
  const KernelFor<P>& kernel = *choice.selection.kernel;
  const P& problem = contest.operands.problem;
  outcome.name = std::string(backend.name);
  const LayoutDescriptor& layout = *kernel.weight_layout;
  const Index copy_bytes =
      expert_count(problem) * (layout.value_count(problem.n, problem.k) + layout.scale_count(problem.n, problem.k));
  // Packing holds one more copy while it lasts.
  if (!choice.session->on_host())
    memory = static_cast<Index>(memory_share * static_cast<double>(choice.session->device.memory_bytes));
  const CopyPlan plan = plan_copies(options.protocol, choice.session->device.last_level_cache_bytes,
                                    contest.touched_weight_bytes, copy_bytes, copy_bytes, memory);
  if (plan.copies == 0) {
    outcome.obstacle = memory_obstacle(2 * copy_bytes, memory);
    return;
  }
  const auto stop = [&](const Error& error) {
    outcome.obstacle = error.message;
    outcome.broken = error.code != ErrorCode::unavailable;
  };
  auto instance = KernelInstance<P>::create(backend, kernel, choice.selection.policy, contest.operands, plan.copies);
  if (!instance) return stop(instance.error());
  auto comparison = verify_instance(*instance, *contest.expected);
  if (!comparison) return stop(comparison.error());
  outcome.verification = *std::move(comparison);
  outcome.verified = true;
  if (outcome.wrong()) {
    outcome.obstacle = "incorrect: " + outcome.verification.verdict;
    return;
  }
  std::vector<Launch> launches;
  for (Index copy = 0; copy < plan.copies; ++copy) launches.push_back(instance->launch(copy));
  auto contender = make_contender(backend, outcome.name, std::move(launches),
                                  options.protocol == Protocol::cold_graph ? Replay::graph : Replay::eager, plan.cache);
  if (!contender) return stop(contender.error());
  field.add(*std::move(contender), outcome.measurement);
}

template <class P>
void enter_host_baseline(const Contest<P>& contest, const HostBaseline& baseline, const ContestOptions& options,
                         Index memory, HostOutcome& entry, Field& field) {
  Outcome& outcome = entry.outcome;
  outcome.name = baseline.title(entry.threads);
  const auto stop = [&](const Error& error) { outcome.obstacle = error.message; };
  auto run = HostBaselineRun::make(baseline, contest.operands, entry.threads);
  if (!run) return stop(run.error());
  const Index copy_bytes = run->copy_bytes();
  const CopyPlan plan =
      plan_copies(options.protocol, host_device_info(1, "").last_level_cache_bytes, copy_bytes, copy_bytes, 0, memory);
  if (plan.copies == 0) {
    outcome.obstacle = memory_obstacle(copy_bytes, memory);
    return;
  }
  if (auto done = run->prepare(plan.copies, contest.kept); !done) return stop(done.error());
  if (auto done = run->run(0); !done) return stop(done.error());
  outcome.verification =
      reference::compare(run->output(), *contest.expected, {.accumulator = f32_accumulator, .output = OutputType::f32});
  outcome.verified = true;
  if (outcome.wrong()) {
    outcome.obstacle = "incorrect: " + outcome.verification.verdict;
    return;
  }
  field.add(run->contender(outcome.name, plan.cache), outcome.measurement);
}

template <class P>
void enter_reference(const Contest<P>& contest, Outcome& outcome, Field& field) {
  outcome.name = "reference (Eigen f64, decodes)";
  Contender contender;
  contender.name = outcome.name;
  contender.cache.cold = false;
  contender.batches.emplace_back([operands = contest.operands]() -> Expected<double> {
    const auto start = std::chrono::steady_clock::now();
    const reference::Product product = run_oracle(operands);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    return product.y.empty() ? Expected<double>(fail(ErrorCode::unsupported, "the oracle gave no result"))
                             : elapsed.count();
  });
  field.add(std::move(contender), outcome.measurement);
}

void enter_host_roofs(const HostRoofLoops& loops, Protocol protocol, Index weight_bytes, double flops, HostRoofs& roofs,
                      Field& field) {
  roofs.threads = loops.threads();
  if (loops.buffer_bytes() == 0) return;
  roofs.description = loops.description();
  roofs.read_bytes = static_cast<double>(roof_sample_bytes(protocol, weight_bytes));
  const Index steps = roof_sample_steps(loops, flops);
  roofs.flops = loops.multiply_add_flops(steps);
  field.add(read_contender(loops, protocol, weight_bytes), roofs.read);
  field.add(multiply_add_contender(loops, steps), roofs.multiply_add);
}

// The session whose kernels a program's device is timed with; null where there is none in this contest.
template <class P>
const BackendSession* session_on(const Contest<P>& contest, const std::string& device) {
  for (const Choice<P>& choice : contest.kernels) {
    if (choice.session->device.name == device) return choice.session;
  }
  return nullptr;
}

template <class P>
void enter_program(const Contest<P>& contest, const std::string& name, const ContestOptions& options,
                   ProgramOutcome& entry, Field& field) {
  Outcome& outcome = entry.outcome;
  outcome.name = name;
  const BackendSession& session = *session_on(contest, entry.program->device());
  auto made = entry.program->prepare(
      name, program_problem(contest.operands, contest.touched_weight_bytes),
      {options.protocol, session.device.last_level_cache_bytes, session.backend->launches_per_sample});
  if (!made) {
    const bool wrong = made.error().code == ErrorCode::incorrect_result;
    outcome.verified = wrong;
    outcome.verification.correct = false;
    outcome.obstacle = (wrong ? "incorrect: " : "") + made.error().message;
    outcome.broken = made.error().code == ErrorCode::io_error;
    return;
  }
  outcome.name = made->title;
  outcome.detail = made->detail;
  outcome.role = made->role;
  field.add(std::move(made->contender), outcome.measurement, &entry);
}

template <class P>
void enter_programs(const Contest<P>& contest, const ContestOptions& options, ContestResult& result, Field& field) {
  const auto start = std::chrono::steady_clock::now();
  for (const BaselineProgram* program : contest.programs) {
    if (session_on(contest, program->device()) == nullptr) continue;
    program->release();
    for (std::size_t i = 0; i < program->names().size(); ++i) result.programs.push_back({program, {}});
  }
  std::size_t next = 0;  // after all are there: the field points to them
  for (const BaselineProgram* program : contest.programs) {
    if (session_on(contest, program->device()) == nullptr) continue;
    for (const std::string& name : program->names()) {
      enter_program(contest, name, options, result.programs[next++], field);
    }
  }
  result.program_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Whether a program of the field has failed; it is then taken out, and its outcomes say why.
bool drop_failed_programs(Field& field) {
  Field left;
  for (std::size_t i = 0; i < field.contenders.size(); ++i) {
    ProgramOutcome* const entry = field.programs[i];
    if (entry == nullptr || entry->program->failure().empty()) {
      left.add(std::move(field.contenders[i]), *field.measurements[i], entry);
      continue;
    }
    entry->outcome.obstacle = entry->program->failure();
    entry->outcome.broken = true;
  }
  const bool dropped = left.contenders.size() < field.contenders.size();
  field = std::move(left);
  return dropped;
}

}  // namespace

const HostRoofs* ContestResult::host_roofs_of(Index threads) const noexcept {
  const auto found = std::find_if(host_roofs.begin(), host_roofs.end(),
                                  [&](const HostRoofs& roofs) { return roofs.threads == threads; });
  return found == host_roofs.end() ? nullptr : &*found;
}

template <class P>
Expected<reference::Comparison> verify_instance(const KernelInstance<P>& instance, const reference::Product& expected) {
  if (auto filled = instance.fill_output(std::byte{0xFF}); !filled) return fail(std::move(filled));
  if (auto done = instance.run(Stream{}); !done) return fail(std::move(done));
  auto c = instance.output();
  if (!c) return fail(std::move(c));
  const OutputType output = instance.problem().output;
  const float untouched = output == OutputType::bf16 ? BF16{0xFFFF}.value() : __builtin_bit_cast(float, 0xFFFFFFFFU);
  return reference::compare(*c, expected, {.accumulator = instance.kernel().accumulator, .output = output}, untouched);
}

template <class P>
Expected<ContestResult> hold_contest(const Contest<P>& contest, const ContestOptions& options) {
  ContestResult result;
  result.kernels.resize(contest.kernels.size());
  result.baseline_kernels.resize(contest.baseline_kernels.size());
  result.host_baselines.resize(contest.host_baselines.size() * contest.host_threads.size());
  result.reference.resize(contest.time_reference ? 1 : 0);
  result.host_roofs.resize(contest.host_roofs.size());

  // Decoded weights take about four copies' room, but need a fourth of the copies.
  const std::size_t sharers = result.kernels.size() + result.baseline_kernels.size() + result.host_baselines.size();
  const auto memory = static_cast<Index>(memory_share * static_cast<double>(available_memory_bytes()) /
                                         static_cast<double>(std::max<std::size_t>(1, sharers)));
  Field field;
  for (std::size_t i = 0; i < result.kernels.size(); ++i) {
    enter_kernel(contest, contest.kernels[i], options, memory, result.kernels[i], field);
  }
  // Without a kernel to compare with, a baseline's time is of no use.
  if (field.contenders.empty()) return result;
  for (std::size_t i = 0; i < result.baseline_kernels.size(); ++i) {
    enter_kernel(contest, contest.baseline_kernels[i], options, memory, result.baseline_kernels[i], field);
  }
  std::size_t next = 0;
  for (const HostBaseline* baseline : contest.host_baselines) {
    for (const Index threads : contest.host_threads) {
      HostOutcome& entry = result.host_baselines[next++];
      entry.threads = threads;
      enter_host_baseline(contest, *baseline, options, memory, entry, field);
    }
  }
  for (Outcome& outcome : result.reference) enter_reference(contest, outcome, field);
  for (std::size_t i = 0; i < result.host_roofs.size(); ++i) {
    enter_host_roofs(*contest.host_roofs[i], options.protocol, contest.touched_weight_bytes,
                     contest.operands.problem.flops(), result.host_roofs[i], field);
  }
  enter_programs(contest, options, result, field);

  SamplerOptions sampler;
  if (options.protocol == Protocol::hot_eager) sampler = hot_eager_options(options.seconds);
  sampler.seconds = options.seconds;
  sampler.seed = options.seed;
  sampler.untimed_batches = result.programs.empty() ? 0 : 1;
  auto measurements = sample(field.contenders, sampler);
  while (!measurements && drop_failed_programs(field)) measurements = sample(field.contenders, sampler);
  if (!measurements) return fail(std::move(measurements));
  for (std::size_t i = 0; i < field.measurements.size(); ++i) *field.measurements[i] = std::move((*measurements)[i]);
  return result;
}

template Expected<reference::Comparison> verify_instance(const KernelInstance<GemmProblem>&, const reference::Product&);
template Expected<reference::Comparison> verify_instance(const KernelInstance<GroupedProblem>&,
                                                         const reference::Product&);
template Expected<ContestResult> hold_contest(const Contest<GemmProblem>&, const ContestOptions&);
template Expected<ContestResult> hold_contest(const Contest<GroupedProblem>&, const ContestOptions&);

}  // namespace millet
