// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/layout/mapping.hpp"

namespace millet {

/// One scale per K consecutive elements of a row.
template <int K>
struct ScaleBlock {
  static constexpr Index k = K;

  /// Number of scales for a row of `cols` elements; cols must be a multiple of K.
  [[nodiscard]] MILLET_HD static constexpr Index count(Index cols) noexcept { return cols / K; }
};

/// The block of the OCP MX formats.
using MxBlock = ScaleBlock<32>;

/// A scale layout: maps (row, k) of the values to the offset of the scale that governs that value.
///
/// Not unique: the 32 columns of a block share one offset. The order of the scales themselves is that of `Blocks`, a
/// unique mapping over (row, block).
template <Mapping2D Blocks, class Block = MxBlock>
struct ScaleMapping {
  using BlockMapping = Blocks;

  Blocks blocks;

  friend constexpr bool operator==(const ScaleMapping&, const ScaleMapping&) = default;

  [[nodiscard]] MILLET_HD static constexpr bool is_always_unique() noexcept { return false; }
  [[nodiscard]] MILLET_HD constexpr Index rows() const noexcept { return blocks.rows(); }
  [[nodiscard]] MILLET_HD constexpr Index cols() const noexcept { return blocks.cols() * Block::k; }
  [[nodiscard]] MILLET_HD constexpr Index required_span_size() const noexcept { return blocks.required_span_size(); }
  [[nodiscard]] MILLET_HD constexpr Index operator()(Index row, Index k) const noexcept {
    return blocks(row, k / Block::k);
  }
};

}  // namespace millet
