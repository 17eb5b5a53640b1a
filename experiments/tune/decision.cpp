// SPDX-License-Identifier: Apache-2.0
#include "tune/decision.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include "run/plan.hpp"

namespace millet {

namespace {

// A candidate of a contest, by the names that records have for it.
struct Candidate {
  std::string kernel;
  int policy = 0;
  const Record* record = nullptr;

  [[nodiscard]] std::string name() const { return fmt::format("{} policy {}", kernel, policy); }
  [[nodiscard]] double median_ns() const noexcept { return record->result.median_ns; }
};

// The number of the policy that a kernel calls `name`, or nothing.
std::optional<int> policy_number(const Backend& backend, const RecordCase& subject) {
  const auto search = [&](const auto& kernels) -> std::optional<int> {
    for (const auto& kernel : kernels) {
      for (int policy = 0; kernel.id == subject.kernel && policy < kernel.policy_count; ++policy) {
        if (kernel.policy_name(policy) == subject.policy) return policy;
      }
    }
    return std::nullopt;
  };
  return subject.operation == "dense" ? search(backend.gemm_kernels) : search(backend.grouped_kernels);
}

TunedKey key_of(const RecordCase& subject, const DeviceInfo& device) {
  const auto activation = parse_activation_format(subject.activation).value_or(ActivationFormat::mx);
  if (subject.operation == "dense") {
    GemmProblem problem;
    problem.m = subject.m;
    problem.n = subject.n;
    problem.k = subject.k;
    problem.activation = activation;
    return tuned_key(device, problem);
  }
  GroupedProblem problem;
  problem.experts = subject.experts;
  problem.slots = subject.slots;
  problem.n = subject.n;
  problem.k = subject.k;
  problem.activation = activation;
  if (subject.epilogue) {
    problem.epilogue = parse_named_epilogue(*subject.epilogue).value_or(NamedEpilogue{}).epilogue;
  }
  return tuned_key(device, problem);
}

struct BaselineTime {
  std::string name;
  double median_ns = 0;
};

std::optional<BaselineTime> time_of(const TuneBaseline& baseline, const Candidate& default_choice,
                                    const std::vector<Candidate>& candidates) {
  if (baseline.name == "default") return BaselineTime{default_choice.name(), default_choice.median_ns()};
  for (const Candidate& candidate : candidates) {
    if (candidate.kernel == baseline.name && candidate.policy == baseline.policy && candidate.record->timed()) {
      return BaselineTime{candidate.name(), candidate.median_ns()};
    }
  }
  for (const RecordBaseline& timed : default_choice.record->baselines) {
    if (timed.name == baseline.name || timed.name.starts_with(baseline.name + " (")) {
      return BaselineTime{timed.name, timed.median_ns};
    }
  }
  return std::nullopt;
}

// What a reader must know about the times of a contest.
std::string doubts_about(const Candidate& chosen) {
  std::string text;
  if (chosen.record->cache.mode == "warm") {
    text += fmt::format("; weights were warm, {} copies", chosen.record->cache.copies);
  }
  if (chosen.record->clock.throttled) text += "; the clock fell while this was measured";
  return text;
}

std::string toolchain_of(const Record& record) {
  return fmt::format("{} {}; {}", record.build.compiler, record.build.type, record.env.runtime);
}

}  // namespace

std::vector<TuneContest> contests_of(std::span<const Record> records, const BackendSession& session,
                                     std::string_view build) {
  struct Open {
    std::string problem;
    std::string start;
    std::set<std::string> ids;
    TuneContest contest;
  };
  std::vector<Open> open;
  for (const Record& record : records) {
    if (record.build_id != build || record.subject.backend != session.backend->name ||
        record.env.device != session.device.name || record.env.architecture != session.device.architecture ||
        record.env.compute_units != session.device.compute_units) {
      continue;
    }
    const std::string problem = problem_id(record.subject);
    auto found = std::find_if(open.begin(), open.end(), [&](const Open& o) { return o.problem == problem; });
    if (found == open.end()) found = open.insert(open.end(), Open{problem, record.run.start, {}, {}});
    // A later run, or the same candidate again: a new contest, of whose times none may be compared with the old ones.
    if (found->start != record.run.start || found->ids.contains(record.case_id)) {
      *found = Open{problem, record.run.start, {}, {}};
    }
    found->ids.insert(record.case_id);
    found->contest.push_back(&record);
  }
  std::vector<TuneContest> contests;
  for (Open& one : open) contests.push_back(std::move(one.contest));
  return contests;
}

Expected<TuneBaseline> parse_tune_baseline(std::string_view text, const Backend& backend) {
  const auto colon = text.find(':');
  TuneBaseline baseline{std::string(text.substr(0, colon)), 0};
  int policies = 0;
  for (const GemmKernel& kernel : backend.gemm_kernels) {
    if (kernel.id == baseline.name) policies = kernel.policy_count;
  }
  for (const GroupedKernel& kernel : backend.grouped_kernels) {
    if (kernel.id == baseline.name) policies = kernel.policy_count;
  }
  if (colon == std::string_view::npos) return baseline;
  const std::string_view number = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), baseline.policy);
  if (error != std::errc() || end != number.data() + number.size() || baseline.policy < 0 ||
      baseline.policy >= policies) {
    return fail(ErrorCode::invalid_argument, "--baseline: '{}': {}; write kernel or kernel:policy", text,
                policies == 0 ? fmt::format("backend '{}' has no kernel '{}'", backend.name, baseline.name)
                              : fmt::format("kernel '{}' has policies [0, {})", baseline.name, policies));
  }
  return baseline;
}

