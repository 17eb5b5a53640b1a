// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "millet/dispatch/backend.hpp"

/// What every kernel of every backend must do, as functions: the conformance suite runs them over the registered
/// backends, and the fault tests run them over kernels that are wrong on purpose.
namespace millet::conformance {

/// What a check found wrong, a line each: the problem, then the mistake. Empty means the kernel conforms.
using Failures = std::vector<std::string>;

template <class P>
struct Check {
  std::string_view name;
  Failures (*run)(const Backend&, const KernelFor<P>&);
};

/// Checks of a dense kernel. Each tries many problems; those that the kernel declines are left out, and
/// `AcceptsSomething` fails where it declines them all.
[[nodiscard]] std::span<const Check<GemmProblem>> gemm_checks();
[[nodiscard]] std::span<const Check<GroupedProblem>> grouped_checks();

}  // namespace millet::conformance
