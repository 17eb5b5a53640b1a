// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>

#include "millet/backends/gfx950/tiles/arguments.hpp"
#include "millet/backends/gfx950/tiles/launch.hpp"
#include "millet/backends/gfx950/tiles/token_steps.hpp"
#include "millet/backends/gfx950/tiles/weight_strips.hpp"
#include "millet/dispatch/kernel.hpp"
#include "millet/numeric/bf16.hpp"

// From the framework's operands to the kernels' plain arguments, and what the policies cost.

namespace millet::gfx950 {

using StripWeights = WeightLayout<StripValues, ScaleMapping<StripScales>>;
template <class Layout>
inline constexpr bool is_row_major = std::is_same_v<Layout, RowMajorWeights>;

/// A scaled MFMA adds 128 products to its accumulator. How many bits it keeps while doing so is not documented; f32 is
/// what the emulator does, and a device has to confirm it.
inline constexpr Accumulator mfma_accumulator = f32_accumulator;

/// Offsets inside of a strip of 16 rows are 32-bit and stay below out_of_buffer.
inline constexpr Index largest_extent = (Index{1} << 26) - 1;
/// Work-groups along y of a grid.
inline constexpr Index largest_grid_y = 65535;
/// Bytes of all of A: rows are reached by 32-bit offsets from its start.
inline constexpr Index largest_activations = Index{1} << 30;
/// Bytes of all rows of slots that wait for their sum, which are one buffer.
inline constexpr Index largest_slot_rows = (Index{1} << 31) - 1;

[[nodiscard]] constexpr Verdict supports_extents(Index n, Index k) noexcept {
  if (n > largest_extent) return {"n outside the envelope"};
  if (k > largest_extent) return {"k outside the envelope"};
  return {};
}

template <class View>
[[nodiscard]] WeightsArguments weights_arguments(const View& b, Index expert_value_stride,
                                                 Index expert_scale_stride) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(b.values),
          reinterpret_cast<const std::uint8_t*>(b.scales),
          expert_value_stride,
          expert_scale_stride,
          static_cast<std::uint32_t>(b.rows()),
          static_cast<std::uint32_t>(b.cols()),
          static_cast<std::uint32_t>(tiles_to_cover(b.rows(), mfma_rows)),
          static_cast<std::uint32_t>(steps_of(b.cols()))};
}

/// Errors: invalid_argument if a row stride puts rows of A beyond the reach of 32-bit offsets.
[[nodiscard]] inline Expected<TokensArguments> tokens_arguments(std::string_view kernel, const Activations& a,
                                                                Index rows, Index k) {
  const Index element = a.format == ActivationFormat::bf16 ? Index{sizeof(BF16)} : Index{sizeof(E4M3)};
  // Strides may be as long as check_operands allows, so that products are formed only where they cannot overflow.
  const auto span = [rows](Index stride, Index row) {
    return rows > 1 && stride > largest_activations / (rows - 1) ? largest_activations + 1 : (rows - 1) * stride + row;
  };
  const Index value_bytes = span(a.value_stride, k) * element;
  const Index scale_bytes = a.scales == nullptr ? 0 : span(a.scale_stride, MxBlock::count(k));
  if (value_bytes > largest_activations || scale_bytes > largest_activations) {
    return fail(ErrorCode::invalid_argument,
                "{}: {} rows of A, {} elements apart (their scales {}), reach over more than {} bytes; use a smaller "
                "row stride or fewer rows",
                kernel, rows, a.value_stride, a.scale_stride, largest_activations);
  }
  // The stride of a single row is never used.
  const auto stride = [rows](Index x) { return rows > 1 ? static_cast<std::uint32_t>(x) : 0U; };
  return TokensArguments{static_cast<const std::uint8_t*>(a.values),
                         reinterpret_cast<const std::uint8_t*>(a.scales),
                         static_cast<std::uint32_t>(rows),
                         stride(a.value_stride * element),
                         stride(a.scale_stride),
                         static_cast<std::uint32_t>(value_bytes),
                         static_cast<std::uint32_t>(scale_bytes)};
}

[[nodiscard]] inline OutputArguments output_arguments(const Output& c, OutputType type) noexcept {
  return {c.values, c.row_stride, type == OutputType::bf16 ? 1U : 0U};
}

/// Whether rows of C are sums over slots.
[[nodiscard]] constexpr bool sums_slots(const GroupedProblem& p) noexcept { return p.epilogue == Epilogue::topk_sum; }

/// Bytes of the rows of slots that wait for their sum: f32, whole strips.
[[nodiscard]] constexpr Index slot_row_bytes(const GroupedProblem& p) noexcept {
  return p.slots * round_up_to_tile(p.n, mfma_rows) * Index{sizeof(float)};
}

/// What the grid and 32-bit offsets allow of a grouped problem.
[[nodiscard]] constexpr Verdict supports_routing(const GroupedProblem& p) noexcept {
  if (const Verdict verdict = supports_extents(p.n, p.k); !verdict) return verdict;
  if (p.blocks() > largest_grid_y) return {"more routing blocks than a grid has rows"};
  if (activation_bytes(p.activation, p.a_rows(), p.k) > static_cast<double>(largest_activations))
    return {"activations outside the envelope"};
  if (!sums_slots(p)) return {};
  if (p.slots > largest_slot_rows / slot_row_bytes({.slots = 1, .n = p.n}))
    return {"rows of slots outside the envelope"};
  if (p.top_k > flagged_slots) return {"top_k outside the envelope"};
  return {};
}

