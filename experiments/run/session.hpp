// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <set>
#include <span>
#include <string>

#include "exit_code.hpp"
#include "millet/report/record.hpp"
#include "run/run_options.hpp"

namespace millet {

/// What a caller puts in place of the session's own ways. Empty ones change nothing.
struct SessionHooks {
  /// Gets the records of each case that was timed; its answer is shown as the case's outcome.
  std::function<Expected<std::string>(std::span<const Record>)> case_done;
  /// With resume: the case ids that the records of the results file make unnecessary.
  std::function<std::set<std::string>(std::span<const Record>)> done;
  /// Instead of the tables in the end, also of a run that was interrupted.
  std::function<Expected<void>()> finish;
};

/// Runs every case: prepares, verifies, times, appends one record for each contestant to the results file, and in the
/// end prints the tables and writes them into the folder. Returns incorrect when any kernel or baseline was,
/// interrupted after a SIGINT. Errors: those of the backends, the plan and the file.
[[nodiscard]] Expected<ExitCode> run_session(const RunOptions& options, const SessionHooks& hooks = {});

}  // namespace millet
