// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "millet/error/expected.hpp"
#include "millet/report/record.hpp"

namespace millet {

/// The records of all `files`, in order. Lines that are no records are left out, each named on stderr.
/// \param command  begins the message when there is none
/// Errors: io_error; with `strict`, parse_error for the first bad line; parse_error when there is no record at all.
[[nodiscard]] Expected<std::vector<Record>> read_records(std::string_view command,
                                                         const std::vector<std::string>& files, bool strict);

/// Writes `text` to standard output. Errors: io_error, for a full disk or a closed pipe.
[[nodiscard]] Expected<void> print_text(std::string_view text);

/// Writes `text` to the file at `path`, or to nothing: what a failed write left is removed. Errors: io_error with the
/// path and the system's reason.
[[nodiscard]] Expected<void> write_text_file(const std::string& path, std::string_view text);

}  // namespace millet
