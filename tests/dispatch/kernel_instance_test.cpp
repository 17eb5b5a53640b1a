// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/kernel_instance.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

#include "dispatch/fake_backend.hpp"
#include "error/fails_with.hpp"

namespace millet {
namespace {

using testing::Each;
using testing::ElementsAre;

using Tiles = FragmentOrder<RowDigit<2>, ColDigit<4>>;
using TiledWeights = WeightLayout<Tiles, ScaleMapping<Tiles>>;

/// A kernel that writes row + column / 16 into C and the number of its calls into the workspace.
template <class P, class Layout>
struct Writing {
  static constexpr bool is_grouped = std::same_as<P, GroupedProblem>;
  static constexpr std::string_view id = is_grouped ? "toy.grouped_gemm_writing" : "toy.gemm_writing";
  static constexpr Operation operation = is_grouped ? Operation::grouped_gemm : Operation::gemm;
  static constexpr Determinism determinism = Determinism::batch_invariant;
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 1;
  using Problem = P;
  using Weights = Layout;
  using Operands = typename OperandsOf<P, Layout>::type;
  struct Policy {
    Index workspace_bytes;
  };
  static constexpr Policy policies[] = {{0}, {48}};

  static inline std::vector<Operands> calls;  ///< since the test began

  static std::string name(const Policy& policy) { return std::to_string(policy.workspace_bytes); }
  static Verdict supports(const P&) noexcept { return {}; }
  static Index workspace_bytes(const P&, const Policy& policy) noexcept { return policy.workspace_bytes; }
  static Expected<void> run(const P& p, const Operands& x, const Policy&, Workspace workspace, Stream) {
    calls.push_back(x);
    if (workspace.bytes > 0) ++*static_cast<char*>(workspace.data);
    Index rows = 0;
    if constexpr (is_grouped) {
      rows = p.slots;
    } else {
      rows = p.m;
    }
    for (Index row = 0; row < rows; ++row) {
      for (Index col = 0; col < p.n; ++col) {
        const float value = static_cast<float>(row) + static_cast<float>(col) / 16.0F;
        const Index at = row * x.c.row_stride + col;
        if (p.output == OutputType::bf16) {
          static_cast<BF16*>(x.c.values)[at] = BF16::round(value);
        } else {
          static_cast<float*>(x.c.values)[at] = value;
        }
      }
    }
    return {};
  }
};
using WritingGemm = Writing<GemmProblem, TiledWeights>;
using WritingGrouped = Writing<GroupedProblem, TiledWeights>;

constexpr GemmKernel gemm = describe<WritingGemm>();
constexpr GroupedKernel grouped = describe<WritingGrouped>();

/// A matrix whose codes and scales count up from `first`, so that every byte can be told.
MxMatrix<> counting(Index rows, Index k, int first) {
  MxMatrix<> matrix(RowMajor(rows, k), row_major_scales(rows, k));
  for (E4M3& code : matrix.values()) code.bits = static_cast<std::uint8_t>(first++);
  for (E8M0& scale : matrix.scales()) scale.bits = static_cast<std::uint8_t>(first++);
  return matrix;
}

template <class T>
std::vector<T> elements(const void* data, std::size_t count) {
  const T* const first = static_cast<const T*>(data);
  return {first, first + count};
}

template <class T>
T value_of(Expected<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return *std::move(result);
}

class Instance : public testing::Test {
 protected:
  Backend backend = fake::host_backend();

  void SetUp() override {
    fake::allocations_left = -1;
    WritingGemm::calls.clear();
    WritingGrouped::calls.clear();
    unsetenv("MILLET_CHECK");
  }
  void TearDown() override { EXPECT_EQ(fake::live_buffers, 0); }
};

class DenseInstance : public Instance {
 protected:
  GemmProblem problem{2, 3, 64};
  HostActivations a{ActivationFormat::mx, counting(5, 64, 7), {}, {}};  // more rows than the problem has
  MxMatrix<> b = counting(3, 64, 100);

