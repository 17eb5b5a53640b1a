// SPDX-License-Identifier: Apache-2.0
#include "millet/measure/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace millet {

namespace {

double median_of_sorted(const std::vector<double>& sorted) {
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : 0.5 * (sorted[half - 1] + sorted[half]);
}

}  // namespace

Statistics summarize(std::span<const double> samples) {
  Statistics s;
  if (samples.empty()) return s;
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  s.n = static_cast<int>(sorted.size());
  s.minimum = sorted.front();
  s.median = median_of_sorted(sorted);
  for (double& x : sorted) x = std::abs(x - s.median);
  std::sort(sorted.begin(), sorted.end());
  s.mad = median_of_sorted(sorted);
  const double half_width = 1.96 * std::sqrt(std::numbers::pi / 2) * 1.4826 * s.mad / std::sqrt(s.n);
  s.ci95_lo = s.median - half_width;
  s.ci95_hi = s.median + half_width;
  return s;
}

double geometric_mean(std::span<const double> values) {
  if (values.empty()) return 0;
  double sum = 0;
  for (const double value : values) sum += std::log(value);
  return std::exp(sum / static_cast<double>(values.size()));
}

}  // namespace millet
