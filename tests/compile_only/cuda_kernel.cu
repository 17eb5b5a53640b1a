// SPDX-License-Identifier: Apache-2.0
// Each header that kernels include, at work in a kernel. They must stay free of the host's vectors, errors and
// formatting: the {fmt} 9 headers, for one, do not pass nvcc.
#include "millet/layout/fragment_order.hpp"
#include "millet/layout/mx_matrix_view.hpp"
#include "millet/numeric/bf16.hpp"
#include "millet/numeric/e4m3.hpp"
#include "millet/numeric/e8m0.hpp"
#include "millet/quantize/quantize_block.hpp"

using namespace millet;
using Fragment = FragmentOrder<RowDigit<8>, ColDigit<4, 4>, ColDigit<2, 16>, RowDigit<2, 8>, ColDigit<4>>;
using ScaleOrder = ScaleMapping<FragmentOrder<RowDigit<16>, ColDigit<1>>>;

__global__ void numbers(const float* x, E4M3* elements, E8M0* scales, BF16* narrow, float* back) {
  const int i = static_cast<int>(threadIdx.x);
  elements[i] = E4M3::round(x[i], -3, Overflow::to_nan);
  scales[i] = E8M0::round(x[i], PowerRounding::up);
  narrow[i] = BF16::round(x[i]);
  const bool nan = elements[i].is_nan() || scales[i].is_nan() || narrow[i].is_nan();
  back[i] = nan ? 0.0F : elements[i].value() * scales[i].value() + narrow[i].value();
}

__global__ void quantize(const float* x, Index rows, E4M3* codes, E8M0* scales) {
  const Index row = threadIdx.x;
  if (row >= rows) return;
  E4M3 block[32];
  scales[row] = quantize_block(x + row, rows, ScaleMode::rceil, block);
  for (int i = 0; i < 32; ++i) codes[Fragment(rows, 32)(row, i)] = block[i];
}

__global__ void decode(MxMatrixView<Fragment, ScaleOrder> a, MxMatrixView<> b, float* c) {
  const Index entry = threadIdx.x;
  if (entry >= a.value_layout.required_span_size()) return;
  const auto [row, col] = a.value_layout.coordinates(entry);
  if (row >= a.rows() || col >= a.cols() || a.code(row, col) == E4M3{0}) return;
  float sum = 0.0F;
  for (Index k = 0; k < a.cols(); ++k) sum += a(row, k) * b(row, k);
  c[entry] = sum;
}
