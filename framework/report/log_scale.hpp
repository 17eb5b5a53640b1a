// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace millet {

/// A logarithmic axis of a picture: values from `low` to `high`, both above 0, at pixels from `from` to `to`.
struct LogScale {
  double low = 1;
  double high = 10;
  double from = 0;
  double to = 1;

  /// The pixel of `value`; outside the axis for values outside it.
  [[nodiscard]] double operator()(double value) const noexcept {
    return from + (to - from) * (std::log(value / low) / std::log(high / low));
  }
  [[nodiscard]] bool holds(double value) const noexcept { return value >= low && value <= high; }
};

/// Where an axis is labelled: the powers of ten on it, with 2 and 5 times them, or every digit, where it spans few.
[[nodiscard]] inline std::vector<double> ticks(const LogScale& scale) {
  const double decades = std::log10(scale.high / scale.low);
  const int step = 1 + static_cast<int>(decades / 12);  // labels would run into each other
  std::vector<double> values;
  for (int power = static_cast<int>(std::floor(std::log10(scale.low))); std::pow(10.0, power) <= scale.high; ++power) {
    for (int digit = 1; digit <= 9; ++digit) {
      const double value = digit * std::pow(10.0, power);
      const bool wanted =
          (digit == 1 && power % step == 0) || decades < 0.7 || (decades < 2.5 && (digit == 2 || digit == 5));
      if (wanted && scale.holds(value)) values.push_back(value);
    }
  }
  return values;
}

/// `value` with a prefix: "250 M", "1 G", "4.25 T". Below a thousand it is the number alone.
[[nodiscard]] inline std::string with_prefix(double value, int significant = 3) {
  constexpr const char* prefixes[] = {"", " k", " M", " G", " T", " P", " E"};
  std::size_t prefix = 0;
  while (value >= 999.5 && prefix + 1 < std::size(prefixes)) {
    value /= 1000;
    ++prefix;
  }
  return fmt::format("{:.{}g}{}", value, significant, prefixes[prefix]);
}

}  // namespace millet
