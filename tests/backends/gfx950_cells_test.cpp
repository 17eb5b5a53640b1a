// SPDX-License-Identifier: Apache-2.0
// The problems that the gfx950 kernels were written for, in emulation: every dense cell of the preset tp at its full
// size, and every MoE configuration of the presets seed-moe and m3 with all of its experts and tokens and 256 of its
// columns (work-groups along n do the same, and all columns would take hours). Every kernel, with the policy that its
// cost model picks, is held to the oracle's bound.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "millet/dispatch/kernel_instance.hpp"
#include "millet/problem/shape_file.hpp"
#include "millet/reference/error_bound.hpp"
#include "operand_data.hpp"

namespace millet::gfx950_emulated {

Backend backend() noexcept;

namespace {

using conformance::Data;

template <class T>
T read_table(Expected<T> (*parse)(std::string_view, std::string_view), const std::string& name) {
  std::ifstream file(std::string(MILLET_SHAPE_FOLDER) + "/" + name, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  auto table = parse(text, name);
  if (table) return *std::move(table);
  ADD_FAILURE() << table.error().message;
  return {};
}

struct DenseCell {
  DenseShape shape;
  Index m;
};
struct MoeCell {
  MoeShape shape;
  Index m;
};

std::vector<DenseCell> dense_cells() {
  std::vector<DenseCell> cells;
  for (const DenseShape& shape : shapes_of_preset(read_table(parse_dense_shapes, "dense.csv"), "tp"))
    for (const Index m : shape.m) cells.push_back({shape, m});
  return cells;
}
std::vector<MoeCell> moe_cells() {
  std::vector<MoeCell> cells;
  for (const char* preset : {"seed-moe", "m3"})
    for (const MoeShape& shape : shapes_of_preset(read_table(parse_moe_shapes, "moe.csv"), preset))
      for (const Index m : shape.m) cells.push_back({shape, m});
  return cells;
}

/// Every kernel that takes the problem, each with the policy that its cost model picks.
template <class P>
void check_kernels(const HostOperands<P>& host, const reference::Product& expected) {
  const Backend emulated = backend();
  const auto device = emulated.device_info();
  ASSERT_TRUE(device);
  const P& p = host.problem;
  int checked = 0;
  for (const KernelFor<P>& kernel : emulated.kernels<P>()) {
    if (!kernel.supports(p)) continue;
    int policy = 0;
    for (int i = 1; i < kernel.policy_count; ++i)
      if (kernel.estimate_seconds(p, i, *device) < kernel.estimate_seconds(p, policy, *device)) policy = i;
    SCOPED_TRACE(fmt::format("{} '{}'", kernel.id, kernel.policy_name(policy)));
    const auto instance = KernelInstance<P>::create(emulated, kernel, policy, host);
    ASSERT_TRUE(instance) << instance.error().message;
    const auto filled = instance->fill_output(std::byte{0xFF});
    ASSERT_TRUE(filled) << filled.error().message;
    const auto done = instance->run(Stream{});
    ASSERT_TRUE(done) << done.error().message;
    const auto got = instance->output();
    ASSERT_TRUE(got) << got.error().message;
    const auto comparison = reference::compare(*got, expected, {kernel.accumulator, p.output}, BF16{0xFFFF}.value());
    EXPECT_TRUE(comparison.correct) << comparison.verdict;
    ++checked;
  }
  EXPECT_GE(checked, 2) << "prepared and row-major weights";
}

class Dense : public testing::TestWithParam<DenseCell> {};

TEST_P(Dense, StaysWithinTheErrorBound) {
  const auto& [shape, m] = GetParam();
  conformance::Random random(static_cast<std::uint64_t>(m * 1000003 + shape.n * 1009 + shape.k));
  HostActivations a;
  a.mx = conformance::random_matrix(Data::wide_scales, m, shape.k, random);
  const MxMatrix<> b = conformance::random_matrix(Data::wide_scales, shape.n, shape.k, random);
  const auto p = make_gemm_problem(m, shape.n, shape.k, ActivationFormat::mx, OutputType::bf16);
  ASSERT_TRUE(p);
  const HostGemm host{*p, &a, &b};
  check_kernels<GemmProblem>(host, reference::eigen_gemm(host));
}

INSTANTIATE_TEST_SUITE_P(Tp, Dense, testing::ValuesIn(dense_cells()), [](const auto& tested) {
  return fmt::format("{}_tp{}_m{}", tested.param.shape.label, tested.param.shape.tp, tested.param.m);
});

class Moe : public testing::TestWithParam<MoeCell> {};

TEST_P(Moe, StaysWithinTheErrorBound) {
  constexpr Index columns = 256;
  const auto& [shape, tokens] = GetParam();
  conformance::Random random(static_cast<std::uint64_t>(tokens * 1000003 + shape.n * 1009 + shape.k));
  const auto ids = conformance::random_topk_ids(tokens, shape.top_k, shape.experts, random);
  const auto routing = build_routing(ids, shape.experts, shape.block_m);
  ASSERT_TRUE(routing);
  const auto p = make_grouped_problem({.experts = shape.experts,
                                       .slots = tokens * shape.top_k,
                                       .n = columns,
                                       .k = shape.k,
                                       .a_div = shape.a_div,
                                       .block_m = shape.block_m,
                                       .padded_slots = static_cast<Index>(routing->sorted_token_ids.size()),
                                       .weighted = shape.weighted});
  ASSERT_TRUE(p);
  HostActivations a;
  a.mx = conformance::random_matrix(Data::wide_scales, p->a_rows(), shape.k, random);
  // Expert e has rows e .. e + columns of one matrix: each another one, without the time that makes them all.
  const MxMatrix<> rows = conformance::random_matrix(Data::wide_scales, columns + shape.experts, shape.k, random);
  std::vector<MxMatrix<>> b;
  for (Index expert = 0; expert < shape.experts; ++expert) {
    b.emplace_back(RowMajor(columns, shape.k), row_major_scales(columns, shape.k));
    const auto copy = [&](const auto& from, auto& to) {
      const Index a_row = static_cast<Index>(to.size()) / columns;
      std::copy_n(from.begin() + expert * a_row, to.size(), to.begin());
    };
    copy(rows.values(), b.back().values());
    copy(rows.scales(), b.back().scales());
  }
  std::vector<float> weights;
  for (Index slot = 0; shape.weighted && slot < p->slots; ++slot)
    weights.push_back(0.1F + 0.001F * static_cast<float>(random() % 900));
  const HostGrouped host{*p, &a, &b, &*routing, &weights};
  check_kernels<GroupedProblem>(host, reference::eigen_grouped_gemm(host));
}

INSTANTIATE_TEST_SUITE_P(Configurations, Moe, testing::ValuesIn(moe_cells()), [](const auto& tested) {
  const MoeShape& shape = tested.param.shape;
  return fmt::format("{}_tp{}_ep{}_e{}_block{}{}_n{}_k{}_m{}", shape.label, shape.tp, shape.ep, shape.experts,
                     shape.block_m, shape.weighted ? "_weighted" : "", shape.n, shape.k, tested.param.m);
});

}  // namespace
}  // namespace millet::gfx950_emulated
