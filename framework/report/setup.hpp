// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "millet/report/record.hpp"

namespace millet {

/// Records whose times may stand side by side in one table: the same machine, device, backend, threads, protocol, timer
/// and types, either all dense or all grouped.
struct Setup {
  std::vector<const Record*> records;  ///< in the order given; point into the span
};

/// Sorts records into set-ups, in the order of their first records. Of records of one set-up with one case id only the
/// last stays: a results file is appended to.
[[nodiscard]] std::vector<Setup> group_by_setup(std::span<const Record> records);

/// One line that names the set-up: backend, device, execution space, threads.
[[nodiscard]] std::string setup_heading(const Setup& setup);

/// What a reader must know beside the heading, a line each: protocol with timer and cache state, operands, roofs with
/// their source, builds, machine, how many records have which evidence, warnings.
[[nodiscard]] std::vector<std::string> setup_facts(const Setup& setup);

/// One line that names the shape of a record: "qkv K=6144 N=2304 M=4".
[[nodiscard]] std::string shape_name(const RecordCase& subject);

/// Microseconds with as many decimals as a table needs: "7.20", "153.4", "2064".
[[nodiscard]] std::string format_us(double ns);

/// What a point above the roof means: an error of the measurement, but not where the caches were meant to be hot.
[[nodiscard]] std::string above_roof_text(const Record& record);

/// Whether the record's own facts make its time doubtful: a failed or missing check, a point above the roof of cold
/// weights, a warm rotation, a clock that fell, evidence other than measured.
[[nodiscard]] bool is_doubtful(const Record& record);

/// What a reader must know about one record before believing its time: a failed check, a missing one, a point above the
/// roof, a rotation that did not pass the cache, a clock that fell, its own note. Empty for an unremarkable record.
[[nodiscard]] std::vector<std::string> remarks(const Record& record);

}  // namespace millet
