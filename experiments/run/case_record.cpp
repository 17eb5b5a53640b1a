// SPDX-License-Identifier: Apache-2.0
#include "run/case_record.hpp"

#include <cctype>
#include <string_view>

#include "arguments.hpp"
#include "machine/build_info.hpp"
#include "machine/machine.hpp"

namespace millet {

namespace {

// A regular expression that matches exactly `name`.
std::string exactly(std::string_view name) {
  std::string expression = "^";
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && std::string_view("/_-").find(c) == std::string_view::npos) {
      expression += '\\';
    }
    expression += c;
  }
  return expression + "$";
}

void append_note(Record& record, const std::string& note) { record.note += (record.note.empty() ? "" : "; ") + note; }

// Adds a baseline that has a time, or says in the note why it has none.
void add_baseline(Record& record, const Outcome& baseline, std::string_view role) {
  if (baseline.measurement.evidence == Evidence::measured) {
    record.baselines.push_back(record_baseline(baseline.name, std::string(role), baseline.measurement));
    if (!baseline.detail.empty()) record.baselines.back().detail = baseline.detail;
  } else if (!baseline.obstacle.empty()) {
    append_note(record, fmt::format("no baseline {}: {}", baseline.name, baseline.obstacle));
  }
}

}  // namespace

RecordCommon common_record(const RunOptions& options, const BackendSession& session) {
  RecordCommon common;
  common.ceilings = session.ceilings;
  Record& record = common.record;
  record.build = build_info();
  record.build_id = build_id(record.build);
  const Machine machine = inspect_machine();
  record.env.device = session.device.name;
  record.env.architecture = session.device.architecture;
  record.env.compute_units = session.device.compute_units;
  record.env.runtime = session.device.runtime;
  record.env.cpu = machine.cpu;
  record.env.cores = machine.cores;
  record.env.affinity = machine.affinity;
  record.env.governor = machine.governor;
  record.env.os = machine.container.empty() ? machine.os : machine.os + " in " + machine.container;
  record.env.huge_pages = machine.huge_pages;
  record.env.warnings = doubts(machine, session.threads());
  if (session.device.last_level_cache_bytes <= 0) {
    record.env.warnings.emplace_back("the size of the last-level cache is unknown: no rotation can be called cold");
  }
  record.run.seed = options.operands.seed;
  record.run.command_line = options.command_line;
  record.run.start = utc_now();
  record.run.host_hash = machine.host_hash;
  record.run.load = machine.load;
  record.clock.source = session.on_host() ? "steady_clock" : session.device.runtime;
  record.tuned.rejected_rows = static_cast<Index>(session.tuned.rejected().size());
  record.tags = options.tags;
  return common;
}

CaseWork work_of(const DenseCase& planned) { return {{planned.problem.bytes(), planned.problem.flops()}, 0}; }

CaseWork work_of(const GroupedCase& planned) {
  return {{planned.problem.bytes(planned.routed.used), planned.problem.flops()}, planned.routed.used};
}

std::string repro_command(const RunOptions& options, const ShapeCases& shape, const std::string& case_name, Index m,
                          std::string_view backend, std::string_view kernel, int policy) {
  std::string baselines;
  for (const std::string& baseline : options.baselines) baselines += (baselines.empty() ? "" : ",") + baseline;
  std::string command = fmt::format("millet run {} --m {} --filter {} --backend {}", shape.selector, m,
                                    shell_word(exactly(case_name)), backend);
  if (!baselines.empty()) command += " --baseline " + baselines;
  for (const auto& [name, program] : options.baseline_programs) {
    command += " --baseline-program " + shell_word(fmt::format("{}={}", name, program));
  }
  command += fmt::format(" --protocol {} --seed {} --activation {} --output {} --scale-mode {} --experts {}",
                         options.protocol == Protocol::cold_graph ? "cold" : "hot", options.operands.seed,
                         to_string(options.operands.activation), to_string(options.operands.output),
                         to_string(options.operands.scale_mode),
                         options.operands.resident_experts == ResidentExperts::all ? "all" : "used");
  if (!kernel.empty()) command += fmt::format(" --kernel {} --policy {}", kernel, policy);
  return command;
}

template <class P>
Record planned_record(const RecordCommon& common, const RunOptions& options, const ShapeCases& shape,
                      const PlannedCase<P>& planned, const Entrant<P>& entrant, const CaseWork& work) {
  Record record = common.record;
  record.subject = entrant.subject;
  record.case_id = entrant.id;
  record.note = entrant.decline;
  record.work.bytes = work.work.bytes;
  record.work.flops = work.work.flops;
  record.work.touched_experts = work.touched_experts;
  record.roof = record_roof(work.work, common.ceilings, 0);
  const Selection<P>& selection = entrant.choice.selection;
  if (selection.row != nullptr) {
    record.tuned.row = fmt::format("{}:{}", entrant.choice.session->tuned_name, selection.row->line);
  }
  record.repro = repro_command(options, shape, planned.name, planned.m, entrant.subject.backend, entrant.subject.kernel,
                               selection.policy);
  return record;
}

void add_outcome(Record& record, const RecordCommon& common, const ContestResult& result, std::size_t index,
                 const BackendSession& own, const std::vector<const BackendSession*>& baselines, Protocol protocol) {
  const Outcome& outcome = result.kernels[index];
  if (outcome.verified) {
    const reference::Comparison& found = outcome.verification;
    record.verify = {"oracle", found.max_ratio, found.mismatch_fraction, found.correct, found.verdict};
  }
  if (outcome.measurement.evidence != Evidence::measured) {
    append_note(record, outcome.obstacle);
    return;
  }
  const Measurement& measurement = outcome.measurement;
  record.evidence = measurement.evidence;
  record.result = record_result(measurement);
  record.cache = record_cache(measurement.cache, protocol);
  record.clock.before_ghz = measurement.clock_before_ghz;
  record.clock.after_ghz = measurement.clock_after_ghz;
  record.clock.throttled = measurement.throttled();
  const HostRoofs* const rounds = own.on_host() ? result.host_roofs_of(own.threads()) : nullptr;
  const Ceilings ceilings = rounds == nullptr ? common.ceilings : ceilings_of_case(common.ceilings, *rounds, protocol);
  record.roof = record_roof({record.work.bytes, record.work.flops}, ceilings, record.result.median_ns);
  for (const HostOutcome& host : result.host_baselines) {
    if (own.on_host() && host.threads == own.threads()) add_baseline(record, host.outcome, "performance");
  }
  for (std::size_t i = 0; i < result.baseline_kernels.size(); ++i) {
    if (baselines[i]->backend == own.backend) continue;
    if (baselines[i]->device.name == own.device.name && baselines[i]->device.architecture == own.device.architecture) {
      add_baseline(record, result.baseline_kernels[i], "performance");
    } else {
      append_note(record,
                  fmt::format("no baseline {}: it computes on another device", result.baseline_kernels[i].name));
    }
  }
  for (const ProgramOutcome& program : result.programs) {
    if (program.program->device() == own.device.name) add_baseline(record, program.outcome, program.outcome.role);
  }
  if (!own.on_host()) return;
  for (const Outcome& reference : result.reference) add_baseline(record, reference, "correctness");
}

template Record planned_record(const RecordCommon&, const RunOptions&, const ShapeCases&,
                               const PlannedCase<GemmProblem>&, const Entrant<GemmProblem>&, const CaseWork&);
template Record planned_record(const RecordCommon&, const RunOptions&, const ShapeCases&,
                               const PlannedCase<GroupedProblem>&, const Entrant<GroupedProblem>&, const CaseWork&);

}  // namespace millet
