// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "near_names.hpp"
#include "subcommands.hpp"

namespace millet {

namespace {

// The parser's message for a mistake, in one line, with near names for a word that it does not know.
std::string describe(const CLI::ParseError& error, const CLI::App& app, std::span<const char* const> words) {
  std::string text = error.what();
  for (char& c : text) c = c == '\n' ? ' ' : c;
  std::vector<std::string> names;
  for (const CLI::App* subcommand : app.get_subcommands({})) names.push_back(subcommand->get_name());
  const bool no_subcommand = app.get_subcommands().empty();
  if (no_subcommand && words.size() > 1 && words[1][0] != '-')
    return unknown_name("subcommand", words[1], names).message;
  if (no_subcommand) return text + "; see millet --help";
  const CLI::App* const subcommand = app.get_subcommands().front();
  std::string suggestions;
  std::vector<std::string> options;
  for (const CLI::Option* option : subcommand->get_options()) options.push_back("--" + option->get_single_name());
  for (const char* word : words) {
    const std::string name = std::string(word).substr(0, std::string(word).find('='));
    if (!name.starts_with("--") || std::find(options.begin(), options.end(), name) != options.end()) continue;
    for (const std::string& near : near_names(name, options)) suggestions += (suggestions.empty() ? "" : " or ") + near;
  }
  if (!suggestions.empty()) text += "; did you mean " + suggestions + "?";
  return text + "; see millet " + subcommand->get_name() + " --help";
}

}  // namespace

ExitCode report_error(const Error& error) {
  std::string line = error.message;
  for (char& c : line) c = c == '\n' || c == '\r' ? ' ' : c;
  fmt::print(stderr, "millet: {}\n", line);
  return exit_code_of(error.code);
}

int run_command_line(int argc, char** argv) {
  std::signal(SIGXFSZ,
              SIG_IGN);  // a limit on the size of files is then an error of the write, which keeps earlier records
  CLI::App app{"MX-FP8 kernels for LLM decode: run experiments, check kernels, print tables.", "millet"};
  app.require_subcommand(1);
  app.footer(exit_code_help);
  Invocation invocation;
  const std::span<const char* const> words(argv, static_cast<std::size_t>(argc));
  invocation.command_line = shell_line(words);
  add_run(app, invocation);
  add_list(app, invocation);
  add_verify(app, invocation);
  add_tune(app, invocation);
  add_report(app, invocation);
  add_compare(app, invocation);
  add_roofline(app, invocation);
  add_accuracy(app, invocation);
  add_doctor(app, invocation);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(error);  // --help
    fmt::print(stderr, "millet: {}\n", describe(error, app, words));
    return static_cast<int>(ExitCode::usage);
  } catch (const std::bad_alloc&) {
    return static_cast<int>(report_error({ErrorCode::io_error, "not enough memory; run fewer or smaller shapes"}));
  }
  return static_cast<int>(invocation.code);
}

}  // namespace millet
