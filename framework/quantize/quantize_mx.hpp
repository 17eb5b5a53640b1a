// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "millet/error/expected.hpp"
#include "millet/layout/mx_matrix.hpp"
#include "millet/quantize/quantize_block.hpp"

namespace millet {

/// Quantizes a row-major matrix to MX-FP8.
///
/// Shapes:  x [rows, cols] contiguous; the result is row-major, scales [rows, cols / 32].
/// Errors:  invalid_layout when an extent is < 1, cols is not a multiple of 32, or x has another size than rows * cols.
[[nodiscard]] Expected<MxMatrix<>> quantize_mx(std::span<const float> x, Index rows, Index cols,
                                               ScaleMode mode = ScaleMode::rceil);

/// How well `quantized` represents the f32 matrix `x` that it came from.
struct QuantizationError {
  double relative_frobenius;    ///< |x - dequantized|_F / |x|_F; 0 for an all-zero x
  double worst_block_relative;  ///< the same per block of 32, the largest
  Index saturated;              ///< elements at +-448 whose input was beyond 464 scales
  Index nan_blocks;             ///< blocks with scale 255; they are left out of the norms
};

/// Shapes: x [rows, cols] contiguous, the extents of `quantized`. Errors: invalid_layout when the sizes differ.
[[nodiscard]] Expected<QuantizationError> quantization_error(std::span<const float> x, const MxMatrixView<>& quantized);

}  // namespace millet
