// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/operands.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "error/fails_with.hpp"

namespace millet {
namespace {

constexpr Index largest = std::numeric_limits<Index>::max();
constexpr Index weight_alignment = 128;
constexpr Index workspace_needed = 1024;
const LayoutDescriptor& row_major = layout_descriptor<RowMajorWeights>;
const LayoutDescriptor& tiled = layout_descriptor<WeightLayout<FragmentOrder<RowDigit<16>>, RowMajorScales>>;

/// An address that nothing may follow: operands stand 2^40 bytes apart from each other.
template <class T = void>
T* address(std::uintptr_t operand, std::uintptr_t offset = 0) {
  return reinterpret_cast<T*>((operand << 40) + offset);
}
// The operands, by their place in the address space.
enum : std::uintptr_t { a_values = 1, a_scales, b_values, b_scales, c, scratch, token_ids, expert_ids, count, weights };

/// Of the problem [3, 40] = [3, 96] * [40, 96]^T, everything as small as allowed.
struct DenseCall {
  GemmProblem problem{3, 40, 96};
  GemmOperandsRef x{{ActivationFormat::mx, address(a_values), address<E8M0>(a_scales), 96, 3},
                    {&row_major, address<E4M3>(b_values), address<E8M0>(b_scales), 40 * 96, 40 * 3},
                    {address(c), 40}};
  Workspace workspace{address(scratch), workspace_needed};

  [[nodiscard]] Expected<void> check() const {
    return check_operands("toy.gemm_fake", problem, x, row_major, weight_alignment, workspace, workspace_needed);
  }
};

/// What check_operands says after `change` of a call that it accepts.
template <class Call, class Change>
Expected<void> after(Change change) {
  Call call;
  EXPECT_TRUE(call.check());
  change(call);
  return call.check();
}

template <class Change>
Expected<void> dense_after(Change change) {
  return after<DenseCall>(change);
}

constexpr ErrorCode argument = ErrorCode::invalid_argument;
constexpr ErrorCode layout = ErrorCode::invalid_layout;

TEST(DenseOperands, NullPointersAreNamed) {
  const auto null_is = [](std::string_view name, auto change) {
    return fails_with(dense_after(change), argument, {"toy.gemm_fake: the ", name, " is null"});
  };
  EXPECT_TRUE(null_is("pointer to the activation values", [](DenseCall& call) { call.x.a.values = nullptr; }));
  EXPECT_TRUE(null_is("pointer to the activation scales", [](DenseCall& call) { call.x.a.scales = nullptr; }));
  EXPECT_TRUE(null_is("pointer to the weight values", [](DenseCall& call) { call.x.b.values = nullptr; }));
  EXPECT_TRUE(null_is("pointer to the weight scales", [](DenseCall& call) { call.x.b.scales = nullptr; }));
  EXPECT_TRUE(null_is("output pointer", [](DenseCall& call) { call.x.c.values = nullptr; }));
}

TEST(DenseOperands, FormatsMustAgree) {
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.x.a.format = ActivationFormat::bf16; }), argument,
                         {"activations are bf16, the problem says mx"}));
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.problem.activation = ActivationFormat::f32; }),
                         argument, {"activations are mx, the problem says f32"}));
}

TEST(DenseOperands, ScalesBelongToMxActivationsOnly) {
  for (const ActivationFormat format : {ActivationFormat::bf16, ActivationFormat::f32}) {
    DenseCall call;
    call.problem.activation = call.x.a.format = format;
    call.x.a.scales = nullptr;
    call.x.a.scale_stride = 0;
    EXPECT_TRUE(call.check()) << to_string(format);
    call.x.a.scales = address<E8M0>(c);  // not an operand, so it overlaps nothing
    EXPECT_TRUE(call.check()) << to_string(format);
  }
}

TEST(DenseOperands, LayoutsMustBeTheKernels) {
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.x.b.layout = &tiled; }), layout,
                         {"must be in layout '" + row_major.name() + "', got '" + tiled.name() + "'", "relayout"}));
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.x.b.layout = nullptr; }), layout, {"got 'none'"}));
}

