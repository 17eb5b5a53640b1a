// SPDX-License-Identifier: Apache-2.0
// The work and the shared memory of the Hopper backend's grouped kernel on wgmma, as far as they need no GPU.

#include <gtest/gtest.h>

#include <array>
#include <utility>
#include <vector>

#include "millet/backends/hopper/tiles/grouped_plan.hpp"

namespace millet::hopper {
namespace {

constexpr std::array all_splits{GroupedSplit{4, 2, 1},  GroupedSplit{4, 4, 1},      GroupedSplit{4, 2, 4},
                                GroupedSplit{8, 2, 1},  GroupedSplit{8, 1, 1},      GroupedSplit{8, 1, 4},
                                GroupedSplit{16, 1, 4}, GroupedSplit{8, 1, 4, true}};

TEST(HopperGroupedPlan, FitsOnTheSmAndKeepsWeightsOnTheirWay) {
  for (const GroupedSplit& split : all_splits) {
    for (const Index k : {32, 96, 384, 768, 2048, 3072, 6144, 18432}) {
      for (const auto& [slots, experts] :
           {std::pair<Index, Index>{1, 1}, {8, 128}, {9, 1}, {16, 128}, {16, 1}, {17, 32}, {4096, 8}, {4096, 500}}) {
        const GroupedPlan plan = grouped_plan(1536, k, slots, experts, split);
        const auto where = testing::Message() << split.row_warps << " x " << split.k_warps << " warps, k " << k
                                              << ", slots " << slots << ", experts " << experts;
        // 227 KB an SM, one KB that each thread block has besides, and the kernel's static variables.
        constexpr Index static_bytes = 2 * 1024;
        EXPECT_LE(grouped_shared_bytes(split, plan) + static_bytes + 1024, 228 * 1024) << where;
        EXPECT_GE(plan.stages, 2) << where;
        EXPECT_LE(plan.stages, max_stream_stages) << where;
        EXPECT_EQ(plan.pass_tokens, slots <= 8 ? 8 : slots <= 16 ? 16 : 32) << where;
        for (int tiles = 1; tiles * 8 <= plan.pass_tokens; tiles *= 2) {
          const int round = round_groups_of(plan, tiles);
          EXPECT_GE(round, plan.stage_groups) << where;
          EXPECT_EQ(round % plan.stage_groups, 0) << where;
          EXPECT_LE(round * tiles * token_tile_bytes, plan.token_bytes) << where;
        }
        // 32 KB on their way on each SM cover a microsecond of its part of 4.3 TB/s, where an item has as much.
        const Index item = split.row_warps * tiles_to_cover(k, 128) * stream_group_bytes;
        const Index ring =
            Index{split.row_warps} * split.k_warps * plan.stages * plan.stage_groups * stream_group_bytes;
        EXPECT_GE(ring, std::min<Index>(item, 64 * 1024)) << where;
      }
    }
  }
}

TEST(HopperGroupedPlan, TokensOfAWholeShareStayWhereTheyFit) {
  const GroupedSplit split{4, 4, 1};
  EXPECT_EQ(round_groups_of(grouped_plan(1536, 6144, 16, 128, split), 1), 12);
  EXPECT_EQ(round_groups_of(grouped_plan(1536, 3072, 16, 1, split), 2), 6);
  EXPECT_LT(round_groups_of(grouped_plan(1536, 6144, 16, 128, split), 2), 12);
}

/// A table of runs with the given tokens, and the one at its end.
std::vector<RoutedRun> runs_of(const std::vector<int>& tokens, const GroupedPlan& plan) {
  std::vector<RoutedRun> runs;
  int items = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    runs.push_back({static_cast<int>(7 * i), static_cast<int>(i), tokens[i], items});
    items += plan.row_tiles * passes_of(tokens[i], plan);
  }
  runs.push_back({-1, 0, 0, items});
  return runs;
}

TEST(HopperItemCursor, VisitsEverySplitOfEveryPassOfEveryRowTileOnce) {
  for (const std::vector<int>& tokens : {std::vector{1}, std::vector{1, 2, 33, 8, 64, 65, 1}, std::vector{200, 1},
                                         std::vector<int>(19, 3), std::vector{32, 32, 32, 31}}) {
    for (const auto& [n, splits] : {std::pair<Index, int>{5, 1}, {64, 4}, {200, 1}, {200, 2}, {1536, 4}}) {
      const GroupedPlan plan = grouped_plan(n, 1280, 4096, 16, {4, 2, splits});
      const std::vector<RoutedRun> runs = runs_of(tokens, plan);
      const int items = runs.back().first_item;
      for (const int blocks : {1, 3, 132, 264}) {
        std::size_t run = 0;
        int row_tile = 0;
        int pass = 0;
        int split = 0;
        int group = 0;
        int visited = 0;
        for (int block = 0; block < blocks; ++block) {
          const int first = first_split_of(items * splits, block, blocks);
          const int last = first_split_of(items * splits, block + 1, blocks);
          EXPECT_LE(last - first, (items * splits + blocks - 1) / blocks);
          if (first == last) continue;
          ItemCursor cursor(runs.data(), static_cast<int>(tokens.size()), plan, first, last);
          while (!cursor.done()) {
            ASSERT_EQ(&cursor.run(), &runs[run]);
            ASSERT_EQ(cursor.row_tile(), row_tile);
            ASSERT_EQ(cursor.pass(), pass);
            ASSERT_EQ(cursor.item(), visited);
            ASSERT_EQ(cursor.first_split(), split);
            ASSERT_EQ(cursor.groups(plan).first, group);
            ASSERT_GT(cursor.groups(plan).last, group);
            split = cursor.last_split(plan);
            group = cursor.groups(plan).last;
            ASSERT_EQ(split == splits, group == plan.groups);
            const bool whole = split == splits;
            const bool ends = visited * splits + split == last;  // the range, within the item or with it
            ASSERT_TRUE(whole || ends);
            bool same_tokens = false;
            if (whole) {
              ++visited;
              split = 0;
              group = 0;
              if (++pass == passes_of(tokens[run], plan)) {
                pass = 0;
                if (++row_tile == plan.row_tiles) {
                  row_tile = 0;
                  ++run;
                } else {
                  same_tokens = passes_of(tokens[run], plan) == 1;
                }
              }
            }
            const bool same = cursor.next(plan);
            ASSERT_TRUE(cursor.done() || same == same_tokens);
          }
        }
        EXPECT_EQ(visited, items);
      }
    }
  }
}

TEST(HopperShareOfRange, CoversTheRangeOnce) {
  for (const GroupRange all : {GroupRange{0, 1}, GroupRange{5, 5}, GroupRange{3, 20}}) {
    for (const int shift : {0, 1, 2, 3}) {
      const int shares = 1 << shift;
      int next = all.first;
      for (int share = 0; share < shares; ++share) {
        const GroupRange part = share_of_range(all, share, shift);
        EXPECT_EQ(part.first, next);
        EXPECT_LE(part.last - part.first, (all.last - all.first + shares - 1) / shares);
        next = part.last;
      }
      EXPECT_EQ(next, all.last);
    }
  }
}

}  // namespace
}  // namespace millet::hopper
