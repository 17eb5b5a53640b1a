// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/tiles/kernel_arguments.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet::hopper {

/// Any number of rows of every expert in one launch: an expert's weights come from memory once, and from L2 again for
/// every 16 tokens more.
template <class Layout>
struct GroupedGemmMmaBlockScale {
  static constexpr std::string_view id =
      is_row_major<Layout> ? "hopper.grouped_gemm_mma_block_scale_row_major" : "hopper.grouped_gemm_mma_block_scale";
  static constexpr Operation operation = Operation::grouped_gemm;
  static constexpr Determinism determinism = Determinism::run_to_run;
  static constexpr Accumulator accumulator = mma_accumulator;
  static constexpr Index weight_alignment = 16;
  using Problem = GroupedProblem;
  using Weights = Layout;
  using Policy = WorkSplit;
  static constexpr Policy policies[] = {{2, 4, 1}, {4, 2, 1}, {1, 8, 1}, {2, 2, 1}, {1, 4, 1}, {4, 1, 1}, {2, 3, 1}};
  static constexpr Envelope envelope{};

  static std::string name(const Policy& policy) { return split_name(policy); }
  static constexpr Verdict supports(const Problem& p) noexcept {
    if (p.blocks() > largest_grid / tiles_to_cover(p.n, strip_rows))
      return {"n times the routing blocks outside the envelope"};
    if (p.slots > largest_grid) return {"slots outside the envelope"};
    return envelope.contains(p);
  }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }

  static Expected<void> run(const Problem& p, const GroupedOperands<Layout>& x, const Policy& policy, Workspace,
                            Stream stream) {
    const GroupedArguments arguments{weights_arguments(x.b, x.expert_value_stride, x.expert_scale_stride),
                                     tokens_arguments(x.a),
                                     {x.c.values, x.c.row_stride, p.output == OutputType::bf16},
                                     routing_arguments(p, x.routing),
                                     policy,
                                     round_groups_for(grouped_tokens, p.k, policy)};
    return checked(id, launch_grouped_gemm(arguments, static_cast<cudaStream_t>(stream.handle)));
  }
};

}  // namespace millet::hopper
