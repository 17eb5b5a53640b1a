// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "millet/dispatch/backend.hpp"
#include "millet/dispatch/tuned_table.hpp"

namespace millet {

/// Why a kernel was chosen, from the strongest reason to the weakest.
enum class Chosen {
  forced,           ///< the caller named it
  tuned_exact,      ///< a tuned row of exactly this device and problem
  tuned_nearest_m,  ///< a tuned row that differs in m only
  cost_model,       ///< the least estimated time
  first_supported,  ///< the first of the backend's list that accepts
};

[[nodiscard]] constexpr std::string_view to_string(Chosen how) noexcept {
  switch (how) {
    case Chosen::forced:
      return "forced";
    case Chosen::tuned_exact:
      return "tuned_exact";
    case Chosen::tuned_nearest_m:
      return "tuned_nearest_m";
    case Chosen::cost_model:
      return "cost_model";
    case Chosen::first_supported:
      return "first_supported";
  }
  return "unknown_choice";
}

/// A kernel that was passed over, and why.
struct Rejection {
  std::string_view kernel;
  std::string_view reason;
};

template <class P>
struct Selection {
  const KernelFor<P>* kernel = nullptr;
  int policy = 0;
  Chosen how = Chosen::first_supported;
  const TunedRow* row = nullptr;    ///< the tuned row, where one decided
  std::vector<Rejection> declined;  ///< kernels that decline the problem, as far as they were asked
};

struct SelectOptions {
  std::string_view forced_kernel{};    ///< full kernel id; empty: choose
  std::optional<int> forced_policy{};  ///< with forced_kernel; its default otherwise
  const TunedTable* tuned = nullptr;
};

/// The options with forced_kernel from the environment variable MILLET_FORCE_KERNEL, where the caller forces none.
[[nodiscard]] inline SelectOptions with_environment(SelectOptions options) {
  if (options.forced_kernel.empty()) {
    if (const char* forced = std::getenv("MILLET_FORCE_KERNEL"); forced != nullptr) options.forced_kernel = forced;
  }
  return options;
}

namespace detail {

template <class P>
[[nodiscard]] Expected<Selection<P>> select_forced(const Backend& backend, const P& problem,
                                                   const SelectOptions& options) {
  for (const auto& kernel : backend.kernels<P>()) {
    if (kernel.id != options.forced_kernel) continue;
    if (const Verdict verdict = kernel.supports(problem); !verdict) {
      return fail(ErrorCode::unsupported, "select: the forced kernel '{}' declines {}: {}", kernel.id,
                  to_string(problem), verdict.reason);
    }
    const int policy = options.forced_policy.value_or(0);
    if (policy < 0 || policy >= kernel.policy_count) {
      return fail(ErrorCode::invalid_argument, "select: kernel '{}' has policies [0, {}), got {}", kernel.id,
                  kernel.policy_count, policy);
    }
    return Selection<P>{&kernel, policy, Chosen::forced, nullptr, {}};
  }
  std::string known;
  for (const auto& kernel : backend.kernels<P>()) known += fmt::format("{}{}", known.empty() ? "" : ", ", kernel.id);
  return fail(ErrorCode::unknown_name, "select: backend '{}' has no kernel '{}' for {}; it has: {}", backend.name,
              options.forced_kernel, to_string(problem), known.empty() ? "none" : known);
}

/// The selection that a tuned row asks for, if its kernel accepts the problem at hand.
template <class P>
[[nodiscard]] std::optional<Selection<P>> select_tuned(const Backend& backend, const P& problem, const TunedRow& row,
                                                       Chosen how) {
  for (const auto& kernel : backend.kernels<P>()) {
    if (kernel.id == row.kernel && kernel.supports(problem)) return Selection<P>{&kernel, row.policy, how, &row, {}};
  }
  return std::nullopt;
}

}  // namespace detail

/// Chooses a kernel and policy for `problem`: forced, tuned exact, tuned nearest m, cost model, first supported.
///
/// Errors: unknown_name or unsupported when the forced kernel does not exist or declines (never a silent fallback);
/// unsupported, with every kernel's reason, when all decline.
template <class P>
[[nodiscard]] Expected<Selection<P>> select(const Backend& backend, const DeviceInfo& device, const P& problem,
                                            const SelectOptions& options = {}) {
  if (!options.forced_kernel.empty()) return detail::select_forced(backend, problem, options);
  if (options.tuned != nullptr && !options.tuned->rows().empty()) {
    const TunedKey key = tuned_key(device, problem);
    if (const TunedRow* row = options.tuned->find(key); row != nullptr) {
      if (auto tuned = detail::select_tuned(backend, problem, *row, Chosen::tuned_exact)) return *std::move(tuned);
    }
    for (const TunedRow* row : options.tuned->nearest_m(key)) {
      if (auto tuned = detail::select_tuned(backend, problem, *row, Chosen::tuned_nearest_m)) return *std::move(tuned);
    }
  }

  Selection<P> best;
  double best_seconds = std::numeric_limits<double>::infinity();
  for (const auto& kernel : backend.kernels<P>()) {
    if (const Verdict verdict = kernel.supports(problem); !verdict) {
      best.declined.push_back({kernel.id, verdict.reason});
      continue;
    }
    if (best.kernel == nullptr) best.kernel = &kernel;  // stands until a kernel with an estimate comes
    if (kernel.estimate_seconds == nullptr) continue;
    for (int policy = 0; policy < kernel.policy_count; ++policy) {
      const double seconds = kernel.estimate_seconds(problem, policy, device);
      if (!(seconds < best_seconds)) continue;  // NaN and infinity are no estimates
      best.kernel = &kernel;
      best.policy = policy;
      best.how = Chosen::cost_model;
      best_seconds = seconds;
    }
  }
  if (best.kernel != nullptr) return best;
  std::string reasons;
  for (const Rejection& rejection : best.declined)
    reasons += fmt::format("; {}: {}", rejection.kernel, rejection.reason);
  return fail(ErrorCode::unsupported, "select: backend '{}' has no kernel for {}{}", backend.name, to_string(problem),
              reasons.empty() ? "; it lists none of this kind" : reasons);
}

}  // namespace millet
