// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "millet/measure/comparison.hpp"
#include "millet/report/record.hpp"
#include "millet/report/text_grid.hpp"

namespace millet {

/// A case that both runs timed on one kind of device.
struct ComparedCase {
  const Record* before = nullptr;
  const Record* after = nullptr;
  TimeComparison times;
  std::vector<std::string> notes;  ///< what makes either time doubtful, and baselines that moved too

  /// Whether another kernel, policy or weight layout served the call after than before.
  [[nodiscard]] bool replaced() const noexcept { return before->case_id != after->case_id; }
};

/// A record that has no partner to be compared with.
struct UnmatchedCase {
  const Record* record = nullptr;
  bool in_before = false;  ///< else it is of the run after
  std::string reason;
};

/// Two runs, case by case. Points into the records given.
struct RunComparison {
  std::vector<ComparedCase> compared;  ///< in the order of the run before
  std::vector<UnmatchedCase> unmatched;
  std::vector<const Record*> wrong;  ///< of the run after: their check failed

  [[nodiscard]] std::size_t count(Change change) const;
};

/// Joins two runs on case_id and device and compares the times of each pair. Of several records of one case in a run
/// the last with a time counts, as in every table.
///
/// What is left is joined without regard to kernel, policy and weight layout, where each run has just one such record:
/// the same call, now served by another kernel or policy. ComparedCase::replaced() tells those pairs from the others.
///
/// Nothing is left out silently: a case of one run only, of another device or protocol, without a time or without
/// samples is listed as unmatched with the reason; where the other run has the same problem under other conditions, the
/// reason names what differs.
[[nodiscard]] RunComparison compare_runs(std::span<const Record> before, std::span<const Record> after,
                                         const ComparisonOptions& options);

/// The comparison as text: what was compared, a table of cases, what did not match, notes. CSV has one row a record
/// pair or unmatched record.
[[nodiscard]] std::string comparison_report(const RunComparison& comparison, const ComparisonOptions& options,
                                            ReportFormat format);

}  // namespace millet
