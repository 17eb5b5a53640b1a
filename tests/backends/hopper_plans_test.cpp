// SPDX-License-Identifier: Apache-2.0
// How the Hopper kernels on wgmma share out k and shared memory: the host's part, which needs no GPU.

#include <gtest/gtest.h>

#include <algorithm>

#include "millet/backends/hopper/kernels/gemm_wgmma_block_scale.hpp"
#include "millet/backends/hopper/kernels/gemm_wgmma_f16.hpp"

namespace millet::hopper {
namespace {

constexpr Index token_counts[] = {1, 8, 9, 16, 17, 32, 33, 64};
constexpr Index extents[] = {32, 160, 1024, 1536, 2048, 6144, 8192, 65536};

/// What holds for any plan of a launch.
void check(const WarpgroupPlan& plan, Index m, Index k, const WorkSplit& split, Index shared, int most_stages) {
  SCOPED_TRACE(fmt::format("m {} k {} policy '{}'", m, k, split_name(split)));
  const Index teams = Index{split.k_warps} * split.cluster;
  EXPECT_LE(shared, max_shared_bytes);
  EXPECT_EQ(plan.groups, tiles_to_cover(k, 128));
  EXPECT_EQ(plan.share * teams + plan.larger_shares, plan.groups);
  ASSERT_GE(plan.stages, 1);
  EXPECT_LE(plan.stages, most_stages);
  ASSERT_GE(plan.stage_groups, 1);
  ASSERT_GE(plan.round_groups, 1);
  const int largest = plan.share + (plan.larger_shares > 0 ? 1 : 0);
  if (plan.round_groups < largest) {
    EXPECT_EQ(plan.round_groups % plan.stage_groups, 0) << "a round must end where a stage does";
  }
  // The kernels divide by rows_a_rank with this reciprocal.
  EXPECT_GE(Index{plan.rows_a_rank} * split.cluster, split.row_warps * strip_rows);
  for (int n = 0; n < std::max<int>(static_cast<int>(m + 3) / 4 * plan.rows_a_rank, split.row_warps * strip_rows);
       ++n) {
    ASSERT_EQ(n * plan.rows_reciprocal >> 20, n / plan.rows_a_rank) << n;
  }
}

template <class K, class Plan, class Bytes>
void check_all(const Plan& plan_of, const Bytes& bytes_of, int most_stages) {
  for (const WorkSplit& split : K::policies) {
    for (const Index m : token_counts) {
      for (const Index k : extents) {
        const WarpgroupPlan plan = plan_of(m, k, split);
        check(plan, m, k, split, bytes_of(m, split, plan), most_stages);
      }
    }
  }
}

TEST(HopperPlans, OfTheKernelOnE4m3) { check_all<GemmWgmmaBlockScale>(warpgroup_plan, warpgroup_shared_bytes, 3); }

TEST(HopperPlans, OfTheKernelOnF16) {
  check_all<GemmWgmmaF16>(folded_plan, folded_shared_bytes, folded_max_stages);
  for (const WorkSplit& split : GemmWgmmaF16::policies) {
    EXPECT_EQ(split.row_warps % 4, 0) << split_name(split);
    // The kernel has one team, and four lanes for each token.
    EXPECT_EQ(split.k_warps, 1) << split_name(split);
    EXPECT_GE(split.row_warps, 8) << split_name(split);
    EXPECT_LE(split.row_warps * split.k_warps, folded_max_warps) << split_name(split);
    for (const Index m : token_counts) {
      const Index round = folded_plan(m, 65536, split).round_groups;
      EXPECT_LE(round * 128, GemmWgmmaF16::accumulator.promotion_interval);
      EXPECT_LE(round * token_tiles_for(m) * 8, 64 * split.row_warps) << "codes that are read late have no registers";
    }
  }
}

}  // namespace
}  // namespace millet::hopper
