// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace millet {

/// When two series of times of one case count as different.
struct ComparisonOptions {
  double least_effect = 0.03;  ///< ratios of up to 1 + this, and down to its inverse, are no difference
  double alpha = 0.01;         ///< chance that a comparison of equals flags anything, over all its cases together
};

enum class Change { same, slower, faster, undecided };

[[nodiscard]] constexpr std::string_view to_string(Change change) noexcept {
  switch (change) {
    case Change::same:
      return "same";
    case Change::slower:
      return "slower";
    case Change::faster:
      return "faster";
    case Change::undecided:
      return "undecided";
  }
  return "unknown_change";
}

/// Two series of times of one case.
struct TimeComparison {
  double ratio = 0;            ///< median of the new times over that of the old ones
  std::size_t old_blocks = 0;  ///< independent values that each series was reduced to
  std::size_t new_blocks = 0;
  double p_slower = 1;           ///< of "not slower by more than the least effect"
  double p_faster = 1;           ///< of "not faster by more than it"
  double p = 1;                  ///< twice the smaller of the two, at most 1
  double least_p = 1;            ///< that p could have been with so few blocks
  double adjusted_p = 1;         ///< of all cases together; set by judge()
  Change change = Change::same;  ///< likewise
};

/// Compares the times of one case, in the order in which they were taken.
///
/// The samples of one run are not independent: a disturbance lasts for many of them, and machines drift. So each series
/// is cut into at most 10 blocks of neighbours, each at least 3 autocorrelation times long, and the medians of the
/// blocks are compared by the exact Mann-Whitney test. The hypothesis that must be refuted is not "equal" but "no
/// slower than by the least effect" (the new times are divided by 1 + least_effect first), so that a difference too
/// small to matter stays unflagged however precise the samples are.
[[nodiscard]] TimeComparison compare_times(std::span<const double> old_times, std::span<const double> new_times,
                                           const ComparisonOptions& options);

/// Holm's step-down adjustment: rejecting where the result is at most alpha keeps the chance of any false rejection
/// among all hypotheses at most alpha, however they depend on each other.
/// Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6,
/// 1979.
[[nodiscard]] std::vector<double> holm_adjusted(std::span<const double> p_values);

/// Decides all cases of one comparison together. `undecided`: the ratio passes the least effect, but so few independent
/// blocks could not have shown it, whatever their values.
void judge(std::span<TimeComparison> comparisons, const ComparisonOptions& options);

}  // namespace millet