TEST(DenseOperands, StridesHoldARow) {
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.x.a.value_stride = 95; }), layout,
                         {"at least 96 (values) and 3 (scales), got 95 and 3"}));
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.x.a.scale_stride = 2; }), layout,
                         {"at least 96 (values) and 3 (scales), got 96 and 2"}));
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.x.c.row_stride = 39; }), layout,
                         {"row stride must be at least 40 (its columns), got 39"}));
  for (const Index negative : {Index{-96}, std::numeric_limits<Index>::min()}) {
    EXPECT_TRUE(fails_with(dense_after([&](DenseCall& call) { call.x.a.value_stride = negative; }), layout,
                           {"got " + std::to_string(negative)}));
    EXPECT_TRUE(fails_with(dense_after([&](DenseCall& call) { call.x.c.row_stride = negative; }), layout,
                           {"got " + std::to_string(negative)}));
  }
}

TEST(DenseOperands, WeightBuffersHoldTheLayout) {
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { --call.x.b.value_count; }), layout,
                         {"hold 3839 values and 120 scales", "needs 3840 and 120 for 1 expert(s) of [40, 96]"}));
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { --call.x.b.scale_count; }), layout,
                         {"hold 3840 values and 119 scales", "needs 3840 and 120"}));
  // Padding counts: 40 rows are three tiles of 16.
  DenseCall call;
  call.x.b.layout = &tiled;
  const auto check = [&] {
    return check_operands("toy", call.problem, call.x, tiled, weight_alignment, call.workspace, workspace_needed);
  };
  EXPECT_TRUE(fails_with(check(), layout, {"needs 4608 and 120"}));
  call.x.b.value_count = 4608;
  EXPECT_TRUE(check());
}

TEST(DenseOperands, AlignmentIsThatOfTheElementAndTheKernel) {
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.x.b.values += 64; }), argument,
                         {"the weight values must be aligned to 128 bytes, got an address 64 bytes past that"}));
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.x.c.values = address(c, 1); }), argument,
                         {"the output must be aligned to 2 bytes, got an address 1 bytes past"}));
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) {
                           call.problem.output = OutputType::f32;
                           call.x.c.values = address(c, 2);
                         }),
                         argument, {"the output must be aligned to 4 bytes, got an address 2 bytes past"}));
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.workspace.data = address(scratch, 8); }), argument,
                         {"the workspace must be aligned to 16 bytes, got an address 8 bytes past"}));
  for (const auto& [format, bytes] : {std::pair{ActivationFormat::bf16, 2}, std::pair{ActivationFormat::f32, 4}}) {
    EXPECT_TRUE(fails_with(dense_after([&](DenseCall& call) {
                             call.problem.activation = call.x.a.format = format;
                             call.x.a.values = address(a_values, 1);
                           }),
                           argument, {fmt::format("the activation values must be aligned to {} bytes", bytes)}));
  }
  // Bytes may stand anywhere.
  EXPECT_TRUE(dense_after([](DenseCall& call) {
    call.x.a.values = address(a_values, 1);
    call.x.a.scales = address<E8M0>(a_scales, 1);
    call.x.b.scales = address<E8M0>(b_scales, 1);
  }));
}

TEST(DenseOperands, TheWorkspaceIsLargeEnough) {
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { --call.workspace.bytes; }), argument,
                         {"needs a workspace of 1024 bytes, got 1023"}));
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.workspace.data = nullptr; }), argument,
                         {"needs a workspace of 1024 bytes, got 0"}));
  const DenseCall call;
  EXPECT_TRUE(check_operands("toy", call.problem, call.x, row_major, weight_alignment, {}, 0));
}

/// Bytes of C with dense rows, and of each operand of DenseCall.
constexpr Index c_bytes = 3 * 40 * 2;

