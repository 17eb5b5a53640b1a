// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "millet/error/expected.hpp"
#include "millet/report/record.hpp"

namespace millet {

/// `record` as one line of JSON, without the newline. Bytes that are not UTF-8 become U+FFFD.
/// Errors: invalid_argument, naming the field, for a record that parse_record would refuse.
[[nodiscard]] Expected<std::string> to_json_line(const Record& record);

/// The record that `line` holds. Unknown keys are ignored, so that older programs read newer files of the same schema.
///
/// Errors: parse_error, naming the field, for text that is no JSON object, nesting deeper than 8, a duplicate key,
/// another schema, a missing key, a value of another type, a negative number, an unknown name where few are possible, a
/// case_id or build_id that does not belong to the case or build, or times that contradict each other (a median below
/// the minimum).
[[nodiscard]] Expected<Record> parse_record(std::string_view line);

/// Appends records to a file; each is handed to the system as one whole line before append() returns, so that a run
/// that is killed keeps what it measured.
class JsonlWriter {
 public:
  /// Opens `path` for appending; creates the file and the folders above it. A torn record at the end of an existing
  /// file is cut off; a last line that is something else is ended, not touched. Errors: io_error with the path and the
  /// system's reason, or when another process writes to the file.
  [[nodiscard]] static Expected<JsonlWriter> open(const std::filesystem::path& path);

  JsonlWriter(JsonlWriter&& other) noexcept;
  JsonlWriter& operator=(JsonlWriter&& other) noexcept;
  JsonlWriter(const JsonlWriter&) = delete;
  JsonlWriter& operator=(const JsonlWriter&) = delete;
  ~JsonlWriter();

  /// Writes one record. Errors: those of to_json_line; io_error with the path and the system's reason (disk full,
  /// quota, a limit), after cutting the file back to its last whole line.
  [[nodiscard]] Expected<void> append(const Record& record);

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  JsonlWriter(std::filesystem::path path, int file) noexcept : path_(std::move(path)), file_(file) {}

  std::filesystem::path path_;
  int file_ = -1;
};

/// What a results file holds.
struct JsonlContents {
  std::vector<Record> records;         ///< in the order of the file
  std::vector<std::string> bad_lines;  ///< "file:line: reason" of each line that is no record
};

/// Reads a results file. Blank lines are skipped; a line that is no record is left out and described, as is the torn
/// last line of a run that was interrupted.
/// Errors: io_error with the path and the system's reason; with `strict`, parse_error for the first bad line.
[[nodiscard]] Expected<JsonlContents> read_jsonl(const std::filesystem::path& path, bool strict = false);

}  // namespace millet
