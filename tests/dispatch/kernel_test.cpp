// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/kernel.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "error/fails_with.hpp"
#include "millet/numeric/bf16.hpp"

namespace millet {
namespace {

/// What the last run() of a recording kernel was given.
struct Recorded {
  int runs = 0;
  int policy = -1;
  Workspace workspace;
  void* stream = nullptr;
};
Recorded recorded;

using Tiles = FragmentOrder<RowDigit<16>, ColDigit<4>>;
using TiledWeights = WeightLayout<Tiles, RowMajorScales>;

struct RecordingGemm {
  static constexpr std::string_view id = "toy.gemm_recording";
  static constexpr Operation operation = Operation::gemm;
  static constexpr Determinism determinism = Determinism::thread_invariant;
  static constexpr Accumulator accumulator{0x1p-14, 128};
  static constexpr Index weight_alignment = 64;
  using Problem = GemmProblem;
  using Weights = TiledWeights;
  struct Policy {
    int tile;
  };
  static constexpr Policy policies[] = {{8}, {16}};

  static inline GemmOperands<Weights> operands;

  static std::string name(const Policy& policy) { return fmt::format("tile {}", policy.tile); }
  static Verdict supports(const Problem& p) noexcept { return Envelope{.m_max = 4}.contains(p); }
  static Index workspace_bytes(const Problem& p, const Policy& policy) noexcept { return p.m * policy.tile; }
  static Expected<void> run(const Problem& p, const GemmOperands<Weights>& x, const Policy& policy, Workspace workspace,
                            Stream stream) {
    recorded = {recorded.runs + 1, policy.tile, workspace, stream.handle};
    operands = x;
    if (p.m == 3) return fail(ErrorCode::unavailable, "the device fell over");
    return {};
  }
};

struct RecordingGrouped {
  static constexpr std::string_view id = "toy.grouped_gemv_recording";
  static constexpr Operation operation = Operation::grouped_gemv;
  static constexpr Determinism determinism = Determinism::none;
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 1;
  using Problem = GroupedProblem;
  using Weights = TiledWeights;
  struct Policy {};
  static constexpr Policy policies[] = {{}};

  static inline GroupedOperands<Weights> operands;

  static std::string name(const Policy&) { return "default"; }
  static Verdict supports(const Problem&) noexcept { return {}; }
  static Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }
  static double estimate_seconds(const Problem& p, const Policy&, const DeviceInfo& device) noexcept {
    return static_cast<double>(p.slots) / static_cast<double>(device.compute_units);
  }
  static Expected<void> run(const Problem&, const GroupedOperands<Weights>& x, const Policy&, Workspace, Stream) {
    operands = x;
    return {};
  }
};

constexpr GemmKernel gemm = describe<RecordingGemm>();
constexpr GroupedKernel grouped = describe<RecordingGrouped>();

/// Operands for [m, 20] = [m, 64] * [20, 64]: 20 rows are 2 tiles of 16.
struct Call {
  static constexpr GemmProblem problem{2, 20, 64};
  alignas(64) std::array<E4M3, 32 * 64> b_values{};
  std::array<E8M0, 20 * 2> b_scales{};
  std::array<E4M3, 4 * 64> a_values{};
  std::array<E8M0, 4 * 2> a_scales{};
  std::array<BF16, 4 * 20> c{};
  alignas(workspace_alignment) std::array<std::byte, 64> memory{};

