// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "arguments.hpp"
#include "millet/report/comparison_table.hpp"
#include "records_files.hpp"
#include "subcommands.hpp"

namespace millet {

namespace {

struct CompareArguments {
  std::string before;
  std::string after;
  std::string least_effect = "3%";
  std::string alpha = "1%";
  bool steadiness = false;
  bool markdown = false;
  bool csv = false;
  bool strict = false;
};

// The part of a record's samples that a test of steadiness takes for one run.
Record half_of(const Record& record, bool second) {
  Record half = record;
  std::vector<double>& samples = half.result.samples_ns;
  const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
  samples = second ? std::vector<double>(middle, samples.end()) : std::vector<double>(samples.begin(), middle);
  half.result.n = static_cast<Index>(samples.size());
  half.result.median_ns = summarize(samples).median;
  half.baselines.clear();  // their samples are not kept
  return half;
}

Expected<ExitCode> print_comparison(const CompareArguments& arguments) {
  ComparisonOptions options;
  const auto effect = parse_percent("--min-effect", arguments.least_effect);
  if (!effect) return tl::unexpected(effect.error());
  options.least_effect = *effect;
  const auto alpha = parse_percent("--alpha", arguments.alpha);
  if (!alpha) return tl::unexpected(alpha.error());
  options.alpha = *alpha;
  if (options.alpha <= 0) {
    return fail(ErrorCode::invalid_argument, "--alpha: at 0% nothing could ever be flagged; write for example 1%");
  }
  if (arguments.markdown && arguments.csv) {
    return fail(ErrorCode::invalid_argument, "--md and --csv: one form at a time; run millet compare twice");
  }
  if (arguments.after.empty() != arguments.steadiness) {
    return fail(ErrorCode::invalid_argument, "compare: wanted two files, or one and --aa");
  }
  auto before = read_records("compare", {arguments.before}, arguments.strict);
  if (!before) return fail(std::move(before));
  std::vector<Record> after;
  if (arguments.steadiness) {
    for (Record& record : *before) {
      after.push_back(half_of(record, true));
      record = half_of(record, false);
    }
  } else {
    auto read = read_records("compare", {arguments.after}, arguments.strict);
    if (!read) return fail(std::move(read));
    after = *std::move(read);
  }
  const RunComparison comparison = compare_runs(*before, after, options);
  const ReportFormat format = arguments.markdown ? ReportFormat::markdown
                              : arguments.csv    ? ReportFormat::csv
                                                 : ReportFormat::terminal;
  if (auto printed = print_text(comparison_report(comparison, options, format)); !printed) {
    return fail(std::move(printed));
  }
  if (!comparison.wrong.empty()) return ExitCode::incorrect;
  if (comparison.compared.empty()) {
    return fail(ErrorCode::unknown_name,
                "compare: no case was timed in both runs; the table above says why for each of {} records",
                comparison.unmatched.size());
  }
  return comparison.count(Change::slower) > 0 ? ExitCode::slower : ExitCode::ok;
}

}  // namespace

void add_compare(CLI::App& app, Invocation& invocation) {
  auto* const command = app.add_subcommand("compare", "Tell which cases became slower or faster between two runs");
  const auto arguments = std::make_shared<CompareArguments>();
  command->add_option("before", arguments->before, "records.jsonl of the run that is the measure")->required();
  command->add_option("after", arguments->after, "records.jsonl of the run that is judged");
  command->add_option("--min-effect", arguments->least_effect, "Differences up to this are none: 3% (default)");
  command->add_option("--alpha", arguments->alpha,
                      "Chance that two runs of one build flag anything, all cases together: 1% (default)");
  command->add_flag("--aa", arguments->steadiness,
                    "With one file: its first samples against its last, to see whether the machine was steady");
  command->add_flag("--md", arguments->markdown, "Markdown instead of aligned columns");
  command->add_flag("--csv", arguments->csv, "CSV with one row a case");
  command->add_flag("--strict", arguments->strict, "A line that is no record is an error");
  command->footer(exit_code_help);
  command->callback([arguments, &invocation] {
    const auto code = print_comparison(*arguments);
    invocation.code = code ? *code : report_error(code.error());
  });
}

}  // namespace millet