TEST(DenseOperands, TheOutputOverlapsNothing) {
  struct Operand {
    std::string_view name;
    std::uintptr_t place;
    Index bytes;
  };
  for (const auto& [name, place, bytes] :
       {Operand{"activation values", a_values, 3 * 96}, Operand{"activation scales", a_scales, 3 * 3},
        Operand{"weight values", b_values, 40 * 96}, Operand{"weight scales", b_scales, 40 * 3}}) {
    const auto with_output_at = [place = place](Index offset) {
      DenseCall call;
      call.x.c.values = address(place, static_cast<std::uintptr_t>(offset));
      return call.check();
    };
    const Index even_end = (bytes + 1) / 2 * 2;
    EXPECT_TRUE(fails_with(with_output_at(0), argument, {"the output overlaps the ", name, "use separate buffers"}));
    EXPECT_TRUE(fails_with(with_output_at(even_end - 2), argument, {name}));
    EXPECT_TRUE(fails_with(with_output_at(2 - c_bytes), argument, {name}));
    EXPECT_TRUE(with_output_at(even_end)) << name;
    EXPECT_TRUE(with_output_at(-c_bytes)) << name;
  }
}

TEST(DenseOperands, TheWorkspaceOverlapsNothing) {
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.workspace.data = address(b_values, 3840 - 16); }),
                         argument, {"the workspace overlaps the weight values"}));
  EXPECT_TRUE(dense_after([](DenseCall& call) { call.workspace.data = address(b_values, 3840); }));
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.x.c.values = address(scratch, workspace_needed - 2); }),
                         argument, {"the output overlaps the workspace"}));
  EXPECT_TRUE(dense_after([](DenseCall& call) { call.x.c.values = address(scratch, workspace_needed); }));
  // Only what the kernel uses counts; the rest of the caller's workspace is nobody's business.
  EXPECT_TRUE(dense_after([](DenseCall& call) {
    call.workspace.bytes = largest;
    call.x.c.values = address(scratch, workspace_needed);
  }));
}

TEST(DenseOperands, StridedOperandsReachToTheEndOfTheirLastRow) {
  // C of 3 rows 1000 elements apart covers 2 * 1000 + 40 elements of 2 bytes.
  const auto with_strided_output_before = [](std::uintptr_t distance) {
    DenseCall call;
    call.x.c = {address(a_values, 0 - distance), 1000};
    return call.check();
  };
  EXPECT_TRUE(with_strided_output_before(4080));
  EXPECT_TRUE(fails_with(with_strided_output_before(4078), argument, {"overlaps the activation values"}));
  // A of 3 rows 500 apart covers 2 * 500 + 96 bytes, its scales 2 * 10 + 3.
  const auto with_output_after_strided_a = [](std::uintptr_t operand, std::uintptr_t distance) {
    DenseCall call;
    call.x.a.value_stride = 500;
    call.x.a.scale_stride = 10;
    call.x.c.values = address(operand, distance);
    return call.check();
  };
  EXPECT_TRUE(with_output_after_strided_a(a_values, 1096));
  EXPECT_TRUE(fails_with(with_output_after_strided_a(a_values, 1094), argument, {"overlaps the activation values"}));
  EXPECT_TRUE(with_output_after_strided_a(a_scales, 24));
  EXPECT_TRUE(fails_with(with_output_after_strided_a(a_scales, 22), argument, {"overlaps the activation scales"}));
}

TEST(DenseOperands, SizesOf64BitsDoNotWrap) {
  // 2^61 weights: their end, and C's, would wrap in 32 bits and in signed bytes of f32.
  constexpr Index n = Index{1} << 29;
  constexpr Index k = Index{1} << 31;
  GemmOperandsRef x{{ActivationFormat::mx, address(1), address<E8M0>(2), k, k / 32},
                    {&row_major, reinterpret_cast<E4M3*>(Index{1} << 62), address<E8M0>(3), n * k, n * k / 32},
                    {reinterpret_cast<void*>((Index{1} << 62) + n * k - 128), n}};
  const auto check = [&] { return check_operands("toy", GemmProblem{1, n, k}, x, row_major, 128, {}, 0); };
  EXPECT_TRUE(fails_with(check(), argument, {"the output overlaps the weight values"}));
  x.c.values = reinterpret_cast<void*>((Index{1} << 62) + n * k);
  EXPECT_TRUE(check());
  --x.b.value_count;
  EXPECT_TRUE(fails_with(check(), layout, {"needs 1152921504606846976 and 36028797018963968"}));
}