  [[nodiscard]] HostGemm host() const { return {problem, &a, &b}; }
  [[nodiscard]] auto create(int policy = 0, Index copies = 1) const {
    return KernelInstance<GemmProblem>::create(backend, gemm, policy, host(), copies);
  }
};

TEST_F(DenseInstance, UploadsTheFirstRowsOfAAndThePackedWeights) {
  const auto instance = value_of(create());
  ASSERT_TRUE(instance.run(Stream{}));
  ASSERT_EQ(WritingGemm::calls.size(), 1U);
  const auto& x = WritingGemm::calls.front();
  EXPECT_EQ(x.a.format, ActivationFormat::mx);
  EXPECT_EQ(x.a.value_stride, 64);
  EXPECT_EQ(x.a.scale_stride, 2);
  const auto first = [](const auto& all, std::ptrdiff_t count) {
    return std::vector(all.begin(), all.begin() + count);
  };
  EXPECT_EQ(elements<E4M3>(x.a.values, 2 * 64), first(a.mx.values(), 2 * 64));
  EXPECT_EQ(elements<E8M0>(x.a.scales, 2 * 2), first(a.mx.scales(), 2 * 2));
  const auto packed = relayout<Tiles, ScaleMapping<Tiles>>(b);
  EXPECT_EQ(elements<E4M3>(x.b.values, packed.values().size()), packed.values());
  EXPECT_EQ(elements<E8M0>(x.b.scales, packed.scales().size()), packed.scales());
  EXPECT_EQ(x.c.row_stride, 3);

  EXPECT_EQ(instance.problem(), problem);
  EXPECT_EQ(instance.kernel().id, "toy.gemm_writing");
  EXPECT_EQ(instance.weight_copies(), 1);
  EXPECT_EQ(instance.weight_bytes(), 4 * 64 + 4 * 4);  // two tiles of two rows; two scales padded to a tile of four
}

TEST_F(DenseInstance, UploadsBf16AndF32Activations) {
  std::vector<float> x(5 * 64);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) / 8.0F;
  for (const ActivationFormat format : {ActivationFormat::bf16, ActivationFormat::f32}) {
    problem.activation = format;
    a = value_of(make_activations(format, x, 5, 64));
    const auto instance = value_of(create());
    ASSERT_TRUE(instance.run(Stream{}));
    const Activations& uploaded = WritingGemm::calls.back().a;
    EXPECT_EQ(uploaded.format, format);
    EXPECT_EQ(uploaded.value_stride, 64);
    EXPECT_EQ(uploaded.scales, nullptr);
    if (format == ActivationFormat::f32) {
      EXPECT_EQ(elements<float>(uploaded.values, 2 * 64), std::vector(x.begin(), x.begin() + 2 * 64));
    } else {
      EXPECT_EQ(elements<BF16>(uploaded.values, 2 * 64), std::vector(a.bf16.begin(), a.bf16.begin() + 2 * 64));
    }
  }
}

TEST_F(DenseInstance, RotatesOverItsCopies) {
  const auto instance = value_of(create(0, 3));
  EXPECT_EQ(instance.weight_copies(), 3);
  for (Index copy = 0; copy < 7; ++copy) ASSERT_TRUE(instance.run(Stream{}, copy));
  const auto& calls = WritingGemm::calls;
  ASSERT_EQ(calls.size(), 7U);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    for (std::size_t j = 0; j < calls.size(); ++j) {
      EXPECT_EQ(calls[i].b.values == calls[j].b.values, i % 3 == j % 3) << i << ' ' << j;
      EXPECT_EQ(calls[i].b.scales == calls[j].b.scales, i % 3 == j % 3) << i << ' ' << j;
    }
    EXPECT_EQ(elements<E4M3>(calls[i].b.values, 4 * 64), elements<E4M3>(calls[0].b.values, 4 * 64));
    EXPECT_EQ(elements<E8M0>(calls[i].b.scales, 4 * 4), elements<E8M0>(calls[0].b.scales, 4 * 4));
    EXPECT_EQ(calls[i].a.values, calls[0].a.values);
    EXPECT_EQ(calls[i].c.values, calls[0].c.values);
  }
}

TEST_F(DenseInstance, ReadsItsOutputAsF32) {
  const auto narrow = value_of(create());
  ASSERT_TRUE(narrow.run(Stream{}));
  EXPECT_THAT(value_of(narrow.output()), ElementsAre(0.0F, 0.0625F, 0.125F, 1.0F, 1.0625F, 1.125F));
  problem.output = OutputType::f32;
  const auto wide = value_of(create());
  ASSERT_TRUE(wide.run(Stream{}));
  EXPECT_THAT(value_of(wide.output()), ElementsAre(0.0F, 0.0625F, 0.125F, 1.0F, 1.0625F, 1.125F));
}

