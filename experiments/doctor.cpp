// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "baselines/baseline_program.hpp"
#include "baselines/host_baseline.hpp"
#include "machine/build_info.hpp"
#include "machine/machine.hpp"
#include "millet/measure/sampler.hpp"
#include "millet/report/text_grid.hpp"
#include "operands/generate.hpp"
#include "operands/workload.hpp"
#include "run/backend_session.hpp"
#include "subcommands.hpp"

namespace millet {

namespace {

std::string gib(Index bytes) { return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / 0x1p30); }

std::string or_unknown(const std::string& text) { return text.empty() ? "unknown" : text; }

// A 1 x 1 product whose answer is known without any of this project's code: 32 * (1 * 1) = 32.
std::string examine_reference() {
  MxMatrix<> ones(RowMajor(1, MxBlock::k), row_major_scales(1, MxBlock::k));
  std::fill(ones.values().begin(), ones.values().end(), E4M3::round(1.0F));
  ones.scales()[0] = E8M0{E8M0::bias};
  HostActivations a;
  a.mx = ones;
  GemmProblem problem;
  problem.m = 1;
  problem.n = 1;
  problem.k = MxBlock::k;
  const reference::Product product = reference::eigen_gemm({problem, &a, &ones});
  return product.y.size() == 1 && product.y[0] == 32.0 ? "Eigen f64 oracle: answers" : "Eigen f64 oracle: WRONG ANSWER";
}

std::string clock_now() {
  double best = 0;
  for (int i = 0; i < 5; ++i) best = std::max(best, probe_clock_ghz());
  return fmt::format("{:.2f} GHz effective, now", best);
}

// How many rows of a tuned table are for this device, and how many were refused.
std::string describe_tuned(const BackendSession& session) {
  const auto& rows = session.tuned.rows();
  Index here = 0;
  for (const TunedRow& row : rows) {
    here += row.key.arch == session.device.architecture && row.key.units == session.device.compute_units ? 1 : 0;
  }
  const std::size_t all = rows.size() + session.tuned.rejected().size();
  if (all == 0) return "no tuned rows: kernels are chosen by cost model or order";
  return fmt::format("{} of {} tuned rows are for {}/{} ({:.0f} %), {} refused", here, all, session.device.architecture,
                     session.device.compute_units, 100.0 * static_cast<double>(here) / static_cast<double>(all),
                     session.tuned.rejected().size());
}

ExitCode print_doctor() {
  const Machine machine = inspect_machine();
  const RecordBuild build = build_info();
  TextGrid grid;
  grid.header = {"what", "found"};
  grid.left_columns = 2;
  const auto add = [&](std::string what, std::string found) {
    grid.rows.push_back({std::move(what), std::move(found)});
  };
  add("cpu", or_unknown(machine.cpu));
  add("isa", fmt::format("{} ({})", to_string(host_isa()), host_device_info(1, "").architecture));
  add("cores",
      fmt::format("{} online, this process may use {} ({})", machine.cores, machine.affinity_count, machine.affinity));
  add("clock", clock_now());
  add("governor", or_unknown(machine.governor));
  add("load", fmt::format("{:.2f} (1 min)", machine.load));
  add("last-level cache", machine.last_level_cache_bytes > 0
                              ? fmt::format("{} MiB", machine.last_level_cache_bytes >> 20)
                              : "unknown: no rotation can be called cold");
  add("memory", fmt::format("{}, {} free", gib(machine.memory_bytes), gib(machine.available_bytes)));
  add("huge pages", or_unknown(machine.huge_pages));
  add("subnormals", machine.subnormals ? "honoured (MXCSR: DAZ and FTZ clear)" : "FLUSHED (MXCSR: DAZ or FTZ set)");
  add("system", machine.os + (machine.container.empty() ? "" : ", container: " + machine.container) +
                    (machine.virtual_machine ? ", virtual machine" : ""));
  add("build", fmt::format("{}{}, {}, {}{}", build.git, build.dirty ? " (modified)" : "", build.compiler, build.type,
                           build.sanitizer.empty() ? "" : ", sanitizer " + build.sanitizer));
  for (const auto& [name, version] : build.libraries) add("library", name + " " + version);
  add("reference", examine_reference());
  for (const std::string& name : host_baseline_names()) {
    const auto baseline = HostBaseline::load(name);
    add("baseline " + name, baseline ? baseline->title(1) : baseline.error().message);
  }
  for (const BaselineCommand& program : built_in_programs(program_baseline_names())) {
    add(fmt::format("baselines {}", fmt::join(program.names, ", ")),
        "a program, started when asked for: " + program.command);
  }

  std::vector<std::string> problems = doubts(machine, 1);
  for (const std::string& name : backend_names()) {
    const auto sessions = open_backends({name}, Purpose::results, false);
    if (!sessions) {
      add("backend " + name, sessions.error().message);
      continue;
    }
    const BackendSession& session = sessions->front();
    add("backend " + name,
        fmt::format("available: {}, {} unit{}, {}", session.device.architecture, session.device.compute_units,
                    session.device.compute_units == 1 ? "" : "s", session.device.runtime));
    if (session.backend->probe != nullptr) {
      const auto probed = session.backend->probe();
      add("probe " + name,
          probed ? "each k takes the scale of its block; NaN and extreme scales as specified" : probed.error().message);
      if (!probed) problems.push_back(probed.error().message);
    }
    add("tuned table " + name, describe_tuned(session));
    for (const std::string& row : session.tuned.rejected()) problems.push_back(row);
  }
  fmt::print("{}\n", to_terminal(grid));
  if (problems.empty()) fmt::print("Nothing here makes times doubtful.\n");
  for (const std::string& problem : problems) fmt::print("warning: {}\n", problem);
  return ExitCode::ok;
}

}  // namespace

void add_doctor(CLI::App& app, Invocation& invocation) {
  auto* const command = app.add_subcommand("doctor", "What this machine and build are, and what makes times doubtful");
  command->footer(exit_code_help);
  command->callback([&invocation] { invocation.code = print_doctor(); });
}

}  // namespace millet
