// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "exit_code.hpp"
#include "run/run_options.hpp"

namespace millet {

/// Runs every case: prepares, verifies, times, appends one record for each backend to <out>/records.jsonl, and in the
/// end prints the tables and writes them beside it. Returns incorrect when any kernel or baseline was, interrupted
/// after a SIGINT. Errors: those of the backends, the plan and the file.
[[nodiscard]] Expected<ExitCode> run_session(const RunOptions& options);

}  // namespace millet
