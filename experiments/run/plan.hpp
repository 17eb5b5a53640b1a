// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <vector>

#include "millet/report/record.hpp"
#include "run/contest.hpp"
#include "run/run_options.hpp"

namespace millet {

/// One backend's part in a case: the kernel that it runs, or why none does.
template <class P>
struct Entrant {
  Choice<P> choice;     ///< selection.kernel is null where every kernel declines
  std::string decline;  ///< the reasons, then
  RecordCase subject;
  std::string id;
};

/// One problem with everybody who computes it.
template <class P>
struct PlannedCase {
  std::string name;
  std::string id;  ///< problem_id
  Index m = 0;     ///< rows of A; of a grouped problem the tokens
  P problem;
  std::vector<Entrant<P>> entrants;
  std::vector<Choice<P>> baseline_kernels;
};
struct DenseCase : PlannedCase<GemmProblem> {};
struct GroupedCase : PlannedCase<GroupedProblem> {
  RoutedTokens routed;
};

/// The cases of one shape; one of the two lists is empty.
struct PlannedShape {
  const ShapeCases* shape = nullptr;
  std::vector<DenseCase> dense;
  std::vector<GroupedCase> grouped;
};

struct Plan {
  std::vector<PlannedShape> shapes;
  std::size_t cases = 0;      ///< problems
  std::size_t resumed = 0;    ///< (case, backend) pairs left out since `done` has them
  std::size_t repeated = 0;   ///< pairs left out since an earlier shape is the same problem
  std::size_t elsewhere = 0;  ///< problems that belong to other shards
};

/// Identity of a problem with its operands and protocol, whoever computes it: the case id without backend, kernel,
/// policy, weight layout, execution space and threads.
[[nodiscard]] std::string problem_id(const RecordCase& subject);

/// Chooses a kernel for every case and backend before anything is timed; for a search, every policy of every kernel
/// that accepts, which stand or fall together: where one of them is not `done`, all are planned.
///
/// \param baselines  backends whose kernels are timed as baselines
/// \param done       case ids that are left out
/// Errors: those of the problems; a forced kernel that does not exist or declines; unknown_name when a search's
/// expression matches no kernel, invalid_argument when it is none.
[[nodiscard]] Expected<Plan> make_plan(const RunOptions& options, const std::vector<BackendSession>& backends,
                                       const std::vector<const BackendSession*>& baselines, std::set<std::string> done);

}  // namespace millet
