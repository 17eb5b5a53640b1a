// SPDX-License-Identifier: Apache-2.0
// What the cost models of the Hopper backend's grouped kernels choose where nothing was tuned. Needs no GPU.

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "millet/backends/registry.hpp"
#include "millet/dispatch/select.hpp"

namespace millet {
namespace {

struct Choice {
  Index experts, slots, n, k, a_div;
  std::string_view kernel, policy;
};

// Each took at most 1.05 times the time of the best policy without early weights, on an H200
// (docs/performance/hopper.md).
TEST(HopperGroupedChoice, IsNearTheFastestThatWasMeasured) {
  const auto backend = find_backend("hopper");
  ASSERT_TRUE(backend);
  DeviceInfo device;
  device.compute_units = 132;
  constexpr std::string_view wgmma = "hopper.grouped_gemm_wgmma_block_scale";
  constexpr std::string_view mma = "hopper.grouped_gemm_mma_block_scale";
  for (const Choice& choice : {Choice{128, 16, 1536, 6144, 4, wgmma, "4 x 2 warps, 1 splits"},
                               Choice{32, 16, 1536, 6144, 4, wgmma, "4 x 2 warps, 1 splits"},
                               Choice{128, 64, 1536, 6144, 4, wgmma, "8 x 1 warps, 1 splits"},
                               Choice{32, 16, 768, 6144, 4, wgmma, "8 x 1 warps, 1 splits"},
                               Choice{128, 8, 6144, 768, 1, mma, "4 x 1 warps, cluster of 1"},
                               Choice{64, 8, 6144, 768, 1, mma, "4 x 1 warps, cluster of 1"}}) {
    const auto problem = make_grouped_problem({.experts = choice.experts,
                                               .slots = choice.slots,
                                               .n = choice.n,
                                               .k = choice.k,
                                               .a_div = choice.a_div,
                                               .block_m = 64,
                                               .padded_slots = choice.slots * 64});
    ASSERT_TRUE(problem);
    const auto selected = select(**backend, device, *problem);
    ASSERT_TRUE(selected);
    EXPECT_EQ(selected->kernel->id, choice.kernel) << to_string(*problem);
    EXPECT_EQ(selected->kernel->policy_name(selected->policy), choice.policy) << to_string(*problem);
  }
}

}  // namespace
}  // namespace millet
