// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>

#include "arguments.hpp"
#include "millet/report/log_scale.hpp"
#include "millet/report/markup.hpp"
#include "millet/report/page.hpp"
#include "millet/report/roofline_plot.hpp"
#include "millet/report/roofline_table.hpp"
#include "records_files.hpp"
#include "run/backend_session.hpp"
#include "subcommands.hpp"

namespace millet {

namespace {

struct RooflineArguments {
  std::vector<std::string> files;
  std::string backends;
  std::string budget = "2s";
  std::string html;
  std::string svg;
  bool markdown = false;
  bool csv = false;
  bool strict = false;
};

/// A device with the roofs that were measured now, and the records that stand under them.
struct MeasuredDevice {
  BackendSession session;
  std::vector<Record> records;

  [[nodiscard]] std::string title() const {
    const Index threads = session.threads();
    return fmt::format("Roofline of {}, {}{}, backend {}", session.device.name, session.device.architecture,
                       threads == 0 ? "" : fmt::format(", {} thread{}", threads, threads == 1 ? "" : "s"),
                       session.backend->name);
  }
};

// Why a record has no place under the roofs of `session`, or nothing.
std::string why_elsewhere(const Record& record, const BackendSession& session) {
  if (record.env.device != session.device.name || record.env.architecture != session.device.architecture) {
    return fmt::format("it is of another device: {}, {}", record.env.device, record.env.architecture);
  }
  if (record.subject.threads != session.threads()) {
    return fmt::format("it is of {} threads, the roofs of {}", record.subject.threads, session.threads());
  }
  return "";
}

TextGrid roofs_grid(const Ceilings& ceilings) {
  TextGrid grid;
  grid.header = {"roof", "working set", "rate"};
  for (const ReadRate& rate : ceilings.read_by_level) {
    grid.rows.push_back(
        {"read, cache", fmt::format("{} KiB", rate.footprint_bytes >> 10), with_prefix(rate.bytes_per_second) + "B/s"});
  }
  grid.rows.push_back(
      {"read, main memory", "over twice the last-level cache", with_prefix(ceilings.read_bytes_per_second) + "B/s"});
  grid.rows.push_back({"multiply-add", "registers", with_prefix(ceilings.fma_flops_per_second) + "FLOP/s"});
  grid.rows.push_back(
      {"ridge", "", fmt::format("{:.1f} FLOP/B", ceilings.fma_flops_per_second / ceilings.read_bytes_per_second)});
  return grid;
}

std::string roofs_csv(const std::vector<MeasuredDevice>& devices) {
  TextGrid grid;
  grid.header = {"backend",         "device",           "architecture",     "threads", "roof",
                 "footprint_bytes", "bytes_per_second", "flops_per_second", "source"};
  for (const MeasuredDevice& device : devices) {
    const BackendSession& s = device.session;
    const auto row = [&](std::string roof, std::string footprint, std::string bytes, std::string flops) {
      grid.rows.push_back({std::string(s.backend->name), s.device.name, s.device.architecture,
                           std::to_string(s.threads()), std::move(roof), std::move(footprint), std::move(bytes),
                           std::move(flops), s.ceilings.source});
    };
    for (const ReadRate& rate : s.ceilings.read_by_level) {
      row("read_cache", std::to_string(rate.footprint_bytes), fmt::format("{}", rate.bytes_per_second), "");
    }
    row("read_memory", "", fmt::format("{}", s.ceilings.read_bytes_per_second), "");
    row("multiply_add", "", "", fmt::format("{}", s.ceilings.fma_flops_per_second));
  }
  return to_csv(grid);
}

std::string page_of(const std::vector<MeasuredDevice>& devices, const std::vector<std::string>& left_out,
                    ReportFormat format) {
  ReportPage page(format);
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const MeasuredDevice& device = devices[i];
    const Ceilings& ceilings = device.session.ceilings;
    page.heading(device.title());
    page.lines({ceilings.source, device.session.device.runtime});
    page.picture(roofline_svg(roofline_plot(device.title(), ceilings, device.records), fmt::format("roofline{}", i)),
                 fmt::format("{} marks; the tables below hold their numbers.", device.records.size()));
    page.table("Measured now", roofs_grid(ceilings));
    for (const Setup& setup : group_by_setup(device.records)) {
      page.heading(setup_heading(setup) + ", " + setup.records.front()->subject.protocol);
      add_roofline_table(page, setup);
    }
  }
  if (!left_out.empty()) {
    page.heading("Records without a place under these roofs");
    page.lines(left_out);
  }
  return std::move(page).text();
}

Expected<ExitCode> print_rooflines(const RooflineArguments& arguments) {
  if (arguments.markdown && arguments.csv) {
    return fail(ErrorCode::invalid_argument, "--md and --csv: one form at a time; run millet roofline twice");
  }
  const auto budget = parse_duration("--budget", arguments.budget);
  if (!budget) return tl::unexpected(budget.error());
  std::vector<std::string> names;
  if (!arguments.backends.empty()) {
    auto parsed = parse_list("--backend", arguments.backends);
    if (!parsed) return fail(std::move(parsed));
    names = *std::move(parsed);
  }
  std::vector<Record> records;
  if (!arguments.files.empty()) {
    auto read = read_records("roofline", arguments.files, arguments.strict);
    if (!read) return fail(std::move(read));
    records = *std::move(read);
  }
  auto sessions = open_backends(names, Purpose::times, false);
  if (!sessions) return fail(std::move(sessions));
  if (!arguments.svg.empty() && sessions->size() > 1) {
    return fail(ErrorCode::invalid_argument,
                "--svg: a file holds one picture, and {} backends can run here; add --backend {}", sessions->size(),
                sessions->front().backend->name);
  }
  std::vector<MeasuredDevice> devices;
  for (BackendSession& session : *sessions) {
    auto ceilings = session.backend->measure_ceilings(*budget / static_cast<double>(sessions->size()));
    if (!ceilings) return fail(std::move(ceilings));
    session.ceilings = *std::move(ceilings);
    if (session.ceilings.read_bytes_per_second <= 0 || session.ceilings.fma_flops_per_second <= 0) {
      return fail(ErrorCode::device_error, "roofline: no roofs of backend '{}': {}", session.backend->name,
                  session.ceilings.source);
    }
    devices.push_back({std::move(session), {}});
  }
  std::vector<std::string> left_out;
  for (Record& record : records) {
    const auto own = std::find_if(devices.begin(), devices.end(), [&](const MeasuredDevice& device) {
      return device.session.backend->name == record.subject.backend;
    });
    const std::string reason = own == devices.end()
                                   ? fmt::format("backend '{}' was not measured", record.subject.backend)
                                   : why_elsewhere(record, own->session);
    if (!reason.empty()) {
      left_out.push_back(fmt::format("{}, {}: {}", shape_name(record.subject), record.subject.kernel, reason));
      continue;
    }
    record.roof = record_roof({record.work.bytes, record.work.flops}, own->session.ceilings,
                              record.timed() ? record.result.median_ns : 0);
    own->records.push_back(std::move(record));
  }
  if (!arguments.svg.empty()) {
    const MeasuredDevice& device = devices.front();
    const std::string svg =
        roofline_svg(roofline_plot(device.title(), device.session.ceilings, device.records), "roofline");
    if (auto written = write_text_file(arguments.svg, standalone_svg(svg)); !written) return fail(std::move(written));
  }
  if (!arguments.html.empty()) {
    const std::string body = fmt::format("<header><h1>Roofs of this machine</h1></header>\n<main>\n{}</main>\n",
                                         page_of(devices, left_out, ReportFormat::html));
    if (auto written = write_text_file(arguments.html, html_document("millet roofline", body)); !written) {
      return fail(std::move(written));
    }
  }
  const std::string text =
      arguments.csv ? roofs_csv(devices)
                    : page_of(devices, left_out, arguments.markdown ? ReportFormat::markdown : ReportFormat::terminal);
  if (auto printed = print_text(text); !printed) return fail(std::move(printed));
  if (arguments.csv) {
    for (const std::string& line : left_out) fmt::print(stderr, "millet: left out {}\n", line);
  }
  return ExitCode::ok;
}

}  // namespace

void add_roofline(CLI::App& app, Invocation& invocation) {
  auto* const command =
      app.add_subcommand("roofline", "Measure this machine's roofs and put recorded kernels under them");
  const auto arguments = std::make_shared<RooflineArguments>();
  command->add_option("files", arguments->files, "records.jsonl of runs on this machine");
  command->add_option("--backend", arguments->backends,
                      "Backends whose device to measure, a list; default: every one that can run here");
  command->add_option("--budget", arguments->budget, "Time for all measurements: 2s (default)");
  command->add_option("--html", arguments->html, "Also write a self-contained page with the pictures to this file");
  command->add_option("--svg", arguments->svg, "Also write the picture of the one backend to this file");
  command->add_flag("--md", arguments->markdown, "Markdown instead of aligned columns");
  command->add_flag("--csv", arguments->csv, "CSV with one row a roof");
  command->add_flag("--strict", arguments->strict, "A line that is no record is an error");
  command->footer(exit_code_help);
  command->callback([arguments, &invocation] {
    const auto code = print_rooflines(*arguments);
    invocation.code = code ? *code : report_error(code.error());
  });
}

}  // namespace millet