TEST(DenseOperands, StridesBeyondTheAddressSpaceAreRefused) {
  for (const Index stride : {largest, largest / 2, (Index{1} << 61) + 1}) {
    EXPECT_TRUE(fails_with(dense_after([&](DenseCall& call) { call.x.c.row_stride = stride; }), layout,
                           {"the output would pass 2^62 bytes"}));
  }
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.x.a.value_stride = largest; }), layout,
                         {"the activation values would pass 2^62 bytes"}));
  EXPECT_TRUE(fails_with(dense_after([](DenseCall& call) { call.x.a.scale_stride = largest; }), layout,
                         {"the activation scales would pass 2^62 bytes"}));
  // A stride that no second row uses is only a number.
  EXPECT_TRUE(dense_after([](DenseCall& call) {
    call.problem.m = 1;
    call.x.c.row_stride = call.x.a.value_stride = call.x.a.scale_stride = largest;
  }));
}

/// 6 slots in blocks of 2 over 3 experts of [40, 96]; two slots share a row of A.
struct GroupedCall {
  GroupedProblem problem;
  GroupedOperandsRef x{{ActivationFormat::mx, address(a_values), address<E8M0>(a_scales), 96, 3},
                       {&row_major, address<E4M3>(b_values), address<E8M0>(b_scales), 3 * 40 * 96, 3 * 40 * 3},
                       {address<std::int32_t>(token_ids), address<std::int32_t>(expert_ids),
                        address<std::int32_t>(count), address<float>(weights)},
                       {address(c), 40}};

  GroupedCall() {
    problem.experts = 3;
    problem.slots = 6;
    problem.n = 40;
    problem.k = 96;
    problem.a_div = 2;
    problem.block_m = 2;
    problem.padded_slots = 10;
    problem.weighted = true;
  }
  [[nodiscard]] Expected<void> check() const {
    return check_operands("toy.grouped_gemm_fake", problem, x, row_major, weight_alignment, {}, 0);
  }
};

template <class Change>
Expected<void> grouped_after(Change change) {
  return after<GroupedCall>(change);
}

TEST(GroupedOperands, RoutingPointersAreGiven) {
  constexpr std::string_view null_routing = "toy.grouped_gemm_fake: a routing pointer is null";
  using Call = GroupedCall;
  EXPECT_TRUE(fails_with(grouped_after([](Call& call) { call.x.routing.sorted_token_ids = nullptr; }), argument,
                         {null_routing}));
  EXPECT_TRUE(
      fails_with(grouped_after([](Call& call) { call.x.routing.expert_ids = nullptr; }), argument, {null_routing}));
  EXPECT_TRUE(fails_with(grouped_after([](Call& call) { call.x.routing.num_tokens_post_padded = nullptr; }), argument,
                         {null_routing}));
}

TEST(GroupedOperands, SlotWeightsAreGivenExactlyWhereTheProblemIsWeighted) {
  EXPECT_TRUE(fails_with(grouped_after([](GroupedCall& call) { call.x.routing.slot_weights = nullptr; }), argument,
                         {"slot weights are null but the problem is weighted"}));
  EXPECT_TRUE(fails_with(grouped_after([](GroupedCall& call) { call.problem.weighted = false; }), argument,
                         {"slot weights are given but the problem is not weighted"}));
}

