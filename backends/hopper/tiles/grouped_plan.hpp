// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>

#include "millet/backends/hopper/tiles/strip_arguments.hpp"
#include "millet/backends/hopper/tiles/weight_strips.hpp"
#include "millet/host_device.hpp"
#include "millet/layout/scale_block.hpp"

// How the grouped kernel on wgmma shares out its work and its shared memory: arithmetic that needs no GPU.
//
// Consecutive routing blocks of one expert are a run. An item is row_warps strips of an expert's weights times as many
// of a run's tokens as one pass takes. Items are numbered run by run, row tile by row tile, each in `splits` splits of
// its k, and each thread block takes an equal, contiguous range of splits, so that it seldom changes its tokens. The
// passes of a row tile follow one another, so that all but the first find the weights in L2.
//
// Where a range ends within an item, the block that has the item's first split stores C. It adds what the blocks after
// it have left in the workspace: they began with that item and it ends with it, so it hardly waits.

namespace millet::hopper {

/// Tokens that an item takes through the weights at most: the sums of more leave registers for too few warps.
inline constexpr int max_pass_tokens = 32;

/// Routing blocks that a thread block has in its tables at once.
inline constexpr int window_blocks = 256;

/// Parts of a warp's weights that are in shared memory or on their way there, at most.
inline constexpr int max_stream_stages = 8;

inline constexpr int stream_group_bytes = blocks_per_group * 512 + 64;    ///< weights of a strip, with scales
inline constexpr int token_tile_bytes = 8 * blocks_per_group * (32 + 4);  ///< 8 tokens of a group, with scales
inline constexpr Index stream_shared_bytes = 224 * 1024;                  ///< of a thread block, one an SM

/// How the warps of a thread block share an item: `row_warps` strips of 16 rows, each with its k shared out over
/// `k_warps` teams. Powers of two; row_warps is a multiple of 4 (whole warpgroups), their product is 8 or 16.
struct GroupedSplit {
  int row_warps;
  int k_warps;
  int splits;  ///< of an item's k, which different thread blocks may take
  /// Ask for weights before the preceding kernel of the stream has ended, by the routing as it stands then; what was
  /// asked for is dropped if the routing has changed once it has. So that kernel must not write weights, but may write
  /// the routing.
  bool early_weights = false;
};

/// What the host works out once, so that no thread divides: an integer division is a chain of 100 ns or more, and
/// dozens of them stood before the first product.
struct GroupedPlan {
  int groups;  ///< of all k
  int splits;  ///< of an item's k, at most its groups: 2^split_shift
  int split_shift;
  int row_tiles;    ///< that cover n
  int pass_tokens;  ///< that an item takes: 8, 16 or 32, 2^pass_shift
  int pass_shift;
  int team_shift;       ///< teams are 2^team_shift
  int table_bytes;      ///< of the tables of routing, two of them with early weights
  int sums_bytes;       ///< of [buffer][team][token][row]
  int token_bytes;      ///< of the tokens of one team
  int stages;           ///< parts of its weights that a warp has in shared memory or on their way there,
  int stage_groups;     ///< of so many groups each
  int round_groups[3];  ///< groups for which a team's tokens are in shared memory at once: for 1, 2 and 4 tiles of 8
};

/// A run of routing blocks of one expert, in the tables of a window.
struct RoutedRun {
  int expert;
  int first_block;  ///< in the window
  int tokens;       ///< valid slots, at least 1
  int first_item;
};

/// Passes over a run's weights.
[[nodiscard]] MILLET_HD constexpr int passes_of(int tokens, const GroupedPlan& plan) noexcept {
  return ((tokens - 1) >> plan.pass_shift) + 1;
}

/// The first of `splits` that thread block `block` of `blocks` takes; it goes on up to that of the next block.
[[nodiscard]] MILLET_HD constexpr int first_split_of(int splits, int block, int blocks) noexcept {
  const int each = splits / blocks;
  const int more = splits - each * blocks;
  return block * each + (block < more ? block : more);
}

/// What of `all` share `share` of 2^shift gets, maybe nothing.
[[nodiscard]] MILLET_HD constexpr GroupRange share_of_range(GroupRange all, int share, int shift) noexcept {
  const int count = all.last - all.first;
  return {all.first + (count * share >> shift), all.first + (count * (share + 1) >> shift)};
}

/// Walks over the items of a range of splits; of the first and the last there may be some splits only. The runs end
/// with one that has nothing but the first item beyond the last.
class ItemCursor {
 public:
  /// No items.
  ItemCursor() = default;
  /// \param run_count    without the one at the end, at least 1
  /// \param first, last  splits; first is below last
  MILLET_HD ItemCursor(const RoutedRun* runs, int run_count, const GroupedPlan& plan, int first, int last)
      : run_(runs), item_(first >> plan.split_shift), first_split_(first & (plan.splits - 1)), left_(last - first) {
    for (int step = run_count; step > 1;) {  // the last run that starts at or before the item
      const int half = step / 2;
      if (run_[half].first_item <= item_) run_ += half;
      step -= half;
    }
    passes_ = passes_of(run_->tokens, plan);
    row_tile_ = item_ - run_->first_item;
    if (passes_ == 1) return;
    pass_ = row_tile_ % passes_;
    row_tile_ /= passes_;
  }
  [[nodiscard]] MILLET_HD bool done() const { return left_ <= 0; }
  /// Returns whether the next item has the same tokens.
  MILLET_HD bool next(const GroupedPlan& plan) {
    left_ -= last_split(plan) - first_split_;
    first_split_ = 0;
    ++item_;
    const bool only_pass = passes_ == 1;
    if (++pass_ < passes_) return false;
    pass_ = 0;
    if (++row_tile_ < plan.row_tiles) return only_pass;
    row_tile_ = 0;
    ++run_;
    if (left_ > 0) passes_ = passes_of(run_->tokens, plan);
    return false;
  }
  [[nodiscard]] MILLET_HD const RoutedRun& run() const { return *run_; }
  [[nodiscard]] MILLET_HD int item() const { return item_; }
  [[nodiscard]] MILLET_HD int row_tile() const { return row_tile_; }
  [[nodiscard]] MILLET_HD int pass() const { return pass_; }
  /// What of the item is in the range: [first_split, last_split) of plan.splits.
  [[nodiscard]] MILLET_HD int first_split() const { return first_split_; }
  [[nodiscard]] MILLET_HD int last_split(const GroupedPlan& plan) const {
    return first_split_ + left_ < plan.splits ? first_split_ + left_ : plan.splits;
  }
  /// The groups of these.
  [[nodiscard]] MILLET_HD GroupRange groups(const GroupedPlan& plan) const {
    return {plan.groups * first_split_ >> plan.split_shift, plan.groups * last_split(plan) >> plan.split_shift};
  }

