// SPDX-License-Identifier: Apache-2.0
// The libraries that kernels are compared with: they multiply what the kernels multiply.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "baselines/baseline_names.hpp"
#include "baselines/host_baseline.hpp"
#include "error/fails_with.hpp"
#include "millet/reference/error_bound.hpp"
#include "operands/generate.hpp"
#include "operands/workload.hpp"

namespace millet {
namespace {

struct Code {
  std::string name;
  HostIsa isa;
};
void PrintTo(const Code& code, std::ostream* out) { *out << code.name << ' ' << to_string(code.isa); }

class HostBaselines : public testing::TestWithParam<Code> {
 protected:
  // The baseline, or why this machine or build cannot have it.
  [[nodiscard]] Expected<HostBaseline> load() const {
    if (GetParam().isa > host_isa())
      return fail(ErrorCode::unavailable, "this CPU has no {}", to_string(GetParam().isa));
    auto baseline = HostBaseline::load(GetParam().name, GetParam().isa);
    if (baseline) return baseline;
    const std::string& why = baseline.error().message;
    const bool not_built = why.find("not part of this build") != std::string::npos;
    // oneDNN computes in bf16 only where the CPU has AVX-512.
    const bool not_here = GetParam().name == "onednn_bf16" && host_isa() < HostIsa::avx512;
    EXPECT_TRUE(not_built || not_here) << why;
    return baseline;
  }
};

TEST_P(HostBaselines, MultiplyWithinTheBound) {
  const auto baseline = load();
  if (!baseline) GTEST_SKIP() << baseline.error().message;
  DenseShape shape;
  shape.n = 150;  // more than one panel of a baseline that takes columns by panels
  shape.k = 320;
  auto workload = DenseWorkload::make(shape, {}, 17, {});
  ASSERT_TRUE(workload);
  BaselineWeightCache kept;
  for (const Index threads : {Index{1}, Index{2}, Index{200}}) {  // more threads than columns too
    for (const Index m : {Index{1}, Index{2}, Index{7}, Index{17}}) {
      const auto problem = make_gemm_problem(m, shape.n, shape.k);
      auto run = HostBaselineRun::make(*baseline, workload->operands(*problem), threads);
      ASSERT_TRUE(run) << run.error().message;
      ASSERT_TRUE(run->prepare(2, &kept));
      for (const Index copy : {Index{0}, Index{1}}) {
        ASSERT_TRUE(run->run(copy));
        const auto comparison =
            reference::compare(run->output(), workload->expected(m), {f32_accumulator, OutputType::f32});
        EXPECT_TRUE(comparison.correct) << "m=" << m << " threads=" << threads << ": " << comparison.verdict;
      }
      EXPECT_EQ(run->contender("x", {}).batches.size(), 2U);
    }
  }
}

TEST_P(HostBaselines, RunCodeForThisCpu) {
  const auto baseline = load();
  if (!baseline) GTEST_SKIP() << baseline.error().message;
  if (host_isa() == HostIsa::baseline) GTEST_SKIP() << "this CPU has neither AVX2 nor AVX-512";
  EXPECT_THAT(baseline->product->describe(), testing::Not(testing::HasSubstr("Prescott")));  // OpenBLAS's SSE3 code
}

TEST_P(HostBaselines, FollowTheRouting) {
  const auto baseline = load();
  if (!baseline) GTEST_SKIP() << baseline.error().message;
  MoeShape shape;
  shape.experts = 9;
  shape.n = 20;
  shape.k = 64;
  shape.top_k = 2;
  shape.block_m = 4;
  for (const bool weighted : {false, true}) {
    shape.weighted = weighted;
    shape.a_div = weighted ? 1 : 2;
    const auto routed = route_tokens(shape, 7, {});
    ASSERT_TRUE(routed);
    const auto workload = GroupedWorkload::make(*routed, random_expert_pool(9, 20, 64, ScaleMode::rceil, 1), {});
    ASSERT_TRUE(workload);
    const HostGrouped operands = workload->operands(*routed);
    auto run = HostBaselineRun::make(*baseline, operands, 1);
    ASSERT_TRUE(run) << run.error().message;
    ASSERT_TRUE(run->prepare(1, nullptr));
    ASSERT_TRUE(run->run(0));
    const auto comparison =
        reference::compare(run->output(), reference::eigen_grouped_gemm(operands), {f32_accumulator, OutputType::f32});
    EXPECT_TRUE(comparison.correct) << comparison.verdict;
  }
}

TEST_P(HostBaselines, HaveNoEpilogues) {
  const auto baseline = load();
  if (!baseline) GTEST_SKIP() << baseline.error().message;
  MoeShape shape;
  shape.experts = 2;
  shape.n = 4;
  shape.k = 32;
  shape.epilogue = "topk_sum";
  const auto routed = route_tokens(shape, 2, {});
  ASSERT_TRUE(routed);
  const auto workload = GroupedWorkload::make(*routed, random_expert_pool(2, 4, 32, ScaleMode::rceil, 1), {});
  ASSERT_TRUE(workload);
  EXPECT_TRUE(fails_with(HostBaselineRun::make(*baseline, workload->operands(*routed), 1), ErrorCode::unavailable,
                         {"it has no topk_sum epilogue"}));
}

TEST_P(HostBaselines, TakeNothingThatTheirTypeCannotHold) {
  const auto baseline = load();
  if (!baseline) GTEST_SKIP() << baseline.error().message;
  const bool bf16 = baseline->product->element_bytes == 2;
  DenseShape shape;
  shape.n = 3;
  shape.k = 64;
  auto workload = DenseWorkload::make(shape, {}, 1, {});
  ASSERT_TRUE(workload);
  const auto problem = make_gemm_problem(1, shape.n, shape.k);
  HostGemm operands = workload->operands(*problem);
  // Exact products up to 448 * 2^119, and from 2^-9 * 2^-124 on in bf16; beyond, only where the codes make up for it.
  for (const auto& [code, scale, in_f32, in_bf16] :
       {std::tuple{E4M3::round(448.0F), 127 + 119, true, true},
        std::tuple{E4M3::round(448.0F), 127 + 120, false, false}, std::tuple{E4M3::round(1.0F), 254, true, true},
        std::tuple{E4M3{1}, 127 - 124, true, true}, std::tuple{E4M3{1}, 127 - 125, true, false},
        std::tuple{E4M3{2}, 127 - 125, true, true}, std::tuple{E4M3{1}, 0, true, false},
        std::tuple{E4M3{0}, 0, true, true}, std::tuple{E4M3{0x7F}, 0, true, true},
        std::tuple{E4M3{8}, 255, true, true}}) {
    MxMatrix<> weights = workload->weights();
    std::fill(weights.values().begin(), weights.values().end(), E4M3{0});
    weights.values()[64 + 33] = code;
    weights.scales()[3] = E8M0{static_cast<std::uint8_t>(scale)};
    operands.b = &weights;
    auto run = HostBaselineRun::make(*baseline, operands, 1);
    ASSERT_TRUE(run) << run.error().message;
    const auto prepared = run->prepare(1, nullptr);
    EXPECT_EQ(prepared.has_value(), bf16 ? in_bf16 : in_f32) << int{code.bits} << " with scale " << scale;
    if (prepared) continue;
    EXPECT_TRUE(fails_with(prepared, ErrorCode::unsupported, {baseline->name, "weights", bf16 ? "no bf16" : "no f32"}));
  }
}

INSTANTIATE_TEST_SUITE_P(Built, HostBaselines,
                         testing::Values(Code{"eigen_f32", HostIsa::baseline}, Code{"eigen_f32", HostIsa::avx2},
                                         Code{"eigen_f32", HostIsa::avx512}, Code{"openblas_f32", HostIsa::baseline},
                                         Code{"onednn_bf16", HostIsa::baseline}),
                         [](const auto& code) {
                           return code.param.name + "_" + std::string(to_string(code.param.isa));
                         });

TEST(OneDnn, SaysWhenTheCpuHasNoBf16Product) {
  const auto baseline = HostBaseline::load("onednn_bf16");
  if (baseline || baseline.error().message.find("not part of this build") != std::string::npos) GTEST_SKIP();
  EXPECT_LT(host_isa(), HostIsa::avx512);
  EXPECT_TRUE(fails_with(baseline, ErrorCode::unavailable, {"oneDNN has no such product for this CPU"}));
}

TEST(HostBaselineNames, AreKnownWhetherBuiltOrNot) {
  EXPECT_THAT(baseline_names(), testing::IsSupersetOf({"eigen_f32", "openblas_f32", "onednn_bf16", "reference"}));
  EXPECT_TRUE(fails_with(HostBaseline::load("mkl"), ErrorCode::unknown_name, {"mkl"}));
}

}  // namespace
}  // namespace millet
