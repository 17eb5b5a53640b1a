// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "baselines/baseline_program.hpp"
#include "baselines/host_baseline.hpp"
#include "millet/dispatch/kernel_instance.hpp"
#include "millet/dispatch/select.hpp"
#include "millet/measure/sampler.hpp"
#include "millet/reference/error_bound.hpp"
#include "run/backend_session.hpp"
#include "run/host_roofs.hpp"

namespace millet {

/// A kernel with the policy that it runs with.
template <class P>
struct Choice {
  const BackendSession* session = nullptr;
  Selection<P> selection;
};

/// What happened to one contestant: a time, or why there is none.
struct Outcome {
  std::string name;
  std::string detail;                ///< of a program's baseline: what it chose for this problem
  std::string role = "performance";  ///< of RecordBaseline
  bool verified = false;             ///< whether `verification` holds anything
  reference::Comparison verification;
  Measurement measurement;  ///< evidence not_run without a time
  std::string obstacle;     ///< why there is no time: empty, or one line
  bool broken = false;      ///< the obstacle is an error of the backend or kernel, not a lack of memory

  [[nodiscard]] bool wrong() const noexcept { return verified && !verification.correct; }
};

struct ContestOptions {
  Protocol protocol = Protocol::cold_graph;
  double seconds = 1.0;  ///< for the samples of all contestants together
  std::uint64_t seed = 1;
};

/// One problem and everybody who computes it.
template <class P>
struct Contest {
  HostOperands<P> operands;
  const reference::Product* expected = nullptr;
  Index touched_weight_bytes = 0;  ///< MX bytes of weights that one call reads
  std::vector<Choice<P>> kernels;
  std::vector<Choice<P>> baseline_kernels;          ///< kernels of backends named as baselines
  std::vector<const HostBaseline*> host_baselines;  ///< libraries of the host
  std::vector<Index> host_threads;                  ///< each of them runs with each number of threads
  BaselineWeightCache* kept = nullptr;              ///< keeps their weights for the next m; null: not kept
  bool time_reference = false;                      ///< time the oracle itself
  std::vector<const HostRoofLoops*> host_roofs;     ///< loops that take turns with the kernels
  std::vector<const BaselineProgram*> programs;     ///< child processes, with all their baselines
};

struct HostOutcome {
  Index threads = 0;
  Outcome outcome;
};

struct ProgramOutcome {
  const BaselineProgram* program = nullptr;
  Outcome outcome;
};

struct ContestResult {
  std::vector<Outcome> kernels;             ///< as in Contest
  std::vector<Outcome> baseline_kernels;    ///< likewise
  std::vector<HostOutcome> host_baselines;  ///< each with each number of threads
  std::vector<Outcome> reference;           ///< at most one
  std::vector<HostRoofs> host_roofs;        ///< as in Contest
  std::vector<ProgramOutcome> programs;     ///< of each program whose device a kernel was timed on, each baseline
  double program_seconds = 0;               ///< that preparing them took

  /// Those of `threads` threads, or null.
  [[nodiscard]] const HostRoofs* host_roofs_of(Index threads) const noexcept;
};

/// Runs `instance` once over an output of NaN bytes and compares what it leaves with the oracle.
template <class P>
[[nodiscard]] Expected<reference::Comparison> verify_instance(const KernelInstance<P>& instance,
                                                              const reference::Product& expected);

/// Prepares every contestant (weights in as many copies as the protocol and the memory allow), verifies each, then
/// times those that are correct, taking turns. A contestant that cannot run gets an obstacle; it does not stop the
/// others. Where programs take part, everybody runs one untimed batch before each sample, since the device may just
/// have been another process's. The samples start anew without a program that fails meanwhile. Errors: the first that a
/// timed batch of another contestant returns.
template <class P>
[[nodiscard]] Expected<ContestResult> hold_contest(const Contest<P>& contest, const ContestOptions& options);

extern template Expected<reference::Comparison> verify_instance(const KernelInstance<GemmProblem>&,
                                                                const reference::Product&);
extern template Expected<reference::Comparison> verify_instance(const KernelInstance<GroupedProblem>&,
                                                                const reference::Product&);
extern template Expected<ContestResult> hold_contest(const Contest<GemmProblem>&, const ContestOptions&);
extern template Expected<ContestResult> hold_contest(const Contest<GroupedProblem>&, const ContestOptions&);

}  // namespace millet
