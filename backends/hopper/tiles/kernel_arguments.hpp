// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>

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

/// The e4m3 unit cuts each product at 2^-13 of the block's largest: less than 31 * 2^-13 of it is lost, and 6 sqrt(32)
/// > 31.
inline constexpr Accumulator wgmma_accumulator{0x1p-13, MxBlock::k};

/// An f16 instruction adds 16 products to its sum and cuts each of these at 2^-25 of the largest, the result to 24
/// bits. Up to 2048 k are added so before f32 takes over: docs/performance/hopper.md has the probe.
inline constexpr Accumulator wgmma_f16_accumulator{0x1p-22, 2048};

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
          a.scale_stride,
          a.format == ActivationFormat::mx     ? 1
          : a.format == ActivationFormat::bf16 ? 2
                                               : 4};
}

/// What a dense kernel takes of all that lies within its envelope: as many thread blocks as a grid may have.
[[nodiscard]] constexpr Verdict dense_verdict(const Envelope& envelope, const GemmProblem& p) noexcept {
  if (tiles_to_cover(p.n, strip_rows) * 8 > largest_grid) return {"n outside the envelope"};
  return envelope.contains(p);
}

/// \param round_groups  of the kernels that plan with it: GemmArguments
template <class Layout>
[[nodiscard]] GemmArguments dense_arguments(const GemmProblem& p, const GemmOperands<Layout>& x, const WorkSplit& split,
                                            int round_groups = 0) noexcept {
  return {weights_arguments(x.b, 0, 0),
          tokens_arguments(x.a),
          {x.c.values, x.c.row_stride, p.output == OutputType::bf16},
          p.m,
          split,
          round_groups};
}

[[nodiscard]] inline RoutingArguments routing_arguments(const GroupedProblem& p, const RoutingView& routing) noexcept {
  return {p.experts,
          p.slots,
          p.a_div,
          p.block_m,
          p.blocks(),
          routing.sorted_token_ids,
          routing.expert_ids,
          routing.num_tokens_post_padded,
          p.weighted ? routing.slot_weights : nullptr};
}

[[nodiscard]] inline Expected<void> checked(std::string_view what, cudaError_t error) {
  if (error == cudaSuccess) return {};
  return fail(ErrorCode::device_error, "{}: {} ({})", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

[[nodiscard]] inline std::string split_name(const WorkSplit& split) {
  return fmt::format("{} x {} warps, cluster of {}{}", split.row_warps, split.k_warps, split.cluster,
                     split.early_weights ? ", early weights" : "");
}

/// Experts that a routing touches if it is even: an estimate for cost models.
[[nodiscard]] inline double expected_experts(const GroupedProblem& p) noexcept {
  const auto experts = static_cast<double>(p.experts);
  return experts * (1.0 - std::pow(1.0 - 1.0 / experts, static_cast<double>(p.slots)));
}

/// A rough time for a dense product, for choosing until a table is tuned.
[[nodiscard]] inline double estimate_seconds_of_split(const GemmProblem& p, const WorkSplit& split,
                                                      const DeviceInfo& device) noexcept {
  const auto sms = static_cast<double>(std::max<Index>(device.compute_units, 1));
  const double blocks = static_cast<double>(tiles_to_cover(p.n, split.row_warps * strip_rows) * split.cluster);
  const double warps = blocks * split.row_warps * split.k_warps;
  const double groups = static_cast<double>(tiles_to_cover(p.k, MxBlock::k * blocks_per_group));
  const double rounds = std::ceil(groups / (split.k_warps * split.cluster));
  const double most_on_an_sm = std::ceil(blocks / sms) * split.row_warps * split.k_warps;
  // What an SM has to fetch, in groups of 2 KB, at what one SM can take; and the fill of the pipeline.
  const double group_bytes = 16.0 * 132.0;
  const double streaming = std::max(p.weight_bytes() / 3.6e12, most_on_an_sm * rounds * group_bytes / 45e9);
  const double tokens = blocks / split.cluster * static_cast<double>(p.m * p.k) / 5e12;
  const double idle = std::max(1.0, 4.0 * sms / warps);
  // From the second tile of tokens on the products of a group are no longer done while the next one comes.
  const double products =
      0.27e-6 * static_cast<double>(token_tiles_for(p.m) - 1) * rounds * std::max(1.0, most_on_an_sm / 8);
  return 2.5e-6 + 0.7e-6 * (split.cluster > 1 ? 1 : 0) + streaming * idle + tokens + products;
}

}  // namespace millet::hopper
