// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <span>

#include "millet/error/expected.hpp"
#include "millet/report/record.hpp"
#include "weights/weight_cases.hpp"

namespace millet {

/// Writes speedup.md, speedup.csv, roofline.md, roofline.csv and report.html into `folder`, which must exist.
/// Errors: io_error with the path and the system's reason.
[[nodiscard]] Expected<void> write_report_files(const std::filesystem::path& folder, std::span<const Record> records);

/// Writes weights.md and weights.csv, likewise. \param skipped  tensors of the file that are no layers
[[nodiscard]] Expected<void> write_weights_files(const std::filesystem::path& folder, std::span<const Record> records,
                                                 std::span<const SkippedTensor> skipped);

}  // namespace millet
