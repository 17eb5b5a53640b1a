// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>

#include "millet/report/html_report.hpp"
#include "millet/report/roofline_table.hpp"
#include "millet/report/speedup_table.hpp"
#include "near_names.hpp"
#include "records_files.hpp"
#include "subcommands.hpp"
#include "weights/weights_report.hpp"

namespace millet {

namespace {

struct ReportArguments {
  std::vector<std::string> files;
  std::string table = "all";
  std::string html;
  bool markdown = false;
  bool csv = false;
  bool strict = false;
};

Expected<ExitCode> print_report(const ReportArguments& arguments) {
  const std::vector<std::string> tables{"all", "speedup", "roofline", "weights"};
  if (std::find(tables.begin(), tables.end(), arguments.table) == tables.end()) {
    return tl::unexpected(unknown_name("table", arguments.table, tables));
  }
  if (arguments.markdown && arguments.csv) {
    return fail(ErrorCode::invalid_argument, "--md and --csv: one form at a time; run millet report twice");
  }
  if (arguments.csv && arguments.table == "all") {
    return fail(ErrorCode::invalid_argument, "--csv: a file holds one table; add --table speedup, roofline or weights");
  }
  if (!arguments.html.empty() && arguments.table != "all") {
    return fail(ErrorCode::invalid_argument, "--html: the file holds every table; leave out --table {}",
                arguments.table);
  }
  auto read = read_records("report", arguments.files, arguments.strict);
  if (!read) return fail(std::move(read));
  const std::vector<Record> records = *std::move(read);
  const ReportFormat format = arguments.markdown ? ReportFormat::markdown
                              : arguments.csv    ? ReportFormat::csv
                                                 : ReportFormat::terminal;
  const bool layers = std::any_of(records.begin(), records.end(), is_layer);
  if (arguments.table == "weights" && !layers) {
    return fail(ErrorCode::parse_error, "report: no record is of a model's weights; millet run --weights writes those");
  }
  if (!arguments.html.empty()) {
    const std::string weights = layers ? weights_report(records, {}, ReportFormat::html) : "";
    if (auto written = write_text_file(arguments.html, html_report(records, weights)); !written) {
      return fail(std::move(written));
    }
    fmt::print(stderr, "millet: {} records are in {}\n", records.size(), arguments.html);
    if (!arguments.markdown && !arguments.csv) return ExitCode::ok;
  }
  const bool all = arguments.table == "all";
  std::string text;
  if (all || arguments.table == "speedup") text += speedup_report(records, format);
  if (all) text += '\n';
  if (all || arguments.table == "roofline") text += roofline_report(records, format);
  if (all && layers) text += '\n';
  if (layers && (all || arguments.table == "weights")) text += weights_report(records, {}, format);
  if (auto printed = print_text(text); !printed) return fail(std::move(printed));
  return ExitCode::ok;
}

}  // namespace

void add_report(CLI::App& app, Invocation& invocation) {
  auto* const command = app.add_subcommand("report", "Print the tables of results files");
  const auto arguments = std::make_shared<ReportArguments>();
  command->add_option("files", arguments->files, "records.jsonl of one or more runs")->required();
  command->add_option("--table", arguments->table, "speedup, roofline, weights or all (default)");
  command->add_flag("--md", arguments->markdown, "Markdown instead of aligned columns");
  command->add_flag("--csv", arguments->csv, "CSV with one row a record; needs --table");
  command->add_option("--html", arguments->html,
                      "Write one self-contained page with pictures to this file, instead of printing tables");
  command->add_flag("--strict", arguments->strict, "A line that is no record is an error");
  command->footer(exit_code_help);
  command->callback([arguments, &invocation] {
    const auto code = print_report(*arguments);
    invocation.code = code ? *code : report_error(code.error());
  });
}

}  // namespace millet
