// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "millet/report/page.hpp"
#include "millet/report/record.hpp"
#include "millet/report/setup.hpp"

namespace millet {

/// The roofline report: for each case its traffic, operations, intensity, the least time that the measured roofs allow,
/// the measured median, percent of the roof, and whether memory or compute bounds it. The roofs and how they were
/// obtained stand above the table. A point above the roof is reported as an error: "above the roof: wrong bytes or warm
/// cache".
///
/// CSV has the raw numbers (bytes, ns) for plots.
[[nodiscard]] std::string roofline_report(std::span<const Record> records, ReportFormat format);

/// The table and notes of one set-up, without heading and facts.
void add_roofline_table(ReportPage& page, const Setup& setup);

}  // namespace millet
