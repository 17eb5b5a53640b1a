// SPDX-License-Identifier: Apache-2.0
// What the cost models of the Hopper backend's kernels choose where nothing was tuned. Needs no GPU.

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "millet/backends/registry.hpp"
#include "millet/dispatch/select.hpp"

namespace millet {
namespace {

struct DenseChoice {
  Index m, n, k;
  std::string_view policy;
};

// Each took at most 1.06 times the time of the best policy without early weights that was measured in the same sweep,
// on an H200 (docs/performance/hopper.md). Left out: m = 64, n = 1536, where two kernels are about as fast.
TEST(HopperChoice, OfManyTokensIsNearTheFastestThatWasMeasured) {
  const auto backend = find_backend("hopper");
  ASSERT_TRUE(backend);
  DeviceInfo device;
  device.compute_units = 132;
  for (const DenseChoice& choice : {DenseChoice{32, 2304, 6144, "12 x 1 warps, cluster of 8"},
                                    DenseChoice{32, 6144, 2048, "8 x 1 warps, cluster of 2"},
                                    DenseChoice{32, 1536, 6144, "8 x 1 warps, cluster of 8"},
                                    DenseChoice{32, 6144, 1536, "8 x 1 warps, cluster of 2"},
                                    DenseChoice{64, 2304, 6144, "12 x 1 warps, cluster of 8"},
                                    DenseChoice{64, 6144, 2048, "8 x 1 warps, cluster of 2"},
                                    DenseChoice{64, 6144, 1536, "8 x 1 warps, cluster of 2"}}) {
    const auto problem = make_gemm_problem(choice.m, choice.n, choice.k);
    ASSERT_TRUE(problem);
    const auto selected = select(**backend, device, *problem);
    ASSERT_TRUE(selected);
    EXPECT_EQ(selected->kernel->id, "hopper.gemm_wgmma_f16") << to_string(*problem);
    EXPECT_EQ(selected->kernel->policy_name(selected->policy), choice.policy) << to_string(*problem);
  }
}

// The kernel on f16 was not measured below 16 tokens, and takes none but MX tokens.
TEST(HopperChoice, LeavesFewTokensAndOtherFormatsToTheKernelOnE4m3) {
  const auto backend = find_backend("hopper");
  ASSERT_TRUE(backend);
  DeviceInfo device;
  device.compute_units = 132;
  for (const auto& [m, format] :
       {std::pair{Index{8}, ActivationFormat::mx}, std::pair{Index{64}, ActivationFormat::bf16}}) {
    const auto problem = make_gemm_problem(m, 2304, 6144, format);
    ASSERT_TRUE(problem);
    const auto selected = select(**backend, device, *problem);
    ASSERT_TRUE(selected);
    EXPECT_NE(selected->kernel->id, "hopper.gemm_wgmma_f16") << to_string(*problem);
  }
}

struct Choice {
  Index experts, slots, n, k, a_div;
  std::string_view kernel, policy;
};

// Each took at most 1.05 times the time of the best policy without early weights, on an H200
// (docs/performance/hopper.md).
TEST(HopperChoice, OfExpertLayersIsNearTheFastestThatWasMeasured) {
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
