// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

namespace millet {

/// Mid-ranks of `values` from 0: equal values share the mean of the ranks that they cover.
[[nodiscard]] std::vector<double> mid_ranks(std::span<const double> values);

/// One-sided probabilities of a rank sum at least as extreme as the one found, if x and y came from one distribution.
struct MannWhitney {
  double x_greater = 1;
  double x_less = 1;
};

/// The exact Mann-Whitney test, conditional on the ties: every way of choosing which values are x is counted. Time
/// grows with (|x| + |y|)^2 |x| |y|, so give it tens of values. Both 1 when x or y is empty.
[[nodiscard]] MannWhitney mann_whitney(std::span<const double> x, std::span<const double> y);

/// The least probability that mann_whitney can give for these sizes: complete separation, without ties.
[[nodiscard]] double least_mann_whitney(std::size_t x, std::size_t y) noexcept;

/// How many samples in a row say as much as one independent sample: 1 for independent samples, larger for a series that
/// drifts or whose disturbances last. Never below 1.
///
/// The integrated autocorrelation time 1 + 2 sum_k rho(k) of the ranks, summed over pairs of lags as long as their sum
/// is positive and does not grow (C. J. Geyer, Practical Markov chain Monte Carlo, Statistical Science 7, 1992, section
/// 3.3: initial monotone sequence). Ranks, since an outlier says nothing about duration.
[[nodiscard]] double autocorrelation_time(std::span<const double> samples);

/// The medians of `count` blocks of neighbouring samples, as even in size as they can be.
/// \param count  1 to samples.size()
[[nodiscard]] std::vector<double> block_medians(std::span<const double> samples, std::size_t count);

}  // namespace millet
