// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/plan.hpp"

namespace millet {

/// What all records of one backend in one run have in common: build, machine, run, tags, roofs.
struct RecordCommon {
  Record record;
  Ceilings ceilings;
};
[[nodiscard]] RecordCommon common_record(const RunOptions& options, const BackendSession& session);

/// The work of one call as a record counts it.
struct CaseWork {
  Work work;
  Index touched_experts = 0;
};
[[nodiscard]] CaseWork work_of(const DenseCase& planned);
[[nodiscard]] CaseWork work_of(const GroupedCase& planned);

/// The command that runs one case of one backend alone.
/// \param kernel, policy  empty and 0 to let the program choose
[[nodiscard]] std::string repro_command(const RunOptions& options, const ShapeCases& shape,
                                        const std::string& case_name, Index m, std::string_view backend,
                                        std::string_view kernel, int policy);

/// Starts the record of an entrant: everything but what its contest decides. It says not_run until then.
template <class P>
[[nodiscard]] Record planned_record(const RecordCommon& common, const RunOptions& options, const ShapeCases& shape,
                                    const PlannedCase<P>& planned, const Entrant<P>& entrant, const CaseWork& work);

/// Fills in what the contest found about the entrant that came as number `index` of it.
/// \param own, baselines     backends of this entrant and of ContestResult::baseline_kernels: a baseline of another
/// device, or
///                           of the entrant's own backend, is left out
void add_outcome(Record& record, const RecordCommon& common, const ContestResult& result, std::size_t index,
                 const BackendSession& own, const std::vector<const BackendSession*>& baselines, Protocol protocol);

extern template Record planned_record(const RecordCommon&, const RunOptions&, const ShapeCases&,
                                      const PlannedCase<GemmProblem>&, const Entrant<GemmProblem>&, const CaseWork&);
extern template Record planned_record(const RecordCommon&, const RunOptions&, const ShapeCases&,
                                      const PlannedCase<GroupedProblem>&, const Entrant<GroupedProblem>&,
                                      const CaseWork&);

}  // namespace millet
