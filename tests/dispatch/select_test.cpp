// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/select.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

#include "dispatch/fake_backend.hpp"
#include "error/fails_with.hpp"

namespace millet {
namespace {

using Gemm = GemmProblem;

constexpr Gemm decode_4{4, 4096, 7168};

Verdict few_rows(const Gemm& p) noexcept { return Envelope{.m_max = 4}.contains(p); }
Verdict whole_tiles(const Gemm& p) noexcept { return Envelope{.n_multiple = 64}.contains(p); }

DeviceInfo h200() {
  DeviceInfo device;
  device.architecture = "sm_90a";
  device.compute_units = 132;
  return device;
}

/// What was selected; GoogleTest reports the exception where nothing was.
template <class P>
Selection<P> selected(const Expected<Selection<P>>& selection) {
  if (!selection) throw std::runtime_error(selection.error().message);
  return *selection;
}

/// Sets an environment variable for a scope.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Environment() { unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
};

/// gemv for up to 4 rows, gemm for whole tiles, and one that takes everything; without estimates.
class Select : public testing::Test {
 protected:
  std::array<GemmKernel, 3> kernels{fake::kernel<Gemm>("toy.gemv_few", few_rows, 2),
                                    fake::kernel<Gemm>("toy.gemm_tiles", whole_tiles, 3),
                                    fake::kernel<Gemm>("toy.gemm_any")};
  Backend backend = fake::backend_of(kernels);
  DeviceInfo device = h200();

