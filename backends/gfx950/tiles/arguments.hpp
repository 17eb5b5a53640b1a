// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "millet/layout/mapping.hpp"
#include "millet/problem/epilogue.hpp"

// What the host hands to the kernels: plain structures, passed by value. The manifest describes them field by field.

namespace millet::gfx950 {

/// B [n, k] of one expert; the others follow at the given distances, in bytes. n and k below 2^26.
struct WeightsArguments {
  const std::uint8_t* values;
  const std::uint8_t* scales;
  Index expert_value_stride;
  Index expert_scale_stride;
  std::uint32_t n;
  std::uint32_t k;
  std::uint32_t strips;  ///< of 16 rows, that cover n
  std::uint32_t steps;   ///< of 128 k, that cover k
};

/// A in e4m3 with e8m0 scales. Strides in bytes.
struct TokensArguments {
  const std::uint8_t* values;
  const std::uint8_t* scales;
  std::uint32_t rows;
  std::uint32_t value_stride;
  std::uint32_t scale_stride;
  std::uint32_t value_bytes;  ///< of all rows, at most largest_buffer
  std::uint32_t scale_bytes;
};

struct OutputArguments {
  void* values;
  Index row_stride;    ///< in elements
  std::uint32_t bf16;  ///< 1: bf16, 0: f32
};

struct GemmArguments {
  WeightsArguments b;
  TokensArguments a;
  OutputArguments c;
  std::uint32_t k_waves_log2;  ///< 2^this waves of a work-group share a strip's k; the others have strips of their own
  std::uint32_t splits;        ///< work-groups that share a strip's k
  std::uint32_t* arrivals;     ///< with splits > 1: a counter for each row of work-groups, zero before and after
  float* partial_sums;         ///< with splits > 1: [row of work-groups][split][quad][4]
};

/// Slots of which a work-group notes at once whether the routing names them; a token has no more than these.
inline constexpr std::uint32_t flagged_slots = 1024;

/// Routing counts and ids fit 32 bits (make_grouped_problem sees to it).
struct GroupedArguments {
  WeightsArguments b;
  TokensArguments a;
  OutputArguments c;
  std::int32_t experts;
  std::int32_t slots;
  std::uint32_t a_div;
  std::int32_t block_m;
  std::int32_t routing_blocks;
  const std::int32_t* sorted_token_ids;
  const std::int32_t* expert_ids;
  const std::int32_t* num_tokens_post_padded;
  const float* slot_weights;  ///< null: 1
  std::uint32_t k_waves_log2;
  std::uint32_t gated;      ///< 1: C [slots, n / 2] is swiglu of neighbouring rows of B; else 0
  std::uint32_t top_k;      ///< slots that add up to a row of C; 0: each slot is one
  Swiglu gate;              ///< if gated
  std::uint32_t* arrivals;  ///< with top_k: a counter for each column of work-groups, zero before and after
  float* slot_rows;         ///< with top_k: [slots][16 strips]
};

/// Threads of a work-group of the kernels that measure ceilings.
inline constexpr int ceiling_threads = 256;
/// Bytes that a work-group of read_streaming reads.
inline constexpr std::uint32_t read_chunk = 256 * 1024;
/// Independent multiplications of a wave of mfma_peak.
inline constexpr int mfma_chains = 8;

struct ReadArguments {
  const std::uint8_t* from;
  Index bytes;
  float* sink;  ///< 4 bytes, written only if the data were all ones
};

struct PeakArguments {
  std::uint32_t steps;
  float* sink;
};

}  // namespace millet::gfx950
