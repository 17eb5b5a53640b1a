// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/instructions.hpp"
#include "millet/backends/gfx950/tiles/arguments.hpp"

// Routing as a wave reads it: 64 ids at a time, one a lane. No id outside its range is ever used as an index.

namespace millet::gfx950 {

/// Adjacent routing blocks of one expert, which one work-group does. \see expert_run
struct ExpertRun {
  std::int32_t expert;  ///< -1: none
  std::int32_t blocks;  ///< in use, for which the work-group answers
};

/// The run that starts at block `first_block`. Without an expert where the block is not in use, names none (and is a
/// run of its own), or goes on with the expert of the block before. Called by whole waves.
MILLET_GPU ExpertRun expert_run(const GroupedArguments& x, std::int32_t first_block) {
  const std::int32_t used = load(x.num_tokens_post_padded);
  // The expert of the lane's block, counting from `block`; -1 if there is none.
  const auto experts_from = [&](std::int32_t block) {
    block += lane_id();
    const bool inside = block >= 0 && block < x.routing_blocks;
    const std::int32_t expert = load(x.expert_ids + (inside ? block : 0));
    return inside && block * x.block_m < used && expert >= 0 && expert < x.experts ? expert : -1;
  };
  const std::int32_t in_lane = experts_from(first_block - 1);
  const auto expert = static_cast<std::int32_t>(read_lane(static_cast<std::uint32_t>(in_lane), 1));
  const std::uint64_t same = ballot(in_lane == expert);
  if (expert < 0) return {-1, first_block * x.block_m < used ? 1 : 0};
  if ((same & 1) != 0) return {-1, 0};
  int view = wave_lanes - 1;
  std::uint64_t others = ~(same >> 1);  // bit i: block first_block + i ends the run; the last one is always set
  std::int32_t blocks = __builtin_ctzll(others);
  while (blocks == view) {
    others = ~ballot(experts_from(first_block + blocks) == expert);
    blocks += others == 0 ? wave_lanes : __builtin_ctzll(others);
    view += wave_lanes;
  }
  return {expert, blocks};
}

/// The slot that the lane's routing entry names, counting from `entry`; -1 if it names none or lies at or beyond `end`.
MILLET_GPU std::int32_t slot_in_lane(const GroupedArguments& x, std::int32_t entry, std::int32_t end) {
  entry += lane_id();
  const bool inside = entry < end;
  const std::int32_t slot = load(x.sorted_token_ids + (inside ? entry : 0));
  return inside && slot >= 0 && slot < x.slots ? slot : -1;
}

}  // namespace millet::gfx950
