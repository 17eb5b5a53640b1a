// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "millet/report/page.hpp"
#include "millet/report/record.hpp"
#include "millet/report/setup.hpp"

namespace millet {

/// The speedup report: rows are projections (label, K, N), columns are M.
///
/// Records of different backends, devices, threads, protocols or types never share a table: each such set-up has a
/// section, whose heading names it, the roofs, the build and every warning. A section holds one table a metric:
///   - median time of a call in us,
///   - percent of this machine's measured read rate,
///   - for each baseline, the speedup over it, both medians taken in the same run, with geometric means of rows,
///   columns
///     and everything; "~" marks a ratio whose confidence intervals overlap,
///   - the published speedups, from another machine, with their source,
///   - the largest error over its bound.
/// A cell without a record says "not run"; a record whose check failed says "wrong" and has no time; what is not
/// measured (emulated, modelled) says so and has no speedup; notes below the tables give the reasons. Of several
/// records with one case id the last counts; of several kernels for one cell the fastest correct one.
///
/// CSV has one row a record instead (after the same removal of repeated case ids), all numbers in full.
[[nodiscard]] std::string speedup_report(std::span<const Record> records, ReportFormat format);

/// The tables and notes of one set-up, without heading and facts. In HTML the speedups are a heat map, with the
/// published figures in small beside them.
void add_speedup_tables(ReportPage& page, const Setup& setup);

}  // namespace millet
