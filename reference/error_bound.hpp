// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "millet/dispatch/kernel.hpp"
#include "millet/reference/eigen_gemm.hpp"

namespace millet::reference {

/// How far an element of C may be from the exact result y.
///
/// Products of two e4m3 values have at most 8 significant bits and scales are powers of two, so the only roundings are
/// those of the accumulation and of the final store. With S = sum |a||b|, k the extent and u the accumulator's unit
/// roundoff:
///   any accumulator:  6 sqrt(k) u S                (probabilistic bound of Higham and Mary: any order, any split)
///   f32 accumulator:  the smaller of that and 16 u S   (measured worst is 0.3 u S; the factor is the margin)
/// An epilogue passes this on, with c = error / S, as its Product says: c magnitude + c^2 second_order + evaluation.
/// To that the store adds half a unit in the last place of the output type, and sums near the underflow threshold add
/// one quantum 2^-149 for each of the k / 32 scaled block sums.
struct ErrorBound {
  Accumulator accumulator = f32_accumulator;
  OutputType output = OutputType::bf16;

  [[nodiscard]] double operator()(double y, double magnitude, Index k, double second_order = 0,
                                  double evaluation = 0) const noexcept;
};

/// What comparing C with the oracle found.
struct Comparison {
  double max_ratio = 0;  ///< largest |error| / bound over finite elements; above 1 is wrong
  Index worst_row = -1;  ///< where max_ratio, or the first mistake of class, stands
  Index worst_col = -1;
  Index class_mismatches = 0;    ///< NaN, infinity or a finite number where another of these belongs
  Index unwritten_touched = 0;   ///< elements changed in rows that no routing entry names
  double mismatch_fraction = 0;  ///< elements that differ from the exact result rounded once to the output type
  Index over_one_ulp = 0;  ///< bf16: elements off by more than one place although |y| > 2^-12 S (f32 accumulators)

  /// Every gate holds: ratio <= 1, classes agree, no stray writes; for bf16 with an f32 accumulator also at most 1 % of
  /// the elements (but always a few, where there are few) differ from the exact rounding and none by more than one
  /// place.
  bool correct = true;
  std::string verdict;  ///< "ok", or what is wrong and where, in one line
};

/// Compares C [rows, n] (bf16 already widened) with the oracle, element by element; nothing is skipped but what has an
/// infinite bound (see swiglu_of).
///
/// \param untouched  the value that unwritten rows were filled with beforehand, by its bits
[[nodiscard]] Comparison compare(std::span<const float> c, const Product& expected, const ErrorBound& bound,
                                 float untouched = 0.0F);

}  // namespace millet::reference
