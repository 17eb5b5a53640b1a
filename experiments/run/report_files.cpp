// SPDX-License-Identifier: Apache-2.0
#include "run/report_files.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "millet/report/html_report.hpp"
#include "millet/report/roofline_table.hpp"
#include "millet/report/speedup_table.hpp"
#include "weights/weights_report.hpp"

namespace millet {

namespace {

Expected<void> write_text(const std::filesystem::path& path, const std::string& text) {
  errno = 0;
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  bool written = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  int reason = errno;
  if (file != nullptr && std::fclose(file) != 0) {
    if (written) reason = errno;
    written = false;
  }
  if (written) return {};
  return fail(ErrorCode::io_error, "{}: cannot be written: {}; free some space, then run millet report", path.string(),
              std::strerror(reason));
}

}  // namespace

Expected<void> write_report_files(const std::filesystem::path& folder, std::span<const Record> records) {
  for (const auto& [suffix, format] :
       {std::pair{".md", ReportFormat::markdown}, std::pair{".csv", ReportFormat::csv}}) {
    if (auto done = write_text(folder / fmt::format("speedup{}", suffix), speedup_report(records, format)); !done)
      return done;
    if (auto done = write_text(folder / fmt::format("roofline{}", suffix), roofline_report(records, format)); !done)
      return done;
  }
  const bool layers = std::any_of(records.begin(), records.end(), is_layer);
  return write_text(folder / "report.html",
                    html_report(records, layers ? weights_report(records, {}, ReportFormat::html) : ""));
}

Expected<void> write_weights_files(const std::filesystem::path& folder, std::span<const Record> records,
                                   std::span<const SkippedTensor> skipped) {
  auto done = write_text(folder / "weights.md", weights_report(records, skipped, ReportFormat::markdown));
  if (!done) return done;
  return write_text(folder / "weights.csv", weights_report(records, skipped, ReportFormat::csv));
}

}  // namespace millet
