// SPDX-License-Identifier: Apache-2.0
#include "millet/measure/rank_test.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "millet/measure/statistics.hpp"

namespace millet {

std::vector<double> mid_ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return values[i] < values[j]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t end = first + 1;
    while (end < order.size() && values[order[end]] == values[order[first]]) ++end;
    for (std::size_t i = first; i < end; ++i) ranks[order[i]] = 0.5 * static_cast<double>(first + end - 1);
    first = end;
  }
  return ranks;
}

MannWhitney mann_whitney(std::span<const double> x, std::span<const double> y) {
  if (x.empty() || y.empty()) return {};
  std::vector<double> pooled(x.begin(), x.end());
  pooled.insert(pooled.end(), y.begin(), y.end());
  std::vector<std::size_t> weights;  // twice the mid-ranks: integers
  for (const double rank : mid_ranks(pooled)) weights.push_back(static_cast<std::size_t>(std::lround(2 * rank)));
  const std::size_t largest = std::accumulate(weights.begin(), weights.end(), std::size_t{0});
  const std::size_t found =
      std::accumulate(weights.begin(), weights.begin() + static_cast<std::ptrdiff_t>(x.size()), std::size_t{0});

  // ways[j][s]: subsets of j of the values so far whose weights add up to s.
  std::vector<std::vector<double>> ways(x.size() + 1, std::vector<double>(largest + 1));
  ways[0][0] = 1;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    for (std::size_t j = std::min(x.size(), i + 1); j >= 1; --j) {
      for (std::size_t s = largest + 1; s-- > weights[i];) ways[j][s] += ways[j - 1][s - weights[i]];
    }
  }
  const std::vector<double>& of_x = ways.back();
  double all = 0;
  double at_least = 0;
  double at_most = 0;
  for (std::size_t s = 0; s <= largest; ++s) {
    all += of_x[s];
    if (s >= found) at_least += of_x[s];
    if (s <= found) at_most += of_x[s];
  }
  return {at_least / all, at_most / all};
}

double least_mann_whitney(std::size_t x, std::size_t y) noexcept {
  double probability = 1;  // x! y! / (x + y)!
  for (std::size_t i = 1; i <= std::min(x, y); ++i) {
    probability *= static_cast<double>(i) / static_cast<double>(std::max(x, y) + i);
  }
  return probability;
}

double autocorrelation_time(std::span<const double> samples) {
  constexpr std::size_t longest = 2000;  // the sum below takes time with its square
  if (samples.size() > longest) {
    const double samples_per_block = static_cast<double>(samples.size()) / static_cast<double>(longest);
    return samples_per_block * autocorrelation_time(block_medians(samples, longest));
  }
  std::vector<double> ranks = mid_ranks(samples);
  double variance = 0;
  for (double& rank : ranks) {
    rank -= 0.5 * static_cast<double>(ranks.size() - 1);
    variance += rank * rank;
  }
  if (variance == 0) return 1;  // all equal, or fewer than two
  const auto correlation = [&](std::size_t lag) {
    double sum = 0;
    for (std::size_t i = 0; i + lag < ranks.size(); ++i) sum += ranks[i] * ranks[i + lag];
    return sum / variance;
  };
  double time = -1;
  double last = std::numeric_limits<double>::infinity();
  for (std::size_t lag = 0; lag + 1 < ranks.size(); lag += 2) {
    last = std::min(last, correlation(lag) + correlation(lag + 1));
    if (last <= 0) break;
    time += 2 * last;
  }
  return std::max(1.0, time);
}

std::vector<double> block_medians(std::span<const double> samples, std::size_t count) {
  std::vector<double> medians;
  medians.reserve(count);
  for (std::size_t block = 0; block < count; ++block) {
    const std::size_t begin = samples.size() * block / count;
    const std::size_t end = samples.size() * (block + 1) / count;
    medians.push_back(summarize(samples.subspan(begin, end - begin)).median);
  }
  return medians;
}

}  // namespace millet
