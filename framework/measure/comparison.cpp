// SPDX-License-Identifier: Apache-2.0
#include "millet/measure/comparison.hpp"

#include <algorithm>
#include <numeric>

#include "millet/measure/rank_test.hpp"
#include "millet/measure/statistics.hpp"

namespace millet {

namespace {

// Ten blocks a side can show p = 1 / 184756, enough for hundreds of cases; more would be shorter, and a correlation
// that autocorrelation_time underrates would reach from one into the next.
constexpr std::size_t most_blocks = 10;
constexpr double autocorrelation_times_per_block = 3;

std::size_t independent_blocks(std::span<const double> samples) {
  // Independent samples (a time of 1) stand for themselves.
  const double needed = 1 + autocorrelation_times_per_block * (autocorrelation_time(samples) - 1);
  const auto blocks = static_cast<std::size_t>(static_cast<double>(samples.size()) / needed);
  return std::clamp<std::size_t>(blocks, 1, most_blocks);
}

}  // namespace

TimeComparison compare_times(std::span<const double> old_times, std::span<const double> new_times,
                             const ComparisonOptions& options) {
  TimeComparison comparison;
  if (old_times.empty() || new_times.empty()) return comparison;
  comparison.ratio = summarize(new_times).median / summarize(old_times).median;
  comparison.old_blocks = independent_blocks(old_times);
  comparison.new_blocks = independent_blocks(new_times);
  const std::vector<double> before = block_medians(old_times, comparison.old_blocks);
  const std::vector<double> after = block_medians(new_times, comparison.new_blocks);
  const auto scaled = [&](double factor) {
    std::vector<double> times = after;
    for (double& time : times) time *= factor;
    return times;
  };
  comparison.p_slower = mann_whitney(scaled(1 / (1 + options.least_effect)), before).x_greater;
  comparison.p_faster = mann_whitney(scaled(1 + options.least_effect), before).x_less;
  comparison.p = std::min(1.0, 2 * std::min(comparison.p_slower, comparison.p_faster));
  comparison.least_p = 2 * least_mann_whitney(before.size(), after.size());
  return comparison;
}

std::vector<double> holm_adjusted(std::span<const double> p_values) {
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return p_values[i] < p_values[j]; });
  std::vector<double> adjusted(p_values.size());
  double last = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    last = std::max(last, std::min(1.0, static_cast<double>(order.size() - rank) * p_values[order[rank]]));
    adjusted[order[rank]] = last;
  }
  return adjusted;
}

void judge(std::span<TimeComparison> comparisons, const ComparisonOptions& options) {
  std::vector<double> p_values;
  for (const TimeComparison& comparison : comparisons) p_values.push_back(comparison.p);
  const std::vector<double> adjusted = holm_adjusted(p_values);
  for (std::size_t i = 0; i < comparisons.size(); ++i) {
    TimeComparison& c = comparisons[i];
    c.adjusted_p = adjusted[i];
    const double limit = 1 + options.least_effect;
    if (c.adjusted_p <= options.alpha) {
      c.change = c.p_slower < c.p_faster ? Change::slower : Change::faster;
    } else if ((c.ratio > limit || c.ratio < 1 / limit) &&
               static_cast<double>(comparisons.size()) * c.least_p > options.alpha) {
      c.change = Change::undecided;
    } else {
      c.change = Change::same;
    }
  }
}

}  // namespace millet
