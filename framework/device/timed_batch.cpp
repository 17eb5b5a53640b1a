// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "millet/device/stream.hpp"

namespace millet {

Expected<double> median_seconds(const TimedBatch& batch, double seconds) {
  std::vector<double> times;
  double spent = 0.0;
  while (times.size() < 8 || spent < seconds) {
    auto time = batch();
    if (!time) return time;
    spent += *time;
    times.push_back(*time);
  }
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

}  // namespace millet
