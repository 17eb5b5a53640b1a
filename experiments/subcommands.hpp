// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "exit_code.hpp"

namespace millet {

/// What every subcommand gets beside its own options.
struct Invocation {
  std::string command_line;      ///< as typed, quoted for a shell
  ExitCode code = ExitCode::ok;  ///< set by the subcommand that ran
};

// Each adds one subcommand to `app`; its callback sets invocation.code after an error has been printed.
void add_run(CLI::App& app, Invocation& invocation);
void add_list(CLI::App& app, Invocation& invocation);
void add_verify(CLI::App& app, Invocation& invocation);
void add_tune(CLI::App& app, Invocation& invocation);
void add_report(CLI::App& app, Invocation& invocation);
void add_compare(CLI::App& app, Invocation& invocation);
void add_roofline(CLI::App& app, Invocation& invocation);
void add_accuracy(CLI::App& app, Invocation& invocation);
void add_doctor(CLI::App& app, Invocation& invocation);

/// Prints "millet: <message>" on stderr, in one line, and gives the exit code for it.
[[nodiscard]] ExitCode report_error(const Error& error);

/// Runs the program but for what only main may do (Kokkos must be initialized around it).
[[nodiscard]] int run_command_line(int argc, char** argv);

}  // namespace millet