TEST_F(DenseInstance, FillsItsOutputWithAByte) {
  for (const OutputType output : {OutputType::bf16, OutputType::f32}) {
    problem.output = output;
    const auto instance = value_of(create());
    EXPECT_THAT(value_of(instance.output()), Each(0.0F));
    ASSERT_TRUE(instance.fill_output(std::byte{0xFF}));
    const std::vector<float> filled = value_of(instance.output());
    ASSERT_EQ(filled.size(), 6U);
    for (const float value : filled) EXPECT_TRUE(std::isnan(value)) << value;
    ASSERT_TRUE(instance.fill_output(std::byte{0}));
    EXPECT_THAT(value_of(instance.output()), Each(0.0F));
  }
}

TEST_F(DenseInstance, OwnsTheWorkspaceThatItsPolicyNeeds) {
  EXPECT_TRUE(value_of(value_of(create(0)).workspace()).empty());
  const auto instance = value_of(create(1));
  EXPECT_EQ(value_of(instance.workspace()), std::vector<std::byte>(48));
  ASSERT_TRUE(instance.run(Stream{}));
  ASSERT_TRUE(instance.run(Stream{}));
  EXPECT_EQ(value_of(instance.workspace()).front(), std::byte{2});
}

TEST_F(DenseInstance, LaunchesOutliveIt) {
  Launch launch;
  {
    const auto instance = value_of(create(0, 2));
    launch = instance.launch(1);
    ASSERT_TRUE(instance.run(Stream{}, 1));
  }
  EXPECT_GT(fake::live_buffers, 0);
  ASSERT_TRUE(launch(Stream{}));
  ASSERT_EQ(WritingGemm::calls.size(), 2U);
  EXPECT_EQ(WritingGemm::calls[0].b.values, WritingGemm::calls[1].b.values);
  launch = nullptr;
  EXPECT_EQ(fake::live_buffers, 0);
}

TEST_F(DenseInstance, RefusesOperandsThatDoNotFitTheProblem) {
  constexpr ErrorCode code = ErrorCode::invalid_argument;
  EXPECT_TRUE(fails_with(create(-1), code, {"toy.gemm_writing: policy -1 is outside [0, 2)"}));
  EXPECT_TRUE(fails_with(create(2), code, {"policy 2 is outside [0, 2)"}));
  EXPECT_TRUE(fails_with(create(0, 0), code, {"weight_copies must be at least 1, got 0"}));

  problem = {6, 3, 64};
  EXPECT_TRUE(fails_with(create(), code, {"activations are mx [5, 64]", "needs mx with at least 6 rows of 64"}));
  problem = {2, 3, 32};
  EXPECT_TRUE(fails_with(create(), code, {"activations are mx [5, 64]", "rows of 32"}));
  problem = {2, 3, 64, ActivationFormat::f32};
  EXPECT_TRUE(fails_with(create(), code, {"activations are mx", "the problem needs f32"}));
  problem = {2, 4, 64};
  EXPECT_TRUE(fails_with(create(), code, {"weights are [3, 64], the problem needs [4, 64]"}));
  problem = {2, 3, 64};
  b = counting(3, 96, 0);
  EXPECT_TRUE(fails_with(create(), code, {"weights are [3, 96], the problem needs [3, 64]"}));
}

TEST_F(DenseInstance, PassesOnThatThereIsNoMemory) {
  // A's values and scales, B's values and scales, C, the workspace.
  for (Index granted = 0; granted < 6; ++granted) {
    fake::allocations_left = granted;
    EXPECT_TRUE(fails_with(create(1), ErrorCode::unavailable, {"toy: no memory for "})) << granted;
    EXPECT_EQ(fake::live_buffers, 0) << granted;
  }
  fake::allocations_left = 6;
  EXPECT_TRUE(create(1));
}