  /// A table with a row "m,n,k" -> kernel, policy for this device for each given line.
  TunedTable table(std::initializer_list<std::string_view> rows) {
    std::string text = fmt::format("{}\n{}\n", tuned_table_schema, tuned_table_header);
    for (const std::string_view row : rows) text += fmt::format("{},1,1,base,2,yes,gcc,abc,2026-07-01\n", row);
    auto parsed = TunedTable::parse(text, "t.csv", backend, true);
    if (!parsed) ADD_FAILURE() << parsed.error().message;
    return parsed.value_or(TunedTable());
  }
};

TEST_F(Select, TakesTheFirstThatSupports) {
  const auto few = selected(select(backend, device, decode_4));
  EXPECT_EQ(few.kernel, &kernels[0]);
  EXPECT_EQ(few.policy, 0);
  EXPECT_EQ(few.how, Chosen::first_supported);
  EXPECT_EQ(few.row, nullptr);
  EXPECT_TRUE(few.declined.empty());

  const auto odd = selected(select(backend, device, Gemm{5, 100, 64}));
  EXPECT_EQ(odd.kernel, &kernels[2]);
  ASSERT_EQ(odd.declined.size(), 2U);
  EXPECT_EQ(odd.declined[0].kernel, "toy.gemv_few");
  EXPECT_EQ(odd.declined[0].reason, "m outside the envelope");
  EXPECT_EQ(odd.declined[1].kernel, "toy.gemm_tiles");
  EXPECT_EQ(odd.declined[1].reason, "n not a multiple of the n tile");
}

TEST_F(Select, SaysWhyEveryKernelDeclines) {
  backend.gemm_kernels = std::span(kernels).first(2);
  EXPECT_TRUE(fails_with(select(backend, device, Gemm{5, 100, 64}), ErrorCode::unsupported,
                         {"backend 'toy' has no kernel for m=5 n=100 k=64", "; toy.gemv_few: m outside the envelope",
                          "; toy.gemm_tiles: n not a multiple of the n tile"}));
  GroupedProblem grouped;
  EXPECT_TRUE(fails_with(select(backend, device, grouped), ErrorCode::unsupported, {"it lists none of this kind"}));
}

TEST_F(Select, ForcesByName) {
  const auto forced = selected(select(backend, device, decode_4, {.forced_kernel = "toy.gemm_tiles"}));
  EXPECT_EQ(forced.kernel, &kernels[1]);
  EXPECT_EQ(forced.policy, 0);
  EXPECT_EQ(forced.how, Chosen::forced);
  const auto with_policy =
      selected(select(backend, device, decode_4, {.forced_kernel = "toy.gemm_tiles", .forced_policy = 2}));
  EXPECT_EQ(with_policy.policy, 2);
}

TEST_F(Select, AForcedKernelNeverFallsBack) {
  EXPECT_TRUE(fails_with(select(backend, device, Gemm{5, 4096, 64}, {.forced_kernel = "toy.gemv_few"}),
                         ErrorCode::unsupported,
                         {"the forced kernel 'toy.gemv_few' declines m=5 n=4096 k=64: m outside the envelope"}));
  EXPECT_TRUE(
      fails_with(select(backend, device, decode_4, {.forced_kernel = "toy.gemm"}), ErrorCode::unknown_name,
                 {"backend 'toy' has no kernel 'toy.gemm'", "it has: toy.gemv_few, toy.gemm_tiles, toy.gemm_any"}));
  EXPECT_TRUE(fails_with(select(backend, device, GroupedProblem{}, {.forced_kernel = "toy.gemv_few"}),
                         ErrorCode::unknown_name, {"it has: none"}));
  for (const int policy : {-1, 3}) {
    EXPECT_TRUE(fails_with(
        select(backend, device, decode_4, {.forced_kernel = "toy.gemm_tiles", .forced_policy = policy}),
        ErrorCode::invalid_argument, {"'toy.gemm_tiles' has policies [0, 3), got " + std::to_string(policy)}));
  }
}

TEST_F(Select, ForcedWinsOverTuned) {
  const TunedTable tuned = table({"sm_90a,132,dense,mx,4,4096,7168,0,toy.gemm_tiles,1"});
  const auto forced = selected(select(backend, device, decode_4, {.forced_kernel = "toy.gemm_any", .tuned = &tuned}));
  EXPECT_EQ(forced.kernel, &kernels[2]);
}

TEST_F(Select, TheEnvironmentForcesWhereTheCallerDoesNot) {
  EXPECT_EQ(with_environment({}).forced_kernel, "");
  {
    const Environment forced("MILLET_FORCE_KERNEL", "toy.gemm_any");
    EXPECT_EQ(selected(select(backend, device, decode_4, with_environment({}))).kernel, &kernels[2]);
    EXPECT_EQ(with_environment({.forced_kernel = "toy.gemv_few"}).forced_kernel, "toy.gemv_few");
    // select() itself reads no environment: a library does what its arguments say.
    EXPECT_EQ(selected(select(backend, device, decode_4)).kernel, &kernels[0]);
  }
  const Environment misspelt("MILLET_FORCE_KERNEL", "toy.gemm_all");
  EXPECT_TRUE(fails_with(select(backend, device, decode_4, with_environment({})), ErrorCode::unknown_name,
                         {"no kernel 'toy.gemm_all'"}));
  const Environment empty("MILLET_FORCE_KERNEL", "");
  EXPECT_EQ(selected(select(backend, device, decode_4, with_environment({}))).how, Chosen::first_supported);
}

TEST_F(Select, TakesTheTunedRowOfThisProblem) {
  const TunedTable tuned =
      table({"sm_90a,132,dense,mx,2,4096,7168,0,toy.gemv_few,1", "sm_90a,132,dense,mx,4,4096,7168,0,toy.gemm_tiles,2"});
  const auto exact = selected(select(backend, device, decode_4, {.tuned = &tuned}));
  EXPECT_EQ(exact.kernel, &kernels[1]);
  EXPECT_EQ(exact.policy, 2);
  EXPECT_EQ(exact.how, Chosen::tuned_exact);
  EXPECT_EQ(exact.row, &tuned.rows()[1]);
}

TEST_F(Select, TakesTheNearestMOfTheSameShape) {
  const TunedTable tuned =
      table({"sm_90a,132,dense,mx,1,4096,7168,0,toy.gemv_few,1", "sm_90a,132,dense,mx,64,4096,7168,0,toy.gemm_tiles,1",
             "sm_90a,132,dense,mx,16,4096,7168,0,toy.gemm_tiles,2"});
  const auto near = selected(select(backend, device, Gemm{12, 4096, 7168}, {.tuned = &tuned}));
  EXPECT_EQ(near.kernel, &kernels[1]);
  EXPECT_EQ(near.policy, 2);
  EXPECT_EQ(near.how, Chosen::tuned_nearest_m);
  EXPECT_EQ(near.row, &tuned.rows()[2]);
}

TEST_F(Select, PassesANearRowWhoseKernelDeclinesThisProblem) {
  // m=4 is nearest to 5, but its kernel takes no more than 4 rows. The next nearest does it.
  const TunedTable tuned = table(
      {"sm_90a,132,dense,mx,4,4096,7168,0,toy.gemv_few,1", "sm_90a,132,dense,mx,32,4096,7168,0,toy.gemm_tiles,1"});
  const auto next = selected(select(backend, device, Gemm{5, 4096, 7168}, {.tuned = &tuned}));
  EXPECT_EQ(next.kernel, &kernels[1]);
  EXPECT_EQ(next.how, Chosen::tuned_nearest_m);
  EXPECT_EQ(next.row, &tuned.rows()[1]);

  const TunedTable only_few = table({"sm_90a,132,dense,mx,4,4096,7168,0,toy.gemv_few,1"});
  const auto untuned = selected(select(backend, device, Gemm{5, 4096, 7168}, {.tuned = &only_few}));
  EXPECT_EQ(untuned.kernel, &kernels[1]);
  EXPECT_EQ(untuned.how, Chosen::first_supported);
  EXPECT_EQ(untuned.row, nullptr);
}

TEST_F(Select, PassesAnExactRowWhoseKernelDeclinesThisProblem) {
  // The key of a row does not tell the output type: a kernel may take the row's bf16 output and decline f32.
  const TunedTable tuned = table({"sm_90a,132,dense,mx,4,4096,7168,0,toy.gemm_tiles,2"});
  kernels[1].supports = [](const Gemm& p) noexcept {
    return p.output == OutputType::f32 ? Verdict{"f32 output unsupported"} : Verdict{};
  };
  const Gemm f32{4, 4096, 7168, ActivationFormat::mx, OutputType::f32};
  const auto other = selected(select(backend, device, f32, {.tuned = &tuned}));
  EXPECT_EQ(other.kernel, &kernels[0]);
  EXPECT_EQ(other.how, Chosen::first_supported);
}

TEST_F(Select, RowsOfOtherDevicesAndShapesDoNotCount) {
  const TunedTable tuned =
      table({"sm_90,132,dense,mx,4,4096,7168,0,toy.gemm_tiles,1", "sm_90a,114,dense,mx,4,4096,7168,0,toy.gemm_tiles,1",
             "sm_90a,132,dense,bf16,4,4096,7168,0,toy.gemm_any,0", "sm_90a,132,dense,mx,4,4096,4096,0,toy.gemm_tiles,1",
             "sm_90a,132,dense,mx,4,7168,7168,0,toy.gemm_tiles,1"});
  EXPECT_EQ(selected(select(backend, device, decode_4, {.tuned = &tuned})).how, Chosen::first_supported);
  device.architecture = "sm_90";
  EXPECT_EQ(selected(select(backend, device, decode_4, {.tuned = &tuned})).how, Chosen::tuned_exact);
}

TEST_F(Select, TakesTheLeastEstimate) {
  kernels[0].estimate_seconds = [](const Gemm&, int policy, const DeviceInfo&) noexcept { return 3e-6 + policy; };
  kernels[1].estimate_seconds = [](const Gemm& p, int policy, const DeviceInfo& d) noexcept {
    // Looks at all that it is given: 2e-6 on this device for policy 1, more for the others and elsewhere.
    return p.m == 4 && d.compute_units == 132 ? 1e-6 * (1 + std::abs(policy - 1)) + 1e-6 : 1.0;
  };
  const auto best = selected(select(backend, device, decode_4));
  EXPECT_EQ(best.kernel, &kernels[1]);
  EXPECT_EQ(best.policy, 1);
  EXPECT_EQ(best.how, Chosen::cost_model);
  device.compute_units = 1;
  EXPECT_EQ(selected(select(backend, device, decode_4)).kernel, &kernels[0]);
  // The one that declines does not take part.
  device.compute_units = 132;
  const auto many = selected(select(backend, device, Gemm{5, 4096, 7168}));
  EXPECT_EQ(many.kernel, &kernels[1]);
  EXPECT_EQ(many.declined.size(), 1U);
}

TEST_F(Select, AnEstimateWinsOverAnEarlierKernelWithoutOne) {
  kernels[2].estimate_seconds = [](const Gemm&, int, const DeviceInfo&) noexcept { return 1.0; };
  const auto best = selected(select(backend, device, decode_4));
  EXPECT_EQ(best.kernel, &kernels[2]);
  EXPECT_EQ(best.how, Chosen::cost_model);
}

TEST_F(Select, TheEarlierOfEqualEstimatesWins) {
  for (GemmKernel& kernel : kernels) {
    kernel.estimate_seconds = [](const Gemm&, int, const DeviceInfo&) noexcept { return 1e-6; };
  }
  const auto best = selected(select(backend, device, decode_4));
  EXPECT_EQ(best.kernel, &kernels[0]);
  EXPECT_EQ(best.policy, 0);
}

TEST_F(Select, NanAndInfinityAreNoEstimates) {
  kernels[0].estimate_seconds = [](const Gemm&, int, const DeviceInfo&) noexcept { return std::nan(""); };
  kernels[1].estimate_seconds = [](const Gemm&, int policy, const DeviceInfo&) noexcept {
    return policy == 1 ? 1e-6 : std::nan("");  // a NaN before and after
  };
  kernels[2].estimate_seconds = [](const Gemm&, int, const DeviceInfo&) noexcept { return HUGE_VAL; };
  const auto best = selected(select(backend, device, decode_4));
  EXPECT_EQ(best.kernel, &kernels[1]);
  EXPECT_EQ(best.policy, 1);

  kernels[1].estimate_seconds = kernels[2].estimate_seconds;
  const auto none = selected(select(backend, device, decode_4));
  EXPECT_EQ(none.kernel, &kernels[0]);
  EXPECT_EQ(none.how, Chosen::first_supported);
}

TEST(SelectGrouped, UsesTheGroupedKernelsAndRows) {
  const std::array gemm{fake::kernel<Gemm>("toy.gemm_any")};
  const std::array grouped{fake::kernel<GroupedProblem>("toy.grouped_gemm_any"),
                           fake::kernel<GroupedProblem>("toy.grouped_gemv_any")};
  const Backend backend = fake::backend_of(gemm, grouped);
  GroupedProblem p;
  p.experts = 128;
  p.slots = 16;
  p.n = 1536;
  p.k = 6144;
  p.padded_slots = 256;
  EXPECT_EQ(selected(select(backend, h200(), p)).kernel, &backend.grouped_kernels[0]);

  const std::string text = fmt::format("{}\n{}\n{}\n", tuned_table_schema, tuned_table_header,
                                       "sm_90a,132,grouped,mx,16,1536,6144,128,toy.grouped_gemv_any,0,1,1,base,2,yes,"
                                       "gcc,abc,2026-07-01");
  const auto tuned = TunedTable::parse(text, "t.csv", backend, true);
  ASSERT_TRUE(tuned) << tuned.error().message;
  EXPECT_EQ(selected(select(backend, h200(), p, {.tuned = &*tuned})).kernel, &backend.grouped_kernels[1]);
  // A dense problem of the same extents is another problem.
  EXPECT_EQ(selected(select(backend, h200(), Gemm{16, 1536, 6144}, {.tuned = &*tuned})).how, Chosen::first_supported);
}

TEST(SelectNames, EveryChoiceHasAName) {
  EXPECT_EQ(to_string(Chosen::forced), "forced");
  EXPECT_EQ(to_string(Chosen::tuned_exact), "tuned_exact");
  EXPECT_EQ(to_string(Chosen::tuned_nearest_m), "tuned_nearest_m");
  EXPECT_EQ(to_string(Chosen::cost_model), "cost_model");
  EXPECT_EQ(to_string(Chosen::first_supported), "first_supported");
}

}  // namespace
}  // namespace millet
