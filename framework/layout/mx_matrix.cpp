// SPDX-License-Identifier: Apache-2.0
#include "millet/layout/mx_matrix.hpp"

#include <algorithm>

namespace millet {

Expected<MxMatrixView<>> make_mx_view(const E4M3* values, Index value_count, const E8M0* scales, Index scale_count,
                                      RowMajor value_layout, RowMajor block_layout) {
  const Index rows = value_layout.rows();
  const Index cols = value_layout.cols();
  if (rows < 1 || cols < 1) {
    return fail(ErrorCode::invalid_layout, "MxMatrix: extents must be at least 1, got {} x {}", rows, cols);
  }
  constexpr Index limit = Index{1} << 62;  // beyond it the arithmetic below would wrap
  for (const RowMajor& layout : {value_layout, block_layout}) {
    if (const Index pitch = std::max(layout.cols(), layout.row_stride); pitch > limit / rows) {
      return fail(ErrorCode::invalid_layout,
                  "MxMatrix: {} rows of {} elements pass the limit of 2^62; use smaller extents", rows, pitch);
    }
  }
  if (cols % MxBlock::k != 0) {
    return fail(ErrorCode::invalid_layout,
                "MxMatrix: columns must be a multiple of the {}-element scale block, got {}; zero-pad the rows to {}",
                MxBlock::k, cols, round_up_to_tile(cols, MxBlock::k));
  }
  if (block_layout.rows() != rows || block_layout.cols() != MxBlock::count(cols)) {
    return fail(ErrorCode::invalid_layout,
                "MxMatrix: scales must be [{}, {}] for values [{}, {}] (one per {} columns), got [{}, {}]", rows,
                MxBlock::count(cols), rows, cols, MxBlock::k, block_layout.rows(), block_layout.cols());
  }
  if (value_layout.row_stride < cols || block_layout.row_stride < block_layout.cols()) {
    return fail(ErrorCode::invalid_layout,
                "MxMatrix: row strides must be at least the row lengths {} and {}, got {} (values) and {} (scales)",
                cols, block_layout.cols(), value_layout.row_stride, block_layout.row_stride);
  }
  if (values == nullptr || scales == nullptr) {
    return fail(ErrorCode::invalid_argument, "MxMatrix: the {} pointer is null", values == nullptr ? "value" : "scale");
  }
  if (value_count < value_layout.required_span_size() || scale_count < block_layout.required_span_size()) {
    return fail(ErrorCode::invalid_layout,
                "MxMatrix: buffers hold {} values and {} scales, the mappings need {} and {}", value_count, scale_count,
                value_layout.required_span_size(), block_layout.required_span_size());
  }
  return MxMatrixView<>{values, scales, value_layout, RowMajorScales{block_layout}};
}

}  // namespace millet
