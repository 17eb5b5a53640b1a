// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/lane_maps.hpp"
#include "millet/layout/fragment_order.hpp"
#include "millet/layout/scale_block.hpp"

namespace millet::gfx950 {

/// Steps of 128 k whose scales stand together: four bytes, a dword a lane, one of which an instruction selects.
inline constexpr int steps_per_scale_dword = 4;

/// 16 rows by 128 k in 2 KB, the operand of one scaled MFMA: two runs of 1 KB, 16 bytes for each lane in lane order.
using StripValues = FragmentOrder<ColDigit<2, mfma_run_distance>, ColDigit<4, 16>, RowDigit<mfma_rows>, ColDigit<16>>;

/// The scales of 16 rows by 512 k in 256 bytes, in lane order: a lane's dword holds the scale that it supplies in each
/// of four steps. Columns are blocks of 32 k.
using StripScales =
    FragmentOrder<ColDigit<mfma_blocks>, RowDigit<mfma_rows>, ColDigit<steps_per_scale_dword, mfma_blocks>>;

/// Bytes of a strip's values in one step, and of its scales in steps_per_scale_dword steps.
inline constexpr int strip_step_bytes = StripValues::tile_size;
inline constexpr int strip_scale_bytes = StripScales::tile_size;

/// Steps of 128 k that cover `k`.
[[nodiscard]] MILLET_HD constexpr Index steps_of(Index k) noexcept { return tiles_to_cover(k, mfma_k); }

}  // namespace millet::gfx950
