// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/error/expected.hpp"
#include "millet/layout/mx_matrix.hpp"

namespace millet {

/// Part of an extent: [first, first + count).
struct Slice {
  Index first = 0;
  Index count = 0;

  friend bool operator==(const Slice&, const Slice&) = default;
};

/// The part of `extent` that belongs to `rank` of `ranks`: whole granules, as evenly as they go, the larger parts
/// first. Every rank gets at least one. Errors: invalid_argument when extent is no multiple of granule, or has fewer
/// granules than there are ranks.
[[nodiscard]] Expected<Slice> slice_of(Index extent, Index granule, Index ranks, Index rank);

/// Rows of an MX matrix: of weights [n, k] a column-parallel layer's share.
[[nodiscard]] MxMatrix<> rows_of(const MxMatrix<>& matrix, const Slice& rows);

/// Columns of an MX matrix, whole scale blocks: of weights or activations a row-parallel layer's share.
[[nodiscard]] MxMatrix<> columns_of(const MxMatrix<>& matrix, const Slice& columns);

}  // namespace millet
