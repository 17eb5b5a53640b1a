// SPDX-License-Identifier: Apache-2.0
// The same for the scales alone, for two different preshuffled orders, and in the other direction.
#include "millet/quantize/relayout.hpp"

using namespace millet;
using Strips = ScaleMapping<FragmentOrder<RowDigit<16>, ColDigit<1>>>;
using Dwords = ScaleMapping<FragmentOrder<RowDigit<16>, ColDigit<4>>>;

float row_major(const MxMatrixView<>& x) { return x(0, 0); }
float strips(const MxMatrixView<RowMajor, Strips>& x) { return x(0, 0); }

float use(const MxMatrixView<RowMajor, Strips>& strip_scales, const MxMatrixView<RowMajor, Dwords>& dword_scales,
          const MxMatrixView<>& plain) {
#ifdef MILLET_MUST_NOT_COMPILE
  float sum = row_major(strip_scales);  // MILLET_MUST_NOT_COMPILE_HERE
  sum += strips(dword_scales);          // MILLET_MUST_NOT_COMPILE_HERE
  sum += strips(plain);                 // MILLET_MUST_NOT_COMPILE_HERE
  return sum;
#else
  return row_major(plain) + strips(strip_scales) + strips(relayout<RowMajor, Strips>(dword_scales).view());
#endif
}
