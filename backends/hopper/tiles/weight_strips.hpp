// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/layout/fragment_order.hpp"
#include "millet/layout/scale_block.hpp"

namespace millet::hopper {

/// Rows of B that one matrix instruction covers.
inline constexpr int strip_rows = 16;

/// Blocks of 32 k whose scales stand together.
inline constexpr int blocks_per_group = 4;

/// A block of 16 rows by 32 k in 512 bytes: lane 4 g + t of a warp reads 16 bytes, k = 8 t .. 8 t + 7 of rows g and g
/// + 8.
///
/// The matrix instruction gives a lane other k's than these (instructions.hpp). Inside a block their order does not
/// matter as long as A and B agree, and with this one a lane's eight codes of a token stand together too.
using StripValues = FragmentOrder<RowDigit<8>, ColDigit<4, 8>, RowDigit<2, 8>, ColDigit<8>>;

/// The scales of 16 rows by 4 blocks in 64 bytes: lanes 4 g .. 4 g + 3 read 8 bytes, 4 blocks of rows g and g + 8.
using StripScales = FragmentOrder<RowDigit<8>, RowDigit<2, 8>, ColDigit<blocks_per_group>>;

}  // namespace millet::hopper