TEST_F(DenseInstance, PassesOnThatACopyFails) {
  const auto instance = value_of(create(1));
  backend.copy_to_device = [](void*, const void*, Index, Stream) -> Expected<void> {
    return fail(ErrorCode::unavailable, "toy: the link is down");
  };
  EXPECT_TRUE(fails_with(create(), ErrorCode::unavailable, {"the link is down"}));
  EXPECT_TRUE(fails_with(instance.fill_output(std::byte{1}), ErrorCode::unavailable, {"the link is down"}));
  backend.copy_to_host = backend.copy_to_device;
  EXPECT_TRUE(fails_with(instance.output(), ErrorCode::unavailable, {"the link is down"}));
  EXPECT_TRUE(fails_with(instance.workspace(), ErrorCode::unavailable, {"the link is down"}));
}

TEST_F(DenseInstance, ErrorsOfTheDeviceShowUpWithTheOutput) {
  const auto instance = value_of(create(1));
  backend.synchronize = [](Stream) -> Expected<void> { return fail(ErrorCode::unavailable, "toy: a kernel trapped"); };
  EXPECT_TRUE(fails_with(instance.output(), ErrorCode::unavailable, {"a kernel trapped"}));
  EXPECT_TRUE(fails_with(instance.workspace(), ErrorCode::unavailable, {"a kernel trapped"}));
}

/// 4 tokens with 2 choices each over 3 experts, in blocks of 2.
class GroupedInstance : public Instance {
 protected:
  GroupedInstance() {
    problem.experts = 3;
    problem.slots = 8;
    problem.n = 3;
    problem.k = 64;
    problem.a_div = 2;
    problem.block_m = 2;
    problem.padded_slots = std::ssize(routing.sorted_token_ids);
    problem.weighted = true;
  }

  Routing routing = value_of(build_routing(std::array<std::int32_t, 8>{0, 2, 2, 0, 0, 2, 2, 0}, 3, 2));
  GroupedProblem problem;
  HostActivations a{ActivationFormat::mx, counting(4, 64, 7), {}, {}};
  std::vector<MxMatrix<>> b{counting(3, 64, 10), counting(3, 64, 20), counting(3, 64, 30)};
  std::vector<float> slot_weights{1, 2, 3, 4, 5, 6, 7, 8};

  [[nodiscard]] auto create() const {
    return KernelInstance<GroupedProblem>::create(backend, grouped, 0, {problem, &a, &b, &routing, &slot_weights});
  }
};

TEST_F(GroupedInstance, UploadsRoutingAndEveryExpert) {
  const auto instance = value_of(create());
  ASSERT_TRUE(instance.run(Stream{}));
  const auto& x = WritingGrouped::calls.back();
  EXPECT_EQ(elements<std::int32_t>(x.routing.sorted_token_ids, 8), routing.sorted_token_ids);
  EXPECT_EQ(elements<std::int32_t>(x.routing.expert_ids, 4), routing.expert_ids);
  EXPECT_EQ(*x.routing.num_tokens_post_padded, 8);
  EXPECT_EQ(elements<float>(x.routing.slot_weights, 8), slot_weights);
  EXPECT_EQ(elements<E4M3>(x.a.values, 4 * 64), a.mx.values());
  for (Index expert = 0; expert < 3; ++expert) {
    const auto packed = relayout<Tiles, ScaleMapping<Tiles>>(b[static_cast<std::size_t>(expert)]);
    EXPECT_EQ(elements<E4M3>(x.b.values + expert * x.expert_value_stride, packed.values().size()), packed.values());
    EXPECT_EQ(elements<E8M0>(x.b.scales + expert * x.expert_scale_stride, packed.scales().size()), packed.scales());
  }
  const std::vector<float> output = value_of(instance.output());
  ASSERT_EQ(output.size(), 8U * 3);  // a row for each slot
  EXPECT_EQ(output.back(), 7.125F);
}

TEST_F(GroupedInstance, UploadsWeightsOfSlotsOnlyWhereTheProblemHasThem) {
  problem.weighted = false;
  const auto instance = value_of(create());
  ASSERT_TRUE(instance.run(Stream{}));
  EXPECT_EQ(WritingGrouped::calls.back().routing.slot_weights, nullptr);
}

