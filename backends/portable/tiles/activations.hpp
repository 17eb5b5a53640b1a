// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/portable/tiles/lanes.hpp"
#include "millet/dispatch/operands.hpp"

namespace millet::portable {

/// The k of a block that its sums take i-th: 0 2 1 3, 4 6 5 7 and so on, as the weights of a dword decode in pairs.
[[nodiscard]] MILLET_HD constexpr int summed_at(int i) noexcept { return i % 4 == 1 ? i + 1 : i % 4 == 2 ? i - 1 : i; }

/// A as the products want it: decoded once a call into the workspace. Block after block, and in a block row after row,
/// so that the rows of one block are contiguous: with a power-of-two row stride they would share a few cache sets.
struct DecodedActivations {
  float* values = nullptr;         ///< [blocks][rows][32], times 2^activation_exponent, in the order of the sums
  std::int32_t* scales = nullptr;  ///< [blocks][rows], e8m0 codes
  Index rows = 0;

  [[nodiscard]] static constexpr Index bytes(Index rows, Index k) noexcept {
    return rows * k * 4 + rows * MxBlock::count(k) * 4;
  }
  [[nodiscard]] static DecodedActivations in(Workspace workspace, Index rows, Index k) noexcept {
    auto* const values = static_cast<float*>(workspace.data);
    return {values, reinterpret_cast<std::int32_t*>(values + rows * k), rows};
  }
  [[nodiscard]] MILLET_HD const float* block_row(Index block, Index row) const noexcept {
    return values + (block * rows + row) * MxBlock::k;
  }
  [[nodiscard]] MILLET_HD std::int32_t scale(Index block, Index row) const noexcept {
    return scales[block * rows + row];
  }
};

}  // namespace millet::portable