/// Errors: those of tokens_arguments.
template <class Operands>
[[nodiscard]] Expected<GroupedArguments> grouped_arguments(std::string_view kernel, const GroupedProblem& p,
                                                           const Operands& x, std::uint32_t k_waves_log2) {
  auto tokens = tokens_arguments(kernel, x.a, p.a_rows(), p.k);
  if (!tokens) return fail(std::move(tokens));
  GroupedArguments arguments{};
  arguments.b = weights_arguments(x.b, x.expert_value_stride, x.expert_scale_stride);
  arguments.a = *tokens;
  arguments.c = output_arguments(x.c, p.output);
  arguments.experts = static_cast<std::int32_t>(p.experts);
  arguments.slots = static_cast<std::int32_t>(p.slots);
  arguments.a_div = static_cast<std::uint32_t>(p.a_div);
  arguments.block_m = static_cast<std::int32_t>(p.block_m);
  arguments.routing_blocks = static_cast<std::int32_t>(p.blocks());
  arguments.sorted_token_ids = x.routing.sorted_token_ids;
  arguments.expert_ids = x.routing.expert_ids;
  arguments.num_tokens_post_padded = x.routing.num_tokens_post_padded;
  arguments.slot_weights = p.weighted ? x.routing.slot_weights : nullptr;
  arguments.k_waves_log2 = k_waves_log2;
  arguments.gated = p.epilogue == Epilogue::swiglu ? 1 : 0;
  arguments.gate = p.swiglu;
  arguments.top_k = sums_slots(p) ? static_cast<std::uint32_t>(p.top_k) : 0;
  return arguments;
}

[[nodiscard]] constexpr std::uint32_t log2_of_power(int x) noexcept {
  std::uint32_t log2 = 0;
  while (x > 1) x /= 2, ++log2;
  return log2;
}

/// Published limits of an MI355X, for the cost model: AMD's datasheet (8 TB/s, 256 compute units of 4 SIMDs with 512
/// registers a lane). The latencies are guesses until a device has been measured.
struct Machine {
  static constexpr double read_bytes_per_second = 8e12;
  static constexpr double cache_bytes_per_second = 16e12;  ///< of tokens, which every work-group reads again
  static constexpr double launch_seconds = 2.0e-6;
  static constexpr double load_round_seconds = 1.0e-6;
  static constexpr double pass_seconds = 0.5e-6;       ///< a wave turns to its next share of k, with nothing under way
  static constexpr double reduction_seconds = 0.5e-6;  ///< over the waves of a work-group
  static constexpr double arrival_seconds = 1.5e-6;    ///< partial sums written, counted and read again
  /// Of a SIMD: 64 lanes take four cycles, packed f32 too, at 2.4 GHz (157.3 TFLOP/s of f32 in the datasheet).
  static constexpr double instructions_per_second = 2.4e9 / 4;
  static constexpr int simds = 4;
  static constexpr int registers = 512;
};

/// Instructions on the vector units, counted in the compiled code: what a wave does once; for one step, to decode the
/// weights, and to decode and multiply a token; of bf16, to hand a token's codes round, and to quantize a run a lane.
inline constexpr double gemv_instructions_a_wave = 120;
inline constexpr double gemv_instructions_a_step = 20;
inline constexpr double gemv_instructions_a_token = 42;
inline constexpr double gemv_instructions_to_broadcast = 10;
inline constexpr double gemv_instructions_to_quantize = 85;

/// Vector instructions of a wave for one step of `tokens` tokens, where it holds `steps` steps at once.
[[nodiscard]] constexpr double gemv_step_instructions(int tokens, int steps, bool bf16) noexcept {
  const double mx = gemv_instructions_a_step + tokens * gemv_instructions_a_token;
  if (!bf16) return mx;
  const double quantizing = vector_quantizing_rounds(tokens, steps) * gemv_instructions_to_quantize / steps;
  return mx + tokens * gemv_instructions_to_broadcast + quantizing;
}

/// Registers of a lane that a wave takes, about: weights, the tokens held at once, sums and addresses.
[[nodiscard]] constexpr int estimated_registers(int tiles, int steps, int token_registers) noexcept {
  return 30 + 9 * steps + token_registers + 4 * tiles;
}

/// Seconds in which all SIMDs issue that many instructions of waves.
[[nodiscard]] inline double issue_seconds(double instructions, const DeviceInfo& device) noexcept {
  const auto units = static_cast<double>(std::max<Index>(device.compute_units, 1));
  return instructions / (units * Machine::simds * Machine::instructions_per_second);
}

/// Seconds for `groups` equal work-groups of `waves` waves, each wave going `passes` times through `rounds` rounds of
/// loads with `bytes_a_wave` of weights in flight.
[[nodiscard]] inline double streaming_seconds(double groups, int waves, int registers, double passes, double rounds,
                                              double bytes_a_wave, double weight_bytes, double compute_units) noexcept {
  const double waves_a_simd = std::floor(static_cast<double>(Machine::registers) / registers);
  const double groups_a_unit = std::max(1.0, std::floor(waves_a_simd * Machine::simds / waves));
  const double generations = std::ceil(groups / (groups_a_unit * compute_units));
  const double resident_waves = std::min(groups, groups_a_unit * compute_units) * waves;
  // In a wave's further rounds only tokens are under way.
  const double in_flight = std::max(1.0, resident_waves * bytes_a_wave / rounds);
  // By Little's law a round trip moves what is in flight, and takes the longer the more is queued at the memory.
  const double rate = in_flight / (Machine::load_round_seconds + in_flight / Machine::read_bytes_per_second);
  return std::max(generations * passes * rounds * Machine::load_round_seconds, weight_bytes / rate) +
         0.5 * Machine::load_round_seconds + (passes - 1) * Machine::pass_seconds;
}

}  // namespace millet::gfx950