TEST(GroupedOperands, WeightsAreThoseOfAllExperts) {
  EXPECT_TRUE(fails_with(grouped_after([](GroupedCall& call) { --call.x.b.value_count; }), layout,
                         {"hold 11519 values and 360 scales", "needs 11520 and 360 for 3 expert(s) of [40, 96]"}));
  EXPECT_TRUE(fails_with(grouped_after([](GroupedCall& call) { --call.x.b.scale_count; }), layout,
                         {"hold 11520 values and 359 scales"}));
  // So many experts that the product passes 64 bits is still a buffer that is too short.
  EXPECT_TRUE(fails_with(grouped_after([](GroupedCall& call) { call.problem.experts = Index{1} << 60; }), layout,
                         {"needs 9223372036854775807 and 9223372036854775807"}));
}

TEST(GroupedOperands, ChecksWhatTheDenseCallHas) {
  using Call = GroupedCall;
  EXPECT_TRUE(fails_with(grouped_after([](Call& call) { call.x.a.values = nullptr; }), argument,
                         {"the pointer to the activation values is null"}));
  EXPECT_TRUE(fails_with(grouped_after([](Call& call) { call.x.b.layout = &tiled; }), layout, {"must be in layout"}));
  EXPECT_TRUE(fails_with(grouped_after([](Call& call) { call.x.a.value_stride = 95; }), layout, {"got 95"}));
  EXPECT_TRUE(fails_with(grouped_after([](Call& call) { call.x.c.row_stride = 39; }), layout,
                         {"at least 40 (its columns), got 39"}));
  EXPECT_TRUE(fails_with(grouped_after([](Call& call) { ++call.x.b.values; }), argument, {"aligned to 128 bytes"}));
}

TEST(GroupedOperands, TheOutputHasARowForEachSlotAndAForEachDivision) {
  // C: 6 rows of 40 bf16, 480 bytes. A: 3 rows of 96 bytes.
  EXPECT_TRUE(fails_with(grouped_after([](GroupedCall& call) { call.x.c.values = address(a_values, 286); }), argument,
                         {"the output overlaps the activation values"}));
  EXPECT_TRUE(grouped_after([](GroupedCall& call) { call.x.c.values = address(a_values, 288); }));
  EXPECT_TRUE(grouped_after([](GroupedCall& call) { call.x.c.values = address(a_values, 0ULL - 480); }));
  EXPECT_TRUE(fails_with(grouped_after([](GroupedCall& call) { call.x.c.values = address(a_values, 0ULL - 478); }),
                         argument, {"the output overlaps the activation values"}));
}

TEST(GroupedOperands, TheOutputOverlapsNoRouting) {
  struct Operand {
    std::string_view name;
    std::uintptr_t place;
    std::uintptr_t bytes;
  };
  for (const auto& [name, place, bytes] :
       {Operand{"sorted token ids", token_ids, 10 * 4}, Operand{"expert ids", expert_ids, 5 * 4},
        Operand{"number of padded tokens", count, 4}, Operand{"slot weights", weights, 6 * 4}}) {
    const auto with_output_at = [place = place](std::uintptr_t offset) {
      GroupedCall call;
      call.x.c.values = address(place, offset);
      return call.check();
    };
    EXPECT_TRUE(fails_with(with_output_at(bytes - 2), argument, {"the output overlaps the ", name}));
    EXPECT_TRUE(with_output_at(bytes)) << name;
  }
}

TEST(GroupedOperands, RoutingIsAligned) {
  const auto misaligned = [](std::string_view name, auto change) {
    return fails_with(grouped_after(change), argument, {name, " must be aligned to 4 bytes, got an address 2 bytes"});
  };
  using Call = GroupedCall;
  EXPECT_TRUE(misaligned("sorted token ids",
                         [](Call& call) { call.x.routing.sorted_token_ids = address<std::int32_t>(token_ids, 2); }));
  EXPECT_TRUE(
      misaligned("expert ids", [](Call& call) { call.x.routing.expert_ids = address<std::int32_t>(expert_ids, 2); }));
  EXPECT_TRUE(misaligned("number of padded tokens",
                         [](Call& call) { call.x.routing.num_tokens_post_padded = address<std::int32_t>(count, 2); }));
  EXPECT_TRUE(misaligned("slot weights", [](Call& call) { call.x.routing.slot_weights = address<float>(weights, 2); }));
}

}  // namespace
}  // namespace millet
