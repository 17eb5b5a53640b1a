// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

namespace millet {

/// What a set of samples says. Medians, since a minimum is a lucky shot and a mean follows every interruption.
struct Statistics {
  int n = 0;
  double median = 0;
  double minimum = 0;
  double mad = 0;      ///< median absolute deviation from the median
  double ci95_lo = 0;  ///< 95 % confidence interval of the median
  double ci95_hi = 0;

  /// Half the width of the interval, in percent of the median.
  [[nodiscard]] double spread_pct() const noexcept { return median > 0 ? 50.0 * (ci95_hi - ci95_lo) / median : 0.0; }
};

/// The interval is median +- 1.96 sqrt(pi / 2) * 1.4826 MAD / sqrt(n): the MAD estimates the standard deviation, and
/// the median of n normal samples has sqrt(pi / 2) times the standard error of their mean. All zero for no samples.
[[nodiscard]] Statistics summarize(std::span<const double> samples);

/// exp(mean(log x)); 0 for no values. \param values  all positive
[[nodiscard]] double geometric_mean(std::span<const double> values);

}  // namespace millet
