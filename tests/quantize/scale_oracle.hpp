// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>

#include "millet/quantize/quantize_mx.hpp"

namespace millet::oracle {

/// ceil(log2 x) for finite x > 0, subnormal f32 included.
inline int ceil_log2(double x) {
  int exponent = 0;
  return std::frexp(x, &exponent) == 0.5 ? exponent - 1 : exponent;
}

/// The scale code of a block with this finite amax, from the modes' formulas in floating point.
///
/// RCEIL is ceil_pow2 of the f32 product amax * (1 / 448), its one rounding included: the codes of the stacks that
/// compute it so. The others are exact.
inline int scale_code(float amax, ScaleMode mode) {
  if (amax == 0) return 0;
  const int floor_log2 = std::ilogb(amax);
  int exponent = 0;
  switch (mode) {
    case ScaleMode::floor:
      exponent = floor_log2 - 8;
      break;
    case ScaleMode::ceil:
      exponent = ceil_log2(amax) - 8;
      break;
    case ScaleMode::even:
      exponent = floor_log2 - 8 + (std::ldexp(double{amax}, -floor_log2) >= 1.9375 ? 1 : 0);
      break;
    case ScaleMode::rceil: {
      const float quotient = amax * (1.0F / 448.0F);
      exponent = quotient == 0 ? -127 : ceil_log2(quotient);
      break;
    }
  }
  return std::max(exponent + 127, 0);
}

}  // namespace millet::oracle
