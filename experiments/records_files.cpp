// SPDX-License-Identifier: Apache-2.0
#include "records_files.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iterator>

#include "millet/report/jsonl.hpp"

namespace millet {

Expected<std::vector<Record>> read_records(std::string_view command, const std::vector<std::string>& files,
                                           bool strict) {
  std::vector<Record> records;
  for (const std::string& file : files) {
    auto contents = read_jsonl(file, strict);
    if (!contents) return fail(std::move(contents));
    for (const std::string& line : contents->bad_lines) fmt::print(stderr, "millet: left out {}\n", line);
    std::move(contents->records.begin(), contents->records.end(), std::back_inserter(records));
  }
  if (!records.empty()) return records;
  return fail(ErrorCode::parse_error, "{}: no records in {}; millet run writes <out>/records.jsonl", command,
              files.size() == 1 ? files.front() : fmt::format("{} file(s)", files.size()));
}

Expected<void> print_text(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return {};
  return fail(ErrorCode::io_error, "standard output cannot be written: {}", std::strerror(errno));
}

Expected<void> write_text_file(const std::string& path, std::string_view text) {
  errno = 0;
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return fail(ErrorCode::io_error, "{}: cannot be written: {}", path, std::strerror(errno));
  bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  int reason = errno;
  if (std::fclose(file) != 0) {
    if (written) reason = errno;
    written = false;
  }
  if (written) return {};
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) std::filesystem::remove(path, ignored);
  return fail(ErrorCode::io_error, "{}: cannot be written: {}; nothing was left there", path, std::strerror(reason));
}

}  // namespace millet