  GemmOperandsRef ref() {
    return {{ActivationFormat::mx, a_values.data(), a_scales.data(), 64, 2},
            {gemm.weight_layout, b_values.data(), b_scales.data(), std::ssize(b_values), std::ssize(b_scales)},
            {c.data(), 20}};
  }
  Workspace workspace() { return {memory.data(), std::ssize(memory)}; }
};

TEST(Describe, CopiesTheKernelsFacts) {
  EXPECT_EQ(gemm.id, "toy.gemm_recording");
  EXPECT_EQ(gemm.operation, Operation::gemm);
  EXPECT_EQ(gemm.determinism, Determinism::thread_invariant);
  EXPECT_EQ(gemm.accumulator.unit_roundoff, 0x1p-14);
  EXPECT_EQ(gemm.accumulator.promotion_interval, 128);
  EXPECT_EQ(gemm.weight_layout, &layout_descriptor<TiledWeights>);
  EXPECT_EQ(gemm.weight_alignment, 64);
  EXPECT_EQ(gemm.policy_count, 2);
  EXPECT_EQ(gemm.policy_name(0), "tile 8");
  EXPECT_EQ(gemm.policy_name(1), "tile 16");
  EXPECT_EQ(gemm.workspace_bytes({4, 8, 32}, 0), 32);
  EXPECT_EQ(gemm.workspace_bytes({4, 8, 32}, 1), 64);
  EXPECT_TRUE(gemm.supports({4, 8, 32}));
  EXPECT_EQ(gemm.supports({5, 8, 32}).reason, "m outside the envelope");
}

TEST(Describe, HasAnEstimateOnlyWhereTheKernelHas) {
  EXPECT_EQ(gemm.estimate_seconds, nullptr);
  ASSERT_NE(grouped.estimate_seconds, nullptr);
  GroupedProblem p;
  p.slots = 12;
  DeviceInfo device;
  device.compute_units = 4;
  EXPECT_EQ(grouped.estimate_seconds(p, 0, device), 3.0);
}

TEST(Describe, IdsNameTheirOperation) {
  using detail::id_names_operation;
  static_assert(id_names_operation("cpu.gemv_avx2", Operation::gemv));
  static_assert(id_names_operation("cpu.grouped_gemm_avx2", Operation::grouped_gemm));
  EXPECT_FALSE(id_names_operation("cpu.gemv_avx2", Operation::gemm));
  EXPECT_FALSE(id_names_operation("cpu.grouped_gemv_avx2", Operation::gemv));
  EXPECT_FALSE(id_names_operation("cpu.gemv", Operation::gemv));
  EXPECT_FALSE(id_names_operation("cpu.gemv_", Operation::gemv));
  EXPECT_FALSE(id_names_operation("cpu.gemvavx2", Operation::gemv));
  EXPECT_FALSE(id_names_operation("gemv_avx2", Operation::gemv));
  EXPECT_FALSE(id_names_operation(".gemv_avx2", Operation::gemv));
  EXPECT_FALSE(id_names_operation("", Operation::gemv));
}

TEST(DescribedRun, GivesTheKernelItsTypedOperands) {
  Call call;
  recorded = {};
  int stream = 0;
  ASSERT_TRUE(gemm.run(Call::problem, call.ref(), 1, call.workspace(), Stream{&stream}));
  EXPECT_EQ(recorded.runs, 1);
  EXPECT_EQ(recorded.policy, 16);
  EXPECT_EQ(recorded.workspace.data, call.memory.data());
  EXPECT_EQ(recorded.workspace.bytes, 64);
  EXPECT_EQ(recorded.stream, &stream);
  const GemmOperands<TiledWeights>& x = RecordingGemm::operands;
  EXPECT_EQ(x.a.values, call.a_values.data());
  EXPECT_EQ(x.a.scales, call.a_scales.data());
  EXPECT_EQ(x.c.values, call.c.data());
  EXPECT_EQ(x.c.row_stride, 20);
  EXPECT_EQ(x.b.values, call.b_values.data());
  EXPECT_EQ(x.b.scales, call.b_scales.data());
  EXPECT_EQ(x.b.value_layout, Tiles(20, 64));
  EXPECT_EQ(x.b.scale_layout.blocks, RowMajor(20, 2));
}

TEST(DescribedRun, PassesTheKernelsErrorOn) {
  Call call;
  EXPECT_TRUE(fails_with(gemm.run({3, 20, 64}, call.ref(), 0, call.workspace(), Stream{}), ErrorCode::unavailable,
                         {"the device fell over"}));
}

TEST(DescribedRun, RefusesBeforeTheKernelSeesIt) {
  Call call;
  recorded = {};
  const auto run = [&](const GemmProblem& p, const GemmOperandsRef& x, int policy, Workspace workspace) {
    return gemm.run(p, x, policy, workspace, Stream{});
  };
  for (const int policy : {-1, 2}) {
    EXPECT_TRUE(fails_with(run(Call::problem, call.ref(), policy, call.workspace()), ErrorCode::invalid_argument,
                           {"toy.gemm_recording: policy " + std::to_string(policy) + " is outside [0, 2)"}));
  }
  EXPECT_TRUE(fails_with(run({5, 20, 64}, call.ref(), 0, call.workspace()), ErrorCode::unsupported,
                         {"toy.gemm_recording declines m=5 n=20 k=64: m outside the envelope"}));
  GemmOperandsRef row_major = call.ref();
  row_major.b.layout = &layout_descriptor<RowMajorWeights>;
  EXPECT_TRUE(fails_with(run(Call::problem, row_major, 0, call.workspace()), ErrorCode::invalid_layout,
                         {"toy.gemm_recording: weights must be in layout '" + gemm.weight_layout->name() + "', got '" +
                          layout_descriptor<RowMajorWeights>.name() + "'"}));
  // The need of the chosen policy: 2 * 8 and 2 * 16.
  EXPECT_TRUE(run(Call::problem, call.ref(), 0, {call.memory.data(), 16}));
  EXPECT_TRUE(fails_with(run(Call::problem, call.ref(), 1, {call.memory.data(), 31}), ErrorCode::invalid_argument,
                         {"needs a workspace of 32 bytes, got 31"}));
  GemmOperandsRef misaligned = call.ref();
  ++misaligned.b.values;
  EXPECT_TRUE(fails_with(run(Call::problem, misaligned, 0, call.workspace()), ErrorCode::invalid_argument,
                         {"weight values must be aligned to 64 bytes, got an address 1 bytes past"}));
  EXPECT_EQ(recorded.runs, 1);
}

TEST(DescribedRun, GroupedWeightsComeWithTheDistanceOfExperts) {
  GroupedProblem p;
  p.experts = 3;
  p.slots = 2;
  p.n = 20;
  p.k = 64;
  p.a_div = 2;
  p.padded_slots = 2;
  std::vector<E4M3> b_values(3 * 32 * 64);
  std::vector<E8M0> b_scales(3 * 20 * 2);
  std::array<E4M3, 64> a_values{};
  std::array<E8M0, 2> a_scales{};
  std::array<BF16, 2 * 20> c{};
  const std::array<std::int32_t, 2> ids{0, 1};
  GroupedOperandsRef x{
      {ActivationFormat::mx, a_values.data(), a_scales.data(), 64, 2},
      {grouped.weight_layout, b_values.data(), b_scales.data(), std::ssize(b_values), std::ssize(b_scales)},
      {ids.data(), ids.data(), &ids[1], nullptr},
      {c.data(), 20}};
  ASSERT_TRUE(grouped.run(p, x, 0, {}, Stream{}));
  EXPECT_EQ(RecordingGrouped::operands.expert_value_stride, 32 * 64);
  EXPECT_EQ(RecordingGrouped::operands.expert_scale_stride, 20 * 2);
  EXPECT_EQ(RecordingGrouped::operands.routing.sorted_token_ids, ids.data());
  --x.b.scale_count;
  EXPECT_TRUE(
      fails_with(grouped.run(p, x, 0, {}, Stream{}), ErrorCode::invalid_layout, {"for 3 expert(s) of [20, 64]"}));
}

TEST(KernelNames, AreThoseOfTheSource) {
  EXPECT_EQ(to_string(Operation::gemv), "gemv");
  EXPECT_EQ(to_string(Operation::gemm), "gemm");
  EXPECT_EQ(to_string(Operation::grouped_gemv), "grouped_gemv");
  EXPECT_EQ(to_string(Operation::grouped_gemm), "grouped_gemm");
  EXPECT_EQ(to_string(Determinism::none), "none");
  EXPECT_EQ(to_string(Determinism::run_to_run), "run_to_run");
  EXPECT_EQ(to_string(Determinism::thread_invariant), "thread_invariant");
  EXPECT_EQ(to_string(Determinism::batch_invariant), "batch_invariant");
}

}  // namespace
}  // namespace millet
