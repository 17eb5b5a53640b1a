// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "cases/shape_cases.hpp"
#include "millet/dispatch/host_operands.hpp"
#include "millet/reference/eigen_gemm.hpp"

namespace millet {

/// Which experts of a MoE layer have their weights in memory.
///
/// A kernel never reads the weights of an expert that no token goes to, so its time does not depend on them; but
/// preparing them would take most of a short run.
enum class ResidentExperts {
  used,  ///< those that the routing names, renumbered, between two that hold NaN
  all,   ///< all; those that the routing does not name hold NaN
};

/// Types and seed of all operands of a run.
struct OperandOptions {
  ActivationFormat activation = ActivationFormat::mx;
  OutputType output = OutputType::bf16;
  ScaleMode scale_mode = ScaleMode::rceil;  ///< of the weights; activations are always RCEIL, as kernels quantize them
  std::uint64_t seed = 1;
  ResidentExperts resident_experts = ResidentExperts::used;
};

/// The operands of one weight matrix for every m up to the largest, and what the oracle says about them. A smaller m
/// uses the first rows: rows of a product are independent.
class DenseWorkload {
 public:
  /// Errors: those of the source and of make_activations.
  [[nodiscard]] static Expected<DenseWorkload> make(const DenseShape& shape, const WeightSource& source,
                                                    Index largest_m, const OperandOptions& options);

  /// Points into this object.
  [[nodiscard]] HostGemm operands(const GemmProblem& problem) const noexcept { return {problem, &a_, &b_}; }
  [[nodiscard]] const MxMatrix<>& weights() const noexcept { return b_; }
  /// What the source tells about the weights.
  [[nodiscard]] const std::map<std::string, std::string>& tags() const noexcept { return tags_; }

  /// The oracle's answer for the first m rows. Computed at the first call, for the largest m.
  [[nodiscard]] reference::Product expected(Index m);

 private:
  HostActivations a_;
  MxMatrix<> b_;
  std::map<std::string, std::string> tags_;
  Index largest_m_ = 0;
  reference::Product oracle_;
};

/// The routing of some tokens through a MoE layer: all that the problem says, without the weights.
struct RoutedTokens {
  GroupedProblem logical;  ///< the layer as it is, with all experts: what records and tuned tables are about
  GroupedProblem problem;  ///< what is computed: the resident experts only
  Routing routing;         ///< over resident experts
  std::vector<float> slot_weights;
  std::vector<Index> resident;  ///< the expert that stands at each place, or -1 for one that holds NaN
  Index used = 0;               ///< experts that the routing names
};

/// Errors: those of build_routing and make_grouped_problem.
[[nodiscard]] Expected<RoutedTokens> route_tokens(const MoeShape& shape, Index tokens, const OperandOptions& options);

/// The experts, activations and oracle of one batch of routed tokens.
class GroupedWorkload {
 public:
  /// \param pool  of random_expert_pool, for this shape
  [[nodiscard]] static Expected<GroupedWorkload> make(const RoutedTokens& batch, const std::vector<MxMatrix<>>& pool,
                                                      const OperandOptions& options);

  /// Points into this object and into `batch`, which may differ from that of make() in its output type.
  [[nodiscard]] HostGrouped operands(const RoutedTokens& batch) const noexcept {
    return {batch.problem, &a_, &experts_, &batch.routing, &batch.slot_weights};
  }

 private:
  HostActivations a_;
  std::vector<MxMatrix<>> experts_;
};

}  // namespace millet
