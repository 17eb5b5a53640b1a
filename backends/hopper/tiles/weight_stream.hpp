// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/instructions.hpp"
#include "millet/backends/hopper/tiles/grouped_plan.hpp"
#include "millet/backends/hopper/tiles/lane_weights.hpp"

// A warp's weights on their way to shared memory, across the items of its thread block. Device code only.
//
// Each warp has a ring of its own and asks for a part again as soon as it has read the one that stood there, of
// whatever item comes then: so memory is busy while sums are added up and tokens are staged, and no warp waits for
// another.

namespace millet::hopper {

class WeightStream {
 public:
  /// \param strip     of this warp in a row tile of `row_warps` strips
  /// \param team      of this warp, of those that share each item's k
  /// \param ring      address of plan.stages * plan.stage_groups * stream_group_bytes
  /// \param barriers  address of plan.stages barriers
  __device__ WeightStream(const StripWeightsArguments& b, const GroupedPlan& plan, int strip, int row_warps, int team,
                          std::uint32_t ring, std::uint32_t barriers, int lane)
      : b_(b),
        plan_(plan),
        strip_(strip),
        row_warps_(row_warps),
        team_(team),
        ring_(ring),
        barriers_(barriers),
        asks_(lane == 0) {
    if (asks_) {
#pragma unroll 1
      for (int i = 0; i < plan.stages; ++i) initialize_barrier(barriers + i * 8, 1);
      publish_barriers();
    }
    __syncwarp();
  }

  /// Asks for the first parts of these items, as many as the ring holds; all of earlier ones have been released.
  __device__ void start(const ItemCursor& items) {
    __syncwarp();  // a lane that still waits for an earlier part would miss its phase
    if (!asks_) return;
    next_ = items;
    enter_item();
#pragma unroll 1
    for (int i = 0, stage = stage_; i < plan_.stages; ++i) {
      request(stage);
      if (++stage == plan_.stages) stage = 0;
    }
  }

  /// After start(items) and before anything else: waits for what was asked for and drops it.
  __device__ void drop(ItemCursor items) {
    int left = plan_.stages;
    for (; left > 0 && !items.done(); items.next(plan_)) {
      const GroupRange share = share_of_range(items.groups(plan_), team_, plan_.team_shift);
      for (int group = share.first; group < share.last && left > 0; group += plan_.stage_groups, --left) {
        static_cast<void>(wait());
        advance();
      }
    }
  }

  /// Of a part, at most.
  [[nodiscard]] __device__ int stage_groups() const { return plan_.stage_groups; }
  /// Waits for the next part; the address of its values. Its scales stand behind all values of the stage,
  /// plan.stage_groups * 4 * 512 bytes away.
  [[nodiscard]] __device__ std::uint32_t wait() const {
    wait_for_phase(barriers_ + stage_ * 8, phase_);
    return ring_ + stage_ * plan_.stage_groups * stream_group_bytes;
  }
  /// The warp has read all of the part.
  __device__ void release() {
    __syncwarp();
    if (asks_) request(stage_);
    advance();
  }

 private:
  __device__ __forceinline__ void advance() {
    if (++stage_ == plan_.stages) {
      stage_ = 0;
      phase_ ^= 1;
    }
  }
  /// Goes on to the next item that has something for this warp's team. A last row tile's warps beyond n read the last
  /// strip again.
  __device__ __forceinline__ void enter_item() {
#pragma unroll 1
    for (; !next_.done(); next_.next(plan_)) {
      share_ = share_of_range(next_.groups(plan_), team_, plan_.team_shift);
      if (share_.first < share_.last) break;
    }
    if (next_.done()) return;
    const int blocks = static_cast<int>(b_.k / MxBlock::k);
    const Index last = tiles_to_cover(b_.n, strip_rows) - 1;
    const Index strip = min(Index{next_.row_tile()} * row_warps_ + strip_, last);
    const Index expert = next_.run().expert;
    values_ = b_.values + expert * b_.expert_value_stride + strip * blocks * StripValues::tile_size;
    scales_ = b_.scales + expert * b_.expert_scale_stride + strip * plan_.groups * StripScales::tile_size;
  }
  __device__ __forceinline__ void request(int stage) {
    if (next_.done()) return;
    const int first = share_.first;
    const int last = min(share_.last, first + plan_.stage_groups);
    const int blocks = static_cast<int>(b_.k / MxBlock::k);
    const int value_bytes = (min(blocks, last * blocks_per_group) - first * blocks_per_group) * 512;
    const int scale_bytes = (last - first) * 64;
    const std::uint32_t barrier = barriers_ + stage * 8;
    const std::uint32_t to = ring_ + stage * plan_.stage_groups * stream_group_bytes;
    expect_bytes(barrier, value_bytes + scale_bytes);
    copy_bulk(to, values_ + Index{first} * (blocks_per_group * 512), value_bytes, barrier);
    copy_bulk(to + plan_.stage_groups * (blocks_per_group * 512), scales_ + Index{first} * 64, scale_bytes, barrier);
    share_.first = last;
    if (last < share_.last) return;
    next_.next(plan_);
    enter_item();
  }

  const StripWeightsArguments& b_;
  const GroupedPlan& plan_;
  int strip_;
  int row_warps_;
  int team_;
  std::uint32_t ring_;
  std::uint32_t barriers_;
  int stage_ = 0;
  std::uint32_t phase_ = 0;
  bool asks_;
  // What is asked for next, known to the lane that asks.
  ItemCursor next_;
  GroupRange share_{};  ///< what is left of the item's
  const std::uint8_t* values_ = nullptr;
  const std::uint8_t* scales_ = nullptr;
};

}  // namespace millet::hopper
