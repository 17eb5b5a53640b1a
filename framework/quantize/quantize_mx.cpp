// SPDX-License-Identifier: Apache-2.0
#include "millet/quantize/quantize_mx.hpp"

#include <algorithm>
#include <cmath>

namespace millet {

Expected<MxMatrix<>> quantize_mx(std::span<const float> x, Index rows, Index cols, ScaleMode mode) {
  if (rows < 1 || cols < 1) {
    return fail(ErrorCode::invalid_layout, "quantize_mx: extents must be at least 1, got {} x {}", rows, cols);
  }
  // First, and by division: rows * cols, or cols padded, may not fit an Index unless the input is that large.
  const auto size = static_cast<Index>(x.size());
  if (size / cols != rows || size % cols != 0) {
    return fail(ErrorCode::invalid_layout, "quantize_mx: {} x {} elements wanted, the input holds {}", rows, cols,
                size);
  }
  if (cols % MxBlock::k != 0) {
    return fail(
        ErrorCode::invalid_layout,
        "quantize_mx: columns must be a multiple of the {}-element scale block, got {}; zero-pad the rows to {}",
        MxBlock::k, cols, round_up_to_tile(cols, MxBlock::k));
  }
  MxMatrix<> result(RowMajor(rows, cols), row_major_scales(rows, cols));
  const Index blocks = rows * MxBlock::count(cols);
  for (Index block = 0; block < blocks; ++block) {
    const Index first = block * MxBlock::k;
    result.scales()[block] = quantize_block(x.data() + first, 1, mode, result.values().data() + first);
  }
  return result;
}

Expected<QuantizationError> quantization_error(std::span<const float> x, const MxMatrixView<>& quantized) {
  const Index rows = quantized.rows();
  const Index cols = quantized.cols();
  const auto size = static_cast<Index>(x.size());
  if (cols < 1 || size / cols != rows || size % cols != 0) {
    return fail(ErrorCode::invalid_layout, "quantization_error: the input holds {} elements, the matrix {} x {}", size,
                rows, cols);
  }
  QuantizationError error{};
  double error_sum = 0;
  double input_sum = 0;
  for (Index row = 0; row < rows; ++row) {
    for (Index first = 0; first < cols; first += MxBlock::k) {
      const E8M0 scale = quantized.scale(row, first);
      if (scale.is_nan()) {
        ++error.nan_blocks;
        continue;
      }
      double block_error = 0;
      double block_input = 0;
      for (Index k = first; k < first + MxBlock::k; ++k) {
        const double input = x[row * cols + k];
        const double unscaled = std::ldexp(std::abs(input), -scale.exponent());
        // 464 is the last magnitude that rounds to 448 without clipping (the tie to even).
        if (unscaled > 464.0) ++error.saturated;
        const double dequantized = std::ldexp(static_cast<double>(quantized.code(row, k).value()), scale.exponent());
        block_error += (input - dequantized) * (input - dequantized);
        block_input += input * input;
      }
      error_sum += block_error;
      input_sum += block_input;
      if (block_input > 0) {
        error.worst_block_relative = std::max(error.worst_block_relative, std::sqrt(block_error / block_input));
      }
    }
  }
  error.relative_frobenius = input_sum > 0 ? std::sqrt(error_sum / input_sum) : 0.0;
  return error;
}

}  // namespace millet
