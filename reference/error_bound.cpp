// SPDX-License-Identifier: Apache-2.0
#include "millet/reference/error_bound.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "millet/numeric/bf16.hpp"

namespace millet::reference {

namespace {

// Rounds to the output type through f32. The double rounding matters only within 2^-24 of a bf16 tie.
float round_to(OutputType type, double y) noexcept {
  const auto narrow = static_cast<float>(y);
  return type == OutputType::bf16 ? BF16::round(narrow).value() : narrow;
}

enum class NumberClass { nan, positive_infinity, negative_infinity, finite };

NumberClass classify(double x) noexcept {
  if (std::isnan(x)) return NumberClass::nan;
  if (std::isinf(x)) return x > 0 ? NumberClass::positive_infinity : NumberClass::negative_infinity;
  return NumberClass::finite;
}

// Distance of two finite bf16 values in units of the last place, counting through zero.
std::int64_t bf16_places(float x, float y) noexcept {
  const auto ordered = [](float value) {
    const auto bits = static_cast<std::int64_t>(BF16::round(value).bits);
    return (bits & 0x8000) != 0 ? 0x8000 - bits : bits;
  };
  return std::abs(ordered(x) - ordered(y));
}

}  // namespace

double ErrorBound::operator()(double y, double magnitude, Index k, double second_order,
                              double evaluation) const noexcept {
  const double u = accumulator.unit_roundoff;
  double relative = 6.0 * std::sqrt(static_cast<double>(k)) * u;
  const bool f32 = u == f32_accumulator.unit_roundoff && accumulator.promotion_interval == 0;
  if (f32) relative = std::min(relative, 16.0 * u);
  const double sum = relative * magnitude + relative * relative * second_order + evaluation;
  const double blocks = static_cast<double>(k) / 32.0;
  const double underflow = (blocks + 1.0) * 0x1p-149;
  const double store_roundoff = output == OutputType::bf16 ? 0x1p-8 : 0x1p-24;
  const double smallest = output == OutputType::bf16 ? 0x1p-133 : 0x1p-149;
  return sum + underflow + store_roundoff * (std::abs(y) + sum) + smallest;
}

Comparison compare(std::span<const float> c, const Product& expected, const ErrorBound& bound, float untouched) {
  Comparison result;
  const double largest = bound.output == OutputType::bf16 ? static_cast<double>(BF16{0x7F7F}.value())
                                                          : static_cast<double>(std::numeric_limits<float>::max());
  const bool f32_accumulates =
      bound.accumulator.unit_roundoff == f32_accumulator.unit_roundoff && bound.accumulator.promotion_interval == 0;
  if (static_cast<Index>(c.size()) != expected.rows * expected.n) {
    result.correct = false;
    result.verdict = fmt::format("C holds {} elements, {} expected", c.size(), expected.rows * expected.n);
    return result;
  }
  Index compared = 0;
  Index mismatches = 0;
  std::string first_class_mismatch;
  for (Index row = 0; row < expected.rows; ++row) {
    for (Index col = 0; col < expected.n; ++col) {
      const auto at = static_cast<std::size_t>(row * expected.n + col);
      if (!expected.written[static_cast<std::size_t>(row)]) {
        if (__builtin_bit_cast(std::uint32_t, c[at]) != __builtin_bit_cast(std::uint32_t, untouched)) {
          ++result.unwritten_touched;
        }
        continue;
      }
      ++compared;
      const double y = expected.y[at];
      const float rounded = round_to(bound.output, y);
      const double tolerance = expected.evaluation.empty() ? bound(y, expected.magnitude[at], expected.k)
                                                           : bound(y, expected.magnitude[at], expected.k,
                                                                   expected.second_order[at], expected.evaluation[at]);
      if (std::isinf(tolerance)) continue;  // a sum may overflow on its way into the epilogue: nothing to compare with
      const NumberClass got = classify(c[at]);
      NumberClass wanted = classify(rounded);
      // Within its bound of the overflow threshold an element may fall on either side of it. A partial sum may also
      // overflow on the way where S does, since the order of the sum is the kernel's own.
      const bool may_overflow = !std::isnan(y) && expected.magnitude[at] + tolerance > largest;
      const bool overflowed = got == NumberClass::positive_infinity || got == NumberClass::negative_infinity;
      if (may_overflow && wanted != got) {
        const bool sign_agrees = std::abs(y) <= tolerance || (got == NumberClass::positive_infinity) == (y > 0);
        const bool near_threshold = std::abs(y) - tolerance <= largest;
        if (overflowed ? sign_agrees : near_threshold && got == NumberClass::finite) wanted = got;
      }
      if (got != wanted) {
        if (result.class_mismatches++ == 0) {
          result.worst_row = row;
          result.worst_col = col;
          first_class_mismatch = fmt::format("C[{},{}] is {}, the exact result {}", row, col, c[at], y);
        }
        ++mismatches;
        continue;
      }
      if (got != NumberClass::finite) continue;
      const double ratio = std::abs(static_cast<double>(c[at]) - y) / tolerance;
      if (ratio > result.max_ratio) {
        result.max_ratio = ratio;
        if (result.class_mismatches == 0) {
          result.worst_row = row;
          result.worst_col = col;
        }
      }
      if (c[at] == rounded) continue;
      ++mismatches;
      if (bound.output == OutputType::bf16 && std::abs(y) > 0x1p-12 * expected.magnitude[at] &&
          std::abs(y) > 0x1p-120 && bf16_places(c[at], rounded) > 1) {
        ++result.over_one_ulp;
      }
    }
  }
  result.mismatch_fraction = compared > 0 ? static_cast<double>(mismatches) / static_cast<double>(compared) : 0.0;

  // With few elements one legitimate tie would pass 1 %; 3 is the count that 100 elements at that rate seldom reach.
  const bool gate_rounding = bound.output == OutputType::bf16 && f32_accumulates;
  const bool too_many = gate_rounding && mismatches > 3 && result.mismatch_fraction > 0.01;
  if (result.class_mismatches > 0) {
    result.verdict = fmt::format("{} element(s) of the wrong class: {}", result.class_mismatches, first_class_mismatch);
  } else if (result.max_ratio > 1.0) {
    const auto at = static_cast<std::size_t>(result.worst_row * expected.n + result.worst_col);
    result.verdict = fmt::format("C[{},{}]={} is {:.2f} times its bound away from {}", result.worst_row,
                                 result.worst_col, c[at], result.max_ratio, expected.y[at]);
  } else if (result.unwritten_touched > 0) {
    result.verdict = fmt::format("{} element(s) changed in rows that no routing entry names", result.unwritten_touched);
  } else if (too_many) {
    result.verdict = fmt::format("{:.2f} % of C differs from the exact result rounded to bf16; 1 % is the limit",
                                 100.0 * result.mismatch_fraction);
  } else if (gate_rounding && result.over_one_ulp > 0) {
    result.verdict = fmt::format("{} element(s) more than one bf16 place off", result.over_one_ulp);
  } else {
    result.verdict = "ok";
  }
  result.correct = result.verdict == "ok";
  return result;
}

}  // namespace millet::reference
