// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/tiles/kernel_arguments.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::hopper {

/// 1 to 64 rows of MX tokens in one launch; the weights are read once for all of them. Values become f16 with their
/// block scales folded in, exactly; where a row's scales are too far apart for that, its blocks' sums are scaled.
struct GemmWgmmaF16 {
  static constexpr std::string_view id = "hopper.gemm_wgmma_f16";
  static constexpr Operation operation = Operation::gemm;
  static constexpr Determinism determinism = Determinism::run_to_run;
  static constexpr Accumulator accumulator = wgmma_f16_accumulator;
  static constexpr Index weight_alignment = 16;
  using Problem = GemmProblem;
  using Weights = StripWeights;
  using Policy = WorkSplit;
  static constexpr Policy policies[] = {
      {4, 1, 1},       {4, 1, 2},        {4, 1, 3},        {4, 1, 4},        {4, 1, 8},       {8, 1, 1},
      {8, 1, 2},       {8, 1, 3},        {8, 1, 4},        {8, 1, 5},        {8, 1, 6},       {8, 1, 7},
      {8, 1, 8},       {12, 1, 2},       {12, 1, 3},       {12, 1, 7},       {12, 1, 8},      {4, 2, 2},
      {4, 2, 4},       {4, 2, 8},        {4, 3, 1},        {4, 3, 2},        {4, 1, 2, true}, {4, 1, 3, true},
      {4, 1, 4, true}, {4, 1, 8, true},  {8, 1, 2, true},  {8, 1, 3, true},  {8, 1, 4, true}, {8, 1, 5, true},
      {8, 1, 8, true}, {12, 1, 3, true}, {12, 1, 7, true}, {12, 1, 8, true}, {4, 2, 2, true}, {4, 2, 4, true},
      {4, 2, 8, true}, {4, 3, 2, true}};
  static_assert(!policies[0].early_weights);
  static constexpr Envelope envelope{.m_max = 64};

  static std::string name(const Policy& policy) { return split_name(policy); }
  static constexpr Verdict supports(const Problem& p) noexcept {
    if (tiles_to_cover(p.n, strip_rows) * 8 > largest_grid) return {"n outside the envelope"};
    return envelope.contains(p);
  }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }

  static Expected<void> run(const Problem& p, const GemmOperands<StripWeights>& x, const Policy& policy, Workspace,
                            Stream stream) {
    const GemmArguments arguments{weights_arguments(x.b, 0, 0),
                                  tokens_arguments(x.a),
                                  {x.c.values, x.c.row_stride, p.output == OutputType::bf16},
                                  p.m,
                                  policy,
                                  /*round_groups=*/0};
    return checked(id, launch_gemm_wgmma_f16(arguments, static_cast<cudaStream_t>(stream.handle)));
  }
};

}  // namespace millet::hopper
