// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/dispatch/operands.hpp"
#include "millet/layout/strip_order.hpp"

namespace millet {

/// Weights in strips of 16 rows with a byte about each block of 32 k.
struct StripWeights : WeightLayout<StripOrder, ScaleMapping<StripScaleOrder>> {
  /// Fills in what is known about each block of packed weights.
  static void annotate(const View& b, E8M0* scales) noexcept {
    const StripScaleOrder& order = b.scale_layout.blocks;
    for (Index strip = 0; strip < b.value_layout.row_tiles(); ++strip) {
      for (Index block = 0; block < order.cols(); ++block) {
        const E4M3* const codes = b.values + b.value_layout.tile_offset(strip, block * (MxBlock::k / 4));
        scales[order.property_offset(strip, block)].bits =
            properties_of_block(&codes->bits, &scales[order(strip * strip_rows, block)].bits);
      }
    }
  }
};

}  // namespace millet
