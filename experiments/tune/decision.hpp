// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "millet/report/record.hpp"
#include "run/backend_session.hpp"

namespace millet {

/// By how much a kernel must beat another before it counts: 3 %.
inline constexpr double tuning_margin = 1.03;

/// Records of all candidates for one problem that were timed against each other, in one run of one build; the default
/// choice (what select() gives without a table) first.
using TuneContest = std::vector<const Record*>;

/// The last contest of each problem and protocol that `build` held on this very backend, device and number of units, in
/// the order of the file. Points into `records`.
[[nodiscard]] std::vector<TuneContest> contests_of(std::span<const Record> records, const BackendSession& session,
                                                   std::string_view build);

/// Whom the `use` column compares with.
struct TuneBaseline {
  std::string name = "default";  ///< "default", the id of a kernel, or the name of a baseline of the records
  int policy = 0;                ///< of a kernel
};

/// The baseline of "default", "<kernel>", "<kernel>:<policy>", or any other name, which is not checked here.
/// Errors: invalid_argument for a policy that the kernel does not have.
[[nodiscard]] Expected<TuneBaseline> parse_tune_baseline(std::string_view text, const Backend& backend);

/// What one contest says.
struct Decision {
  std::optional<TunedRow> row;  ///< absent: no row can be written, and `reason` says why
  std::string reason;           ///< one line for people
  bool kept_default = false;    ///< the row names the default choice, since nothing beat it
};

/// Decides about one problem.
///
/// The row names the fastest candidate if its median beats that of the default choice by more than the margin and their
/// 95 % intervals do not touch; otherwise the default choice itself, and the reason tells by which margin nothing beat
/// it. Its `use` column says whether the kernel of the row beats the
/// baseline by more than the margin.
[[nodiscard]] Decision decide(const TuneContest& contest, const BackendSession& session, const TuneBaseline& baseline);

}  // namespace millet
