// SPDX-License-Identifier: Apache-2.0
#include "millet/quantize/relayout.hpp"

namespace millet {

Expected<MxMatrix<>> interleave_gate_up(const MxMatrixView<>& gate, const MxMatrixView<>& up) {
  const Index rows = gate.rows();
  const Index cols = gate.cols();
  if (up.rows() != rows || up.cols() != cols) {
    return fail(ErrorCode::invalid_layout, "interleave_gate_up: gate is [{}, {}], up [{}, {}]; they must be alike",
                rows, cols, up.rows(), up.cols());
  }
  const Index blocks = MxBlock::count(cols);
  MxMatrix<> both(RowMajor(2 * rows, cols), RowMajorScales{RowMajor(2 * rows, blocks)});
  for (Index row = 0; row < 2 * rows; ++row) {
    const MxMatrixView<>& from = row % 2 == 0 ? gate : up;
    for (Index k = 0; k < cols; ++k) both.values()[row * cols + k] = from.code(row / 2, k);
    for (Index block = 0; block < blocks; ++block) {
      both.scales()[row * blocks + block] = from.scale(row / 2, block * MxBlock::k);
    }
  }
  return both;
}

}  // namespace millet
