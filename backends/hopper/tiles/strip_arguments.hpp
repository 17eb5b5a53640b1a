// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "millet/layout/mapping.hpp"

// What the host hands to the kernels: plain values, so that neither side needs the other's headers.

namespace millet::hopper {

/// B [n, k] of one expert; the others follow at the given distances.
struct StripWeightsArguments {
  const std::uint8_t* values;
  const std::uint8_t* scales;
  Index n;
  Index k;
  Index expert_value_stride;
  Index expert_scale_stride;
  bool row_major;  ///< else StripValues and StripScales
};

/// A in e4m3 with e8m0 scales, or in bf16 or f32, which the kernel quantizes. Strides in elements.
struct TokensArguments {
  const std::uint8_t* values;
  const std::uint8_t* scales;  ///< null unless a value has one byte
  Index value_stride;
  Index scale_stride;
  int value_bytes;  ///< 1: e4m3, 2: bf16, 4: f32
};

struct OutputArguments {
  void* values;
  Index row_stride;  ///< in elements
  bool bf16;         ///< else f32
};

/// Groups of four blocks of k, [first, last).
struct GroupRange {
  int first;
  int last;
};

/// How the warps of a thread block share its work, and the blocks of a cluster: `row_warps` strips of 16 rows, each
/// with its k shared out over `k_warps` warps of each of `cluster` blocks. All are powers of two; for the kernels on
/// wgmma cluster may be any number up to 8.
struct WorkSplit {
  int row_warps;
  int k_warps;
  int cluster;
  /// Start before the preceding kernel of the stream has ended, and read weights already then (programmatic dependent
  /// launch). Tokens and routing are read, and C is written, only after it has. So that kernel must not write weights.
  bool early_weights = false;
};

struct GemmArguments {
  StripWeightsArguments b;
  TokensArguments a;
  OutputArguments c;
  Index m;
  WorkSplit split;
  int round_groups;  ///< groups of four blocks for which a thread block stages tokens at once
};

/// What plan_shared_memory adds for the kernels on wgmma. Groups are of four blocks of k; a team is the warps of a
/// thread block that have the same share of k.
struct WarpgroupPlan {
  int groups;  ///< of all k
  int share;   ///< groups of a team: this many, and one more for the first `larger_shares` teams of the cluster
  int larger_shares;
  int round_groups;     ///< groups for which a team has tokens in shared memory
  int stages;           ///< parts of its weights that a warp has in shared memory or on their way there,
  int stage_groups;     ///< of so many groups each
  int chunk_groups;     ///< groups of a round whose tokens are awaited together
  int rows_a_rank;      ///< rows of C that a block of the cluster finishes
  int rows_reciprocal;  ///< 2^20 / rows_a_rank, rounded up
};

struct WarpgroupGemmArguments {
  GemmArguments gemm;
  WarpgroupPlan plan;
};

/// Which slots go through which expert, as RoutingView says.
struct RoutingArguments {
  Index experts;
  Index slots;
  Index a_div;
  Index block_m;
  Index blocks;
  const std::int32_t* sorted_token_ids;
  const std::int32_t* expert_ids;
  const std::int32_t* num_tokens_post_padded;
  const float* slot_weights;  ///< null: 1
};

struct GroupedArguments {
  StripWeightsArguments b;
  TokensArguments a;
  OutputArguments c;
  RoutingArguments routing;
  WorkSplit split;  ///< cluster is 1
  int round_groups;
};

}  // namespace millet::hopper
