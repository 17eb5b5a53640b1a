// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>

#include "millet/backends/cpu/instruction_set.hpp"
#include "millet/backends/cpu/tiles/activations.hpp"
#include "millet/backends/cpu/tiles/threads.hpp"
#include "millet/device/device_info.hpp"
#include "millet/device/host_info.hpp"
#include "millet/dispatch/strip_weights.hpp"

// From the framework's operands to the kernels' arguments.

namespace millet::cpu {

template <class Layout>
inline constexpr bool is_row_major = std::is_same_v<Layout, RowMajorWeights>;

[[nodiscard]] inline WeightsArguments weights_arguments(const StripWeights::View& b) noexcept {
  return {&b.values->bits, &b.scales->bits, b.rows(), b.cols(), false, b.scale_layout.blocks.strip_stride()};
}
[[nodiscard]] inline WeightsArguments weights_arguments(const RowMajorWeights::View& b) noexcept {
  return {&b.values->bits, &b.scales->bits, b.rows(), b.cols(), true, b.scale_layout.blocks.row_stride};
}

[[nodiscard]] inline OutputArguments output_arguments(const Output& c, OutputType type, Index n,
                                                      bool weighted) noexcept {
  return {c.values, c.row_stride, n, type == OutputType::bf16, weighted};
}

/// What a block of row-major weights costs more than one of strips.
inline constexpr double cycles_of_packing = 115.0;

[[nodiscard]] constexpr Index strips_of(Index n) noexcept { return tiles_to_cover(n, strip_rows); }

/// Modelled seconds of a call: what a block of a strip costs in cycles of a nominal 3 GHz core, over the threads in
/// use. The figures were measured with AVX2 (docs/performance/cpu.md); for choosing a kernel only their ratios matter.
[[nodiscard]] inline double modelled_seconds(Index n, Index k, double cycles_per_block,
                                             const DeviceInfo& device) noexcept {
  const auto strips = static_cast<double>(strips_of(n));
  const double threads = std::min(strips, static_cast<double>(std::max<Index>(device.compute_units, 1)));
  return std::ceil(strips / threads) * static_cast<double>(MxBlock::count(k)) * cycles_per_block / 3e9;
}

}  // namespace millet::cpu
