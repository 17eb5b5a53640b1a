// SPDX-License-Identifier: Apache-2.0
#include "tp/slices.hpp"

#include <algorithm>

namespace millet {

Expected<Slice> slice_of(Index extent, Index granule, Index ranks, Index rank) {
  if (extent < 1 || extent % granule != 0) {
    return fail(ErrorCode::invalid_argument, "an extent of {} does not split at multiples of {}", extent, granule);
  }
  const Index granules = extent / granule;
  if (granules < ranks) {
    return fail(ErrorCode::invalid_argument,
                "an extent of {} has {} parts of {}, too few for {} ranks; use fewer ranks or a larger extent", extent,
                granules, granule, ranks);
  }
  const Index least = granules / ranks;
  const Index larger = granules % ranks;  // ranks that have one more
  return Slice{(rank * least + std::min(rank, larger)) * granule, (least + (rank < larger ? 1 : 0)) * granule};
}

MxMatrix<> rows_of(const MxMatrix<>& matrix, const Slice& rows) {
  const Index k = matrix.cols();
  const Index blocks = MxBlock::count(k);
  MxMatrix<> part(RowMajor(rows.count, k), row_major_scales(rows.count, k));
  std::copy_n(matrix.values().begin() + rows.first * k, rows.count * k, part.values().begin());
  std::copy_n(matrix.scales().begin() + rows.first * blocks, rows.count * blocks, part.scales().begin());
  return part;
}

MxMatrix<> columns_of(const MxMatrix<>& matrix, const Slice& columns) {
  const Index k = matrix.cols();
  const Index blocks = MxBlock::count(k);
  const Index part_blocks = MxBlock::count(columns.count);
  MxMatrix<> part(RowMajor(matrix.rows(), columns.count), row_major_scales(matrix.rows(), columns.count));
  for (Index row = 0; row < matrix.rows(); ++row) {
    std::copy_n(matrix.values().begin() + row * k + columns.first, columns.count,
                part.values().begin() + row * columns.count);
    std::copy_n(matrix.scales().begin() + row * blocks + MxBlock::count(columns.first), part_blocks,
                part.scales().begin() + row * part_blocks);
  }
  return part;
}

}  // namespace millet
