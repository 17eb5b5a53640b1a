// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/host_device.hpp"

// Which lane of a wave holds what in V_MFMA_SCALE_F32_16X16X128_F8F6F4 with fp8 operands. Plain index arithmetic, so
// that the layouts, the emulator, the device probe and the tests all use the one statement of it.
//
// Source: the CDNA4 instruction set documentation's scaled MFMA tables as restated by AMD's Composable Kernel unit
// tests of the instruction, and the operand bytes that Triton's compiled gfx950 code feeds it;
// docs/performance/gfx950.md.

namespace millet::gfx950 {

/// Lanes of a wave on CDNA.
inline constexpr int wave_lanes = 64;

/// Rows of either operand, and rows and columns of D.
inline constexpr int mfma_rows = 16;
/// k of one instruction: four MX blocks.
inline constexpr int mfma_k = 128;
/// MX blocks of 32 k of one instruction.
inline constexpr int mfma_blocks = 4;
/// Bytes of an operand that a lane holds, in two runs of 16.
inline constexpr int mfma_lane_bytes = 32;
/// k between a lane's two runs.
inline constexpr int mfma_run_distance = 64;

/// The operand row (of B, the weights, or of A, the tokens) whose bytes and scale a lane holds.
[[nodiscard]] MILLET_HD constexpr int mfma_row(int lane) noexcept { return lane % mfma_rows; }

/// Lanes 16 g .. 16 g + 15 are group g.
[[nodiscard]] MILLET_HD constexpr int mfma_group(int lane) noexcept { return lane / mfma_rows; }

/// The k of byte `byte` (0..31) of a lane's operand: group g holds k 16 g .. 16 g + 15 and 64 + 16 g .. 64 + 16 g + 15.
/// So a lane's bytes lie in blocks g / 2 and 2 + g / 2, not in the block whose scale it holds.
[[nodiscard]] MILLET_HD constexpr int mfma_k_of_byte(int lane, int byte) noexcept {
  return byte / 16 * mfma_run_distance + mfma_group(lane) * 16 + byte % 16;
}

/// The block of 32 k whose scale a lane holds, for its row.
[[nodiscard]] MILLET_HD constexpr int mfma_scale_block(int lane) noexcept { return mfma_group(lane); }

/// Of D = B times A transposed, with the weights as the first operand: element i (0..3) of a lane is row 4 g + i, a
/// row of the first operand ...
[[nodiscard]] MILLET_HD constexpr int mfma_d_row(int lane, int i) noexcept { return 4 * mfma_group(lane) + i; }
/// ... and this column, a row of the second.
[[nodiscard]] MILLET_HD constexpr int mfma_d_column(int lane) noexcept { return lane % mfma_rows; }

}  // namespace millet::gfx950