Decision decide(const TuneContest& contest, const BackendSession& session, const TuneBaseline& baseline) {
  std::vector<Candidate> candidates;
  for (const Record* record : contest) {
    const auto policy = policy_number(*session.backend, record->subject);
    if (policy) candidates.push_back({record->subject.kernel, *policy, record});
  }
  if (candidates.empty()) return {std::nullopt, "no row: no kernel accepts this problem", false};
  const Candidate& default_choice = candidates.front();
  if (!default_choice.record->timed()) {
    return {std::nullopt,
            fmt::format("no row: the default choice {} has no time: {}", default_choice.name(),
                        default_choice.record->note),
            false};
  }
  const auto baseline_time = time_of(baseline, default_choice, candidates);
  if (!baseline_time) {
    return {std::nullopt,
            fmt::format("no row: baseline {} has no time; {}", baseline.name,
                        default_choice.record->note.empty() ? "see the records" : default_choice.record->note),
            false};
  }

  const Candidate* fastest = nullptr;  // of those beside the default choice
  std::size_t others = 0;
  for (const Candidate& candidate : candidates) {
    if (&candidate == &default_choice || !candidate.record->timed()) continue;
    ++others;
    if (fastest == nullptr || candidate.median_ns() < fastest->median_ns()) fastest = &candidate;
  }
  Decision decision;
  const Candidate* chosen = &default_choice;
  if (fastest == nullptr) {
    decision.reason = fmt::format("default {}: nothing else has a time", default_choice.name());
  } else {
    const double gain = default_choice.median_ns() / fastest->median_ns();
    const bool apart = fastest->record->result.ci95_hi_ns < default_choice.record->result.ci95_lo_ns;
    const auto kept = [&](const std::string& why) {
      return fmt::format("kept default {}: the best of {} others, {}, {}", default_choice.name(), others,
                         fastest->name(), why);
    };
    if (gain <= 1) {
      decision.reason = kept(fmt::format("took {:.3f} times as long", 1 / gain));
    } else if (gain <= tuning_margin) {
      decision.reason = kept(fmt::format("gained {:.1f} %, and a change takes more than 3 %", 100 * (gain - 1)));
    } else if (!apart) {
      decision.reason = kept(fmt::format("gained {:.1f} %, but the 95 % intervals touch", 100 * (gain - 1)));
    } else {
      chosen = fastest;
      decision.reason =
          fmt::format("{} is {:.2f} times as fast as default {} ({:.3f} us), best of {} others", fastest->name(), gain,
                      default_choice.name(), default_choice.median_ns() * 1e-3, others);
    }
  }
  decision.kept_default = chosen == &default_choice;
  decision.reason += doubts_about(*chosen);

  const Record& record = *chosen->record;
  TunedRow row;
  row.key = key_of(record.subject, session.device);
  row.kernel = chosen->kernel;
  row.policy = chosen->policy;
  row.median_us = chosen->median_ns() * 1e-3;
  row.spread_pct = 50.0 * (record.result.ci95_hi_ns - record.result.ci95_lo_ns) / record.result.median_ns;
  row.baseline = baseline_time->name;
  row.baseline_us = baseline_time->median_ns * 1e-3;
  row.use = baseline_time->median_ns > tuning_margin * chosen->median_ns();
  row.toolchain = toolchain_of(record);
  row.commit = record.build.git + (record.build.dirty ? "-dirty" : "");
  row.date = record.run.start.substr(0, 10);
  decision.row = std::move(row);
  return decision;
}

}  // namespace millet