 private:
  const RoutedRun* run_ = nullptr;
  int item_ = 0;
  int first_split_ = 0;
  int left_ = 0;  ///< splits, this item's among them
  int passes_ = 0;
  int row_tile_ = 0;
  int pass_ = 0;
};

/// Tiles of 8 tokens for which there is code: 1, 2 or 4.
[[nodiscard]] MILLET_HD constexpr int pass_tiles(Index tokens) noexcept {
  return tokens <= 8 ? 1 : tokens <= 16 ? 2 : 4;
}

/// Groups of a team's share for which its tokens, so many tiles of 8, are in shared memory at once: whole stages.
[[nodiscard]] MILLET_HD constexpr int round_groups_of(const GroupedPlan& plan, int tiles) noexcept {
  return plan.round_groups[tiles / 2];
}

/// Bytes of the tables of a window of routing blocks.
inline constexpr int window_table_bytes = (window_blocks + 1) * 16 + window_blocks * 2 * 4 + 112;
static_assert(window_table_bytes % 128 == 0);

[[nodiscard]] constexpr Index grouped_shared_bytes(const GroupedSplit& split, const GroupedPlan& plan) noexcept {
  const Index ring = Index{split.row_warps} * plan.stages * plan.stage_groups * stream_group_bytes;
  return plan.table_bytes + plan.sums_bytes + split.k_warps * (plan.token_bytes + ring);
}

/// Thread blocks of a launch at most: one an SM, of 132.
inline constexpr int largest_grouped_grid = 320;

/// The workspace: a flag for each thread block, then its sums [token][row] of the item that it began within.
inline constexpr int workspace_flag_bytes = largest_grouped_grid * 4;
[[nodiscard]] MILLET_HD constexpr int workspace_sums(const GroupedPlan& plan, int row_warps) noexcept {
  return plan.pass_tokens * row_warps * strip_rows;
}
[[nodiscard]] constexpr Index grouped_workspace_bytes(const GroupedSplit& split, const GroupedPlan& plan) noexcept {
  if (plan.splits == 1) return 0;
  return workspace_flag_bytes + Index{largest_grouped_grid} * workspace_sums(plan, split.row_warps) * 4;
}

/// \param slots  of the problem: a valid routing gives no expert more tokens
[[nodiscard]] constexpr GroupedPlan grouped_plan(Index n, Index k, Index slots, Index experts,
                                                 const GroupedSplit& split) noexcept {
  GroupedPlan plan{};
  const Index groups = tiles_to_cover(k, blocks_per_group * MxBlock::k);
  const Index share = tiles_to_cover(groups, split.k_warps);  // of the largest team
  const int most_tiles = pass_tiles(slots);
  plan.groups = static_cast<int>(groups);
  plan.split_shift = std::bit_width(static_cast<unsigned>(std::min<Index>(split.splits, groups))) - 1;
  plan.splits = 1 << plan.split_shift;
  plan.team_shift = std::bit_width(static_cast<unsigned>(split.k_warps)) - 1;
  plan.pass_tokens = most_tiles * 8;
  plan.pass_shift = std::bit_width(static_cast<unsigned>(plan.pass_tokens)) - 1;
  plan.row_tiles = static_cast<int>(tiles_to_cover(n, split.row_warps * strip_rows));
  plan.table_bytes = window_table_bytes * (split.early_weights ? 2 : 1);
  // Two buffers for up to 16 tokens, which are one for 32.
  const int buffered_tokens = most_tiles == 1 ? 16 : 32;
  plan.sums_bytes = buffered_tokens * split.k_warps * (split.row_warps * strip_rows + 4) * 4;
  const Index room = (stream_shared_bytes - plan.table_bytes - plan.sums_bytes) / split.k_warps;
  // Tokens get what all of an average expert take, up to half of the room: weights on their way count. Those of others
  // come in rounds.
  const Index all = share * pass_tiles(slots / experts) * token_tile_bytes;
  const Index least = Index{most_tiles} * token_tile_bytes;
  plan.token_bytes = static_cast<int>(std::max(least, std::min(all, room / 2)) / 128 * 128);
  const Index ring_groups = (room - plan.token_bytes) / split.row_warps / stream_group_bytes;
  // A warp of 8 on an SM needs two groups a microsecond: parts of two are neither many nor late, if there are three.
  const Index wanted = share <= 3 ? share : 2;
  plan.stage_groups = static_cast<int>(ring_groups >= 3 * wanted && 2 * least <= plan.token_bytes ? wanted : 1);
  plan.stages = static_cast<int>(std::min<Index>(ring_groups / plan.stage_groups, max_stream_stages));
  for (const int tiles : {1, 2, 4}) {
    const int fitting = plan.token_bytes / (tiles * token_tile_bytes);
    plan.round_groups[tiles / 2] = fitting / plan.stage_groups * plan.stage_groups;
  }
  return plan;
}

}  // namespace millet::hopper
