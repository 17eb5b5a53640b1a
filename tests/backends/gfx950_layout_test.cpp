// SPDX-License-Identifier: Apache-2.0
// The gfx950 backend's index arithmetic that needs no GPU: which lane holds what, and where the layouts put it.

#include <gtest/gtest.h>

#include <set>

#include "millet/backends/gfx950/kernels/gemm_mfma_scale.hpp"
#include "millet/backends/gfx950/kernels/gemv_packed_fma.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemm_mfma_scale.hpp"

namespace millet::gfx950 {
namespace {

TEST(MfmaLaneMaps, TheLanesHoldEachElementOfAnOperandOnce) {
  std::set<std::pair<int, int>> elements;
  for (int lane = 0; lane < wave_lanes; ++lane) {
    for (int byte = 0; byte < mfma_lane_bytes; ++byte) elements.insert({mfma_row(lane), mfma_k_of_byte(lane, byte)});
  }
  EXPECT_EQ(elements.size(), 16U * 128U);
  EXPECT_EQ(*elements.begin(), std::pair(0, 0));
  EXPECT_EQ(*elements.rbegin(), std::pair(15, 127));
}

TEST(MfmaLaneMaps, AreThoseOfTheInstruction) {
  // Lane 37 is row 5 of group 2: k 32 .. 47 and 96 .. 111, the scale of block 2.
  EXPECT_EQ(mfma_row(37), 5);
  EXPECT_EQ(mfma_k_of_byte(37, 0), 32);
  EXPECT_EQ(mfma_k_of_byte(37, 15), 47);
  EXPECT_EQ(mfma_k_of_byte(37, 16), 96);
  EXPECT_EQ(mfma_k_of_byte(37, 31), 111);
  EXPECT_EQ(mfma_scale_block(37), 2);
  EXPECT_EQ(mfma_d_row(37, 3), 11);
  EXPECT_EQ(mfma_d_column(37), 5);
}

TEST(MfmaLaneMaps, TheLanesSupplyEachScaleOnceAndHoldEachElementOfDOnce) {
  std::set<std::pair<int, int>> scales;
  std::set<std::pair<int, int>> sums;
  for (int lane = 0; lane < wave_lanes; ++lane) {
    scales.insert({mfma_row(lane), mfma_scale_block(lane)});
    for (int i = 0; i < 4; ++i) sums.insert({mfma_d_row(lane, i), mfma_d_column(lane)});
  }
  EXPECT_EQ(scales.size(), 64U);
  EXPECT_EQ(sums.size(), 256U);
}

TEST(StripValues, AWaveLoadsAnOperandInTwoRunsOfLaneOrder) {
  const StripValues order(48, 300);  // a partial step at the end
  EXPECT_EQ(strip_step_bytes, 2048);
  EXPECT_EQ(order.required_span_size(), 3 * 3 * 2048);
  for (Index strip = 0; strip < 3; ++strip) {
    for (Index step = 0; step < 3; ++step) {
      for (int lane = 0; lane < wave_lanes; ++lane) {
        for (int byte = 0; byte < mfma_lane_bytes; ++byte) {
          const Index k = step * mfma_k + mfma_k_of_byte(lane, byte);
          const Index offset = (strip * 3 + step) * 2048 + byte / 16 * 1024 + lane * 16 + byte % 16;
          EXPECT_EQ(order(strip * 16 + mfma_row(lane), k), offset)
              << strip << ' ' << step << ' ' << lane << ' ' << byte;
        }
      }
    }
  }
}

TEST(StripScales, ALanesDwordHoldsItsScalesOfFourSteps) {
  const StripScales order(32, 4 * 6);  // six steps: the second dword is half used
  EXPECT_EQ(strip_scale_bytes, 256);
  EXPECT_EQ(order.required_span_size(), 2 * 2 * 256);
  for (Index strip = 0; strip < 2; ++strip) {
    for (Index step = 0; step < 6; ++step) {
      for (int lane = 0; lane < wave_lanes; ++lane) {
        const Index block = step * mfma_blocks + mfma_scale_block(lane);
        const Index offset = (strip * 2 + step / 4) * 256 + lane * 4 + step % 4;
        EXPECT_EQ(order(strip * 16 + mfma_row(lane), block), offset) << strip << ' ' << step << ' ' << lane;
      }
    }
  }
}

struct AnyTarget {
  static constexpr std::string_view gemm_id = "any.gemm_mfma_scale";
  static constexpr std::string_view gemm_row_major_id = "any.gemm_mfma_scale_row_major";
  static constexpr std::string_view grouped_gemm_id = "any.grouped_gemm_mfma_scale";
  static constexpr std::string_view grouped_gemm_row_major_id = "any.grouped_gemm_mfma_scale_row_major";
  static constexpr std::string_view gemv_id = "any.gemv_packed_fma";
  static constexpr std::string_view gemv_row_major_id = "any.gemv_packed_fma_row_major";
  static Expected<void> launch(const KernelLaunch&, Stream) { return {}; }
};

template <class Layout>
void every_policy_has_a_compiled_kernel(std::string_view layout) {
  using Dense = GemmMfmaScale<Layout, AnyTarget>;
  using Grouped = GroupedGemmMfmaScale<Layout, AnyTarget>;
  const auto kernels = compiled_kernels();
  for (const auto& [format, suffix] :
       {std::pair(ActivationFormat::mx, ""), std::pair(ActivationFormat::bf16, "_bf16")}) {
    for (const GemmPolicy& policy : Dense::policies) {
      EXPECT_EQ(policy.waves % policy.k_waves, 0);
      for (const auto& [m, tiles] : {std::pair(1, 1), std::pair(16, 1), std::pair(17, 2), std::pair(32, 2),
                                     std::pair(33, 4), std::pair(64, 4)}) {
        const int at = Dense::compiled_kernel({.m = m, .n = 16, .k = 128, .activation = format}, policy);
        ASSERT_GE(at, 0) << Dense::name(policy);
        EXPECT_EQ(kernels[static_cast<std::size_t>(at)].symbol,
                  fmt::format("gemm_mfma_scale{}{}_t{}_w{}_s{}", layout, suffix, tiles, policy.waves, policy.steps));
        EXPECT_EQ(kernels[static_cast<std::size_t>(at)].threads, policy.waves * 64);
      }
    }
    for (const GroupedPolicy& policy : Grouped::policies) {
      EXPECT_EQ(policy.waves % policy.k_waves, 0);
      GroupedProblem problem;
      problem.activation = format;
      const int at = Grouped::compiled_kernel(problem, policy);
      ASSERT_GE(at, 0) << Grouped::name(policy);
      EXPECT_EQ(kernels[static_cast<std::size_t>(at)].symbol,
                fmt::format("grouped_gemm_mfma_scale{}{}_w{}_s{}", layout, suffix, policy.waves, policy.steps));
    }
  }
  using Gemv = GemvPackedFma<Layout, AnyTarget>;
  for (const GemvPolicy& policy : Gemv::policies) {
    EXPECT_EQ(policy.waves % policy.k_waves, 0);
    for (const auto& [m, tokens] : {std::pair(1, 1), std::pair(2, 2), std::pair(3, 4), std::pair(16, 4)}) {
      const int at = Gemv::compiled_kernel({.m = m, .n = 16, .k = 128}, policy);
      ASSERT_GE(at, 0) << Gemv::name(policy);
      EXPECT_EQ(kernels[static_cast<std::size_t>(at)].symbol,
                fmt::format("gemv_packed_fma{}_t{}_w{}_s{}", layout, tokens, policy.waves, policy.steps));
      EXPECT_EQ(kernels[static_cast<std::size_t>(at)].threads, policy.waves * 64);
    }
  }
}

TEST(CompiledKernels, EveryPolicyHasItsOwn) {
  every_policy_has_a_compiled_kernel<StripWeights>("");
  every_policy_has_a_compiled_kernel<RowMajorWeights>("_row_major");
}

}  // namespace
}  // namespace millet::gfx950
