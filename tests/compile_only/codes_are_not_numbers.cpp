// SPDX-License-Identifier: Apache-2.0
// Codes do not convert from or to numbers, nor into each other: a byte taken for a value is the classic mistake.
#include "millet/numeric/bf16.hpp"
#include "millet/numeric/e4m3.hpp"
#include "millet/numeric/e8m0.hpp"

using namespace millet;

float use(E4M3 element, E8M0 scale, float x) {
#ifdef MILLET_MUST_NOT_COMPILE
  const E4M3 from_float = x;          // MILLET_MUST_NOT_COMPILE_HERE
  const E8M0 from_element = element;  // MILLET_MUST_NOT_COMPILE_HERE
  const BF16 from_number = x;         // MILLET_MUST_NOT_COMPILE_HERE
  return element * scale.value();     // MILLET_MUST_NOT_COMPILE_HERE
#else
  const E4M3 from_float = E4M3::round(x);
  const E8M0 from_element = E8M0::round(element.value(), PowerRounding::up);
  const BF16 from_number = BF16::round(x);
  return from_float.value() * from_element.value() * from_number.value() * scale.value();
#endif
}
