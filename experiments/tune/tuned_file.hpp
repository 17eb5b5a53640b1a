// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "millet/dispatch/tuned_table.hpp"

namespace millet {

/// A tuned table on disk that is brought up to date row by row. What it does not replace stays as it was: comments,
/// rows of other devices and problems, and rows that no longer parse.
class TunedFile {
 public:
  /// Reads `path`, or begins a new table with `about` as its comment if there is none.
  /// Errors: io_error with the system's reason; parse_error when it is no tuned table. Rows that are rejected are not
  /// errors; rejected() describes them.
  [[nodiscard]] static Expected<TunedFile> open(std::filesystem::path path, const Backend& backend,
                                                std::string_view about);

  /// Puts `row` in the place of the row of the same key, or at the end. `reason` becomes the comment line before it.
  void put(const TunedRow& row, std::string_view reason);

  /// Writes the file anew beside the old one and then in its place, so that a run that is killed leaves one of the two.
  /// Errors: io_error with the system's reason.
  [[nodiscard]] Expected<void> save() const;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] const std::vector<std::string>& rejected() const noexcept { return rejected_; }

 private:
  std::filesystem::path path_;
  std::vector<std::string> lines_;
  std::vector<std::string> rejected_;
};

}  // namespace millet
