// SPDX-License-Identifier: Apache-2.0
#include "operands/workload.hpp"

#include <algorithm>
#include <set>

#include "operands/generate.hpp"

namespace millet {

Expected<DenseWorkload> DenseWorkload::make(const DenseShape& shape, const WeightSource& source, Index largest_m,
                                            const OperandOptions& options) {
  DenseWorkload workload;
  workload.largest_m_ = largest_m;
  if (source) {
    auto weights = source.load(options.scale_mode);
    if (!weights) return fail(std::move(weights));
    workload.b_ = std::move(weights->matrix);
    workload.tags_ = std::move(weights->tags);
  } else {
    workload.b_ = random_weights(shape.n, shape.k, options.scale_mode, options.seed);
  }
  auto a =
      make_activations(options.activation, random_activations(largest_m, shape.k, options.seed), largest_m, shape.k);
  if (!a) return fail(std::move(a));
  workload.a_ = *std::move(a);
  return workload;
}

reference::Product DenseWorkload::expected(Index m) {
  if (oracle_.rows == 0) {
    GemmProblem largest;
    largest.m = largest_m_;
    largest.n = b_.rows();
    largest.k = b_.cols();
    oracle_ = reference::eigen_gemm(operands(largest));
  }
  reference::Product rows;
  rows.rows = m;
  rows.n = oracle_.n;
  rows.k = oracle_.k;
  rows.y.assign(oracle_.y.begin(), oracle_.y.begin() + m * oracle_.n);
  rows.magnitude.assign(oracle_.magnitude.begin(), oracle_.magnitude.begin() + m * oracle_.n);
  rows.written.assign(static_cast<std::size_t>(m), true);
  return rows;
}

Expected<RoutedTokens> route_tokens(const MoeShape& shape, Index tokens, const OperandOptions& options) {
  std::vector<std::int32_t> ids = random_top_k(tokens, shape.top_k, shape.experts, options.seed);
  const std::set<std::int32_t> used(ids.begin(), ids.end());
  RoutedTokens routed;
  routed.used = static_cast<Index>(used.size());
  const bool all = options.resident_experts == ResidentExperts::all || routed.used + 2 >= shape.experts;
  if (all) {
    for (std::int32_t expert = 0; expert < shape.experts; ++expert) {
      routed.resident.push_back(used.contains(expert) ? expert : -1);
    }
  } else {
    routed.resident.push_back(-1);
    routed.resident.insert(routed.resident.end(), used.begin(), used.end());
    routed.resident.push_back(-1);
    for (std::int32_t& id : ids) {
      id = static_cast<std::int32_t>(std::distance(used.begin(), used.find(id))) + 1;
    }
  }
  auto routing = build_routing(ids, static_cast<Index>(routed.resident.size()), shape.block_m);
  if (!routing) return fail(std::move(routing));
  routed.routing = *std::move(routing);

  GroupedProblem fields;
  fields.experts = shape.experts;
  fields.slots = static_cast<Index>(ids.size());
  fields.n = shape.n;
  fields.k = shape.k;
  fields.a_div = shape.a_div;
  fields.block_m = shape.block_m;
  fields.padded_slots = routed.routing.num_tokens_post_padded;
  fields.weighted = shape.weighted;
  fields.activation = options.activation;
  fields.output = options.output;
  const NamedEpilogue named = parse_named_epilogue(shape.epilogue).value_or(NamedEpilogue{});
  fields.epilogue = named.epilogue;
  fields.swiglu = named.swiglu;
  fields.top_k = shape.top_k;
  auto logical = make_grouped_problem(fields);
  if (!logical) return fail(std::move(logical));
  routed.logical = *logical;
  routed.problem = *logical;
  routed.problem.experts = static_cast<Index>(routed.resident.size());
  if (shape.weighted) routed.slot_weights = random_slot_weights(tokens, shape.top_k, options.seed);
  return routed;
}

Expected<GroupedWorkload> GroupedWorkload::make(const RoutedTokens& batch, const std::vector<MxMatrix<>>& pool,
                                                const OperandOptions& options) {
  const GroupedProblem& p = batch.problem;
  GroupedWorkload workload;
  workload.experts_.reserve(batch.resident.size());
  for (const Index expert : batch.resident) {
    workload.experts_.push_back(expert < 0 ? forbidden_expert(p.n, p.k) : expert_from_pool(pool, expert));
  }
  const Index rows = p.a_rows();
  auto a = make_activations(options.activation, random_activations(rows, p.k, options.seed), rows, p.k);
  if (!a) return fail(std::move(a));
  workload.a_ = *std::move(a);
  return workload;
}

}  // namespace millet
