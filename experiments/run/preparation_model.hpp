// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "run/plan.hpp"

namespace millet {

// About how long it takes to prepare cases, in seconds of one core: the first guess that Budget corrects by experience.
// Rates were measured with a Release build at 2.6 GHz.

/// Random weights and the oracle's answer for the largest m: once for each weight matrix.
[[nodiscard]] inline double modelled_seconds(const std::vector<DenseCase>& cases) {
  Index largest_m = 0;
  for (const DenseCase& planned : cases) largest_m = std::max(largest_m, planned.m);
  if (cases.empty()) return 0;
  const double elements = static_cast<double>(cases.front().problem.n) * static_cast<double>(cases.front().problem.k);
  return elements * (20e-9 + 0.7e-9 * static_cast<double>(largest_m));
}

/// Packed and uploaded copies, and the calls that verify and warm up: once for each m.
[[nodiscard]] inline double modelled_seconds(const DenseCase& planned) {
  const double contestants = static_cast<double>(planned.entrants.size() + planned.baseline_kernels.size());
  const double elements = static_cast<double>(planned.problem.n) * static_cast<double>(planned.problem.k);
  // At least two caches' worth of copies; caches of 32 MiB are common.
  return contestants * (elements * 2e-9 + 20e-3) + planned.problem.flops() * 0.05e-9;
}

/// The pool that experts are made from: once for each layer.
[[nodiscard]] inline double modelled_seconds(const std::vector<GroupedCase>& cases) {
  return cases.empty() ? 0 : 4.0 * cases.front().problem.expert_bytes() * 15e-9;
}

/// The resident experts: made, packed and uploaded for each contestant; the oracle and the decoded weights of the used.
[[nodiscard]] inline double modelled_seconds(const GroupedCase& planned) {
  const double contestants = static_cast<double>(planned.entrants.size() + planned.baseline_kernels.size());
  const double resident = static_cast<double>(planned.routed.problem.experts);
  const double used = static_cast<double>(planned.routed.used);
  return planned.problem.expert_bytes() * (resident * 1.5e-9 * (1 + contestants) + used * 15e-9);
}

}  // namespace millet