TEST_F(GroupedInstance, RoutesTheNextCallOtherwise) {
  const auto instance = value_of(create());
  const Routing other = value_of(build_routing(std::array<std::int32_t, 8>{1, 1, 0, 0, 2, 2, 0, 0}, 3, 2));
  ASSERT_TRUE(instance.reroute(other));
  ASSERT_TRUE(instance.run(Stream{}));
  const auto& x = WritingGrouped::calls.back();
  EXPECT_EQ(elements<std::int32_t>(x.routing.sorted_token_ids, 8), other.sorted_token_ids);
  EXPECT_EQ(elements<std::int32_t>(x.routing.expert_ids, 4), other.expert_ids);

  Routing shorter = other;
  shorter.sorted_token_ids.resize(6);
  EXPECT_TRUE(fails_with(instance.reroute(shorter), ErrorCode::invalid_argument,
                         {"6 slot ids and 4 expert ids given to reroute, the problem has 8 and 4"}));
  shorter = other;
  shorter.expert_ids.pop_back();
  EXPECT_TRUE(fails_with(instance.reroute(shorter), ErrorCode::invalid_argument, {"3 expert ids"}));

  Routing stray = other;
  stray.expert_ids[1] = 3;
  EXPECT_TRUE(instance.reroute(stray));  // kernels skip it
  setenv("MILLET_CHECK", "1", 1);
  EXPECT_TRUE(fails_with(instance.reroute(stray), ErrorCode::invalid_routing, {"expert_ids[1]=3"}));
}

TEST_F(GroupedInstance, RefusesOperandsThatDoNotFitTheProblem) {
  constexpr ErrorCode code = ErrorCode::invalid_argument;
  const auto good = routing;
  routing.sorted_token_ids.pop_back();
  EXPECT_TRUE(fails_with(
      create(), code,
      {"3 experts, 7 slot ids and 4 expert ids given, the problem needs 3, 8 and 4", "a weight for each slot"}));
  routing = good;
  routing.expert_ids.pop_back();
  EXPECT_TRUE(fails_with(create(), code, {"3 experts, 8 slot ids and 3 expert ids given"}));
  routing = good;
  slot_weights.pop_back();
  EXPECT_TRUE(fails_with(create(), code, {"a weight for each slot"}));
  slot_weights.push_back(8);
  b.pop_back();
  EXPECT_TRUE(fails_with(create(), code, {"2 experts"}));
  b.push_back(counting(3, 32, 0));
  EXPECT_TRUE(fails_with(create(), code, {"weights are [3, 32], the problem needs [3, 64]"}));
  b.back() = counting(3, 64, 0);
  problem.a_div = 1;  // a row of A for each of 8 slots
  EXPECT_TRUE(fails_with(create(), code, {"activations are mx [4, 64]", "at least 8 rows"}));
}

TEST_F(GroupedInstance, ChecksTheRoutingItselfInCheckedMode) {
  routing.expert_ids.front() = 3;
  const Error expected = validate_routing(problem, routing).error();
  EXPECT_TRUE(create());
  setenv("MILLET_CHECK", "0", 1);
  EXPECT_TRUE(create());
  setenv("MILLET_CHECK", "1", 1);
  EXPECT_TRUE(fails_with(create(), ErrorCode::invalid_routing, {expected.message}));
  routing.expert_ids.front() = 0;
  EXPECT_TRUE(create());
  unsetenv("MILLET_CHECK");
}

TEST(PackWeights, PutsExpertsBehindEachOtherWithTheirPadding) {
  const std::vector<MxMatrix<>> experts{counting(3, 64, 10), counting(3, 64, 20)};
  const LayoutDescriptor& layout = layout_descriptor<TiledWeights>;
  const PackedWeights packed = pack_weights(layout, experts);
  EXPECT_EQ(packed.layout, &layout);
  ASSERT_EQ(packed.values.size(), 2U * 4 * 64);
  ASSERT_EQ(packed.scales.size(), 2U * 4 * 4);
  for (std::size_t expert = 0; expert < 2; ++expert) {
    const auto alone = relayout<Tiles, ScaleMapping<Tiles>>(experts[expert]);
    EXPECT_TRUE(std::equal(alone.values().begin(), alone.values().end(), packed.values.begin() + expert * 4 * 64));
    EXPECT_TRUE(std::equal(alone.scales().begin(), alone.scales().end(), packed.scales.begin() + expert * 4 * 4));
  }
  EXPECT_TRUE(pack_weights(layout, {}).values.empty());
}

}  // namespace
}  // namespace millet
