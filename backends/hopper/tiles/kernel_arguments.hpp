// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "millet/backends/hopper/tiles/launch.hpp"
#include "millet/backends/hopper/tiles/weight_strips.hpp"
#include "millet/dispatch/kernel.hpp"

// From the framework's operands to the launches' plain arguments.

namespace millet::hopper {

using StripWeights = WeightLayout<StripValues, ScaleMapping<StripScales>>;
template <class Layout>
inline constexpr bool is_row_major = std::is_same_v<Layout, RowMajorWeights>;

/// Blocks of 32 products are summed by the tensor core, then in f32: docs/performance/hopper.md has the probe.
inline constexpr Accumulator mma_accumulator{0x1p-23, MxBlock::k};

/// Up to here the token scales of 64 tokens and the warps' sums fit into shared memory.
inline constexpr Index largest_k = 65536;
inline constexpr Index largest_grid = 0x7FFFFFFF;

template <class View>
[[nodiscard]] StripWeightsArguments weights_arguments(const View& b, Index expert_value_stride,
                                                      Index expert_scale_stride) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(b.values),
          reinterpret_cast<const std::uint8_t*>(b.scales),
          b.rows(),
          b.cols(),
          expert_value_stride,
          expert_scale_stride,
          std::is_same_v<View, RowMajorWeights::View>};
}

[[nodiscard]] inline TokensArguments tokens_arguments(const Activations& a) noexcept {
  return {static_cast<const std::uint8_t*>(a.values), reinterpret_cast<const std::uint8_t*>(a.scales), a.value_stride,
          a.scale_stride};
}

[[nodiscard]] inline Expected<void> checked(std::string_view what, cudaError_t error) {
  if (error == cudaSuccess) return {};
  return fail(ErrorCode::device_error, "{}: {} ({})", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

/// A rough time for thread blocks that stream a strip's share of weights each: the rate of the memory, or of the SM that
/// gets the most of them, plus what a block takes whatever its share. For choosing, until a table is tuned.
[[nodiscard]] inline double estimate_strips_seconds(double bytes, Index blocks, Index k, KSplit split,
                                                    const DeviceInfo& device) noexcept {
  const auto sms = static_cast<double>(std::max<Index>(device.compute_units, 1));
  const double most_blocks_on_an_sm = static_cast<double>(tiles_to_cover(blocks, static_cast<Index>(sms)));
  const double bytes_a_block = bytes / static_cast<double>(blocks);
  constexpr double memory_rate = 3.0e12;
  constexpr double sm_rate = 60e9;
  const double groups = static_cast<double>(tiles_to_cover(k, 128));
  const double warps = static_cast<double>(split.warps) * split.cluster;
  // Idle warps where the groups do not share out evenly.
  const double imbalance = static_cast<double>(tiles_to_cover(static_cast<Index>(groups), static_cast<Index>(warps))) *
      warps / groups;
  const double streaming = std::max(bytes / memory_rate, most_blocks_on_an_sm * bytes_a_block / sm_rate) * imbalance;
  return streaming + 2e-6 + 0.3e-6 * split.cluster;
}

}  // namespace millet::hopper
