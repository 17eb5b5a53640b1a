// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/instructions.hpp"
#include "millet/backends/gfx950/tiles/arguments.hpp"

// Kernels that show what a device can do at most: read memory, and multiply.

namespace millet::gfx950 {

/// Reads read_chunk bytes a work-group, once, eight 16-byte loads of a lane in flight.
MILLET_GPU void read_streaming(const ReadArguments& x) {
  constexpr std::uint32_t lane_bytes = 16;
  constexpr std::uint32_t row = static_cast<std::uint32_t>(ceiling_threads) * lane_bytes;
  const Index start = Index{group_id_x()} * read_chunk;
  const Index left = x.bytes - start;
  const Buffer from = make_buffer(x.from + start, left < read_chunk ? left : Index{read_chunk});
  Vec4u all = {};
  for (std::uint32_t at = static_cast<std::uint32_t>(thread_id()) * lane_bytes; at < read_chunk; at += 8 * row) {
    Vec4u loaded[8];
    for (std::uint32_t i = 0; i < 8; ++i) loaded[i] = load_b128<Cache::streaming>(from, at + i * row);
    for (const Vec4u& four : loaded) all |= four;
  }
  // Never true of the zeroed memory that is read; keeps the loads alive.
  if ((all[0] & all[1] & all[2] & all[3]) == 0xFFFFFFFFU) store(x.sink, 1.0F);
}

/// Eight independent chains of scaled MFMAs a wave, `steps` long.
MILLET_GPU void mfma_peak(const PeakArguments& x) {
  const auto lane = static_cast<std::uint32_t>(thread_id());
  const Vec8u operand = {lane, lane, lane, lane, lane, lane, lane, lane};
  Vec4f sums[mfma_chains] = {};
  for (std::uint32_t step = 0; step < x.steps; ++step) {
    for (Vec4f& sum : sums) sum = mfma_scale_16x16x128<0, 0>(operand, lane, operand, lane, sum);
  }
  float total = 0;
  for (const Vec4f& sum : sums) total += sum[0] + sum[1] + sum[2] + sum[3];
  if (total == 1.0F) store(x.sink, total);
}

}  // namespace millet::gfx950
