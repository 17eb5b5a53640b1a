// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "millet/report/record.hpp"

namespace millet {

/// The whole report on `records` as one HTML file that needs nothing else: what to know before reading (how many rows
/// are wrong, doubtful or not run), a roofline picture for each machine, then for each set-up its facts (device, build,
/// roofs, warnings), times, share of the read rate, speedups as a heat map with published figures beside, errors
/// against their bounds, the roofline table, notes on every flagged row; last a table of everything that was flagged.
/// The pictures show nothing that the tables do not say. No script, no request over the network; light and dark.
/// \param more  further sections, as ReportFormat::html gives them
[[nodiscard]] std::string html_report(std::span<const Record> records, std::string_view more = "");

}  // namespace millet
