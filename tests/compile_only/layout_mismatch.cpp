// SPDX-License-Identifier: Apache-2.0
// A preshuffled matrix is not a row-major one: reading it as such would give plausible nonsense.
#include "millet/quantize/relayout.hpp"

using namespace millet;
using Strip = FragmentOrder<RowDigit<16>, ColDigit<4>>;

float first(const MxMatrixView<>& x) { return x(0, 0); }

float use(const MxMatrixView<Strip>& shuffled) {
#ifdef MILLET_MUST_NOT_COMPILE
  return first(shuffled);  // MILLET_MUST_NOT_COMPILE_HERE
#else
  return first(relayout<RowMajor, RowMajorScales>(shuffled).view());
#endif
}
