// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/layout/fragment_order.hpp"
#include "millet/layout/scale_block.hpp"

namespace millet::hopper {

/// Rows of B that one matrix instruction covers.
inline constexpr int strip_rows = 16;

/// Blocks of 32 k whose scales stand together.
inline constexpr int blocks_per_group = 4;

/// A block of 16 rows by 32 k in 512 bytes: lane 4 g + t of a warp reads 16 bytes, four words of four codes: k = 4 t of
/// row g, the same of row g + 8, k = 16 + 4 t of row g, the same of row g + 8.
///
/// This is the order of the registers that `wgmma` on e4m3 takes its left operand from. Two `mma.m16n8k16` sum the same
/// products with k's of a block in another order, which does not matter as long as A and B agree (strip_product.hpp).
using StripValues = FragmentOrder<RowDigit<8>, ColDigit<4, 4>, ColDigit<2, 16>, RowDigit<2, 8>, ColDigit<4>>;

/// The scales of 16 rows by 4 blocks in 64 bytes: lanes 4 g .. 4 g + 3 read 8 bytes, 4 blocks of rows g and g + 8.
using StripScales = FragmentOrder<RowDigit<8>, RowDigit<2, 8>, ColDigit<blocks_per_group>>;

}  // namespace millet::hopper
