// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/layout/fragment_order.hpp"

/// The orders that fragment_order.hpp documents and a few that stress it, for the typed suites.
namespace millet::examples {

using SimdStrip = FragmentOrder<RowDigit<16>, ColDigit<4>>;
using MfmaHalfOperand = FragmentOrder<ColDigit<4, 16>, RowDigit<16>, ColDigit<16>>;
using MmaM16N8K32A = FragmentOrder<RowDigit<8>, ColDigit<4, 4>, ColDigit<2, 16>, RowDigit<2, 8>, ColDigit<4>>;
/// The transposed tile: column after column.
using Transposed = FragmentOrder<ColDigit<32>, RowDigit<8>>;
/// Odd radices, digits of both axes interleaved, nothing a power of two.
using OddRadices = FragmentOrder<RowDigit<3, 5>, ColDigit<7>, RowDigit<5>, ColDigit<3, 7>>;
/// A tile of one row; extents of 1 may stand anywhere.
using OneRow = FragmentOrder<RowDigit<1>, ColDigit<2, 32>, ColDigit<32>>;

/// Orders of the scales themselves, over (row, block).
using ScaleStrip = FragmentOrder<RowDigit<16>, ColDigit<1>>;
using ScaleDwords = FragmentOrder<RowDigit<16>, ColDigit<4>>;
using ScaleRowPairs = FragmentOrder<ColDigit<2>, RowDigit<2, 16>, RowDigit<16>>;

}  // namespace millet::examples
