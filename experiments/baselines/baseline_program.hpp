// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "baselines/line_process.hpp"
#include "millet/dispatch/host_operands.hpp"
#include "millet/measure/sampler.hpp"

namespace millet {

/// A command that times products when it is asked to, and the baselines that it is asked for.
struct BaselineCommand {
  std::string command;  ///< for /bin/sh
  std::vector<std::string> names;
  std::string needs;  ///< what to install where it does not start; may be empty
};

/// The commands of this project's own baselines among `names`: triton, triton_best, triton_retuned, cublaslt and bf16
/// are one Python program, floor and floor_early another program. Their files are looked for in the folder of the
/// running program, then where they were built. MILLET_PYTHON names another interpreter than python3.
[[nodiscard]] std::vector<BaselineCommand> built_in_programs(const std::vector<std::string>& names);

/// Every name that built_in_programs() knows.
[[nodiscard]] const std::vector<std::string>& program_baseline_names();

/// What a program multiplies, as it is told; the values of the operands are its own.
struct ProgramProblem {
  std::string operation;  ///< "dense" or "grouped"
  Index m = 0;            ///< rows of A
  Index n = 0;
  Index k = 0;
  std::string activation;
  std::string output;
  std::string epilogue = "none";
  Index a_div = 0;  ///< this and the next two: of a grouped product
  bool weighted = false;
  std::vector<Index> expert_of_slot;  ///< numbered from 0 over the experts that the routing names; -1: nobody's
  Index touched_weight_bytes = 0;     ///< MX bytes of weights that one call reads
};
[[nodiscard]] ProgramProblem program_problem(const HostGemm& operands, Index touched_weight_bytes);
[[nodiscard]] ProgramProblem program_problem(const HostGrouped& operands, Index touched_weight_bytes);

/// How it is to be timed: as the kernels beside it.
struct ProgramConditions {
  Protocol protocol = Protocol::cold_graph;
  Index last_level_cache_bytes = 0;
  Index launches_per_sample = 1;  ///< at least
};

/// A baseline that has been prepared.
struct ProgramContender {
  std::string title;   ///< for tables; the same for every problem
  std::string detail;  ///< what was chosen for this one; may be empty
  std::string role;    ///< of RecordBaseline
  Contender contender;
};

/// A child process that times baselines on a device, asked over its standard input and output by lines of JSON
/// (docs/baseline-programs.md). Copies share the process. A program that ends, hangs or answers nonsense has failed for
/// good: what is asked of it then returns the first failure again.
class BaselineProgram {
 public:
  /// Starts the program and greets it. \param devices  names of those that kernels are timed on
  /// \param limit  seconds that any answer may take
  /// Errors: unavailable, with the program's own words, when it cannot run here or computes on none of the devices.
  [[nodiscard]] static Expected<BaselineProgram> start(const BaselineCommand& command,
                                                       const std::vector<std::string>& devices, double limit);

  [[nodiscard]] const std::vector<std::string>& names() const noexcept;
  /// That it computes on.
  [[nodiscard]] const std::string& device() const noexcept;
  /// What made it fail for good; empty while it works.
  [[nodiscard]] const std::string& failure() const noexcept;

  /// Makes `name` ready beside what is prepared already. The contender keeps the process.
  /// Errors: unsupported, with the program's reason, when it declines this problem; incorrect_result when its own check
  /// found its product wrong; io_error when it fails.
  [[nodiscard]] Expected<ProgramContender> prepare(const std::string& name, const ProgramProblem& problem,
                                                   const ProgramConditions& conditions) const;

  /// Gives up all that was prepared. A failure shows at the next request.
  void release() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace millet
