// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "millet/dispatch/host_operands.hpp"
#include "run/backend_session.hpp"
#include "tp/ranks.hpp"

namespace millet {

/// A layer after one or more runs over all ranks.
struct LayerOutcome {
  std::vector<float> c;                     ///< [rows, n] in f32, complete on every rank
  std::string share;                        ///< this rank's part, for people
  std::string kernel;                       ///< and what computed it; empty where there was nothing to compute
  std::vector<double> compute_seconds;      ///< of each run on this rank
  std::vector<double> communicate_seconds;  ///< likewise, waiting for the others included
};

/// C = A * B^T with the rows of B (columns of C) shared out: each rank computes its columns for all rows of A, then all
/// ranks gather C. \param a, b  complete, row-major [m, k] and [n, k]; each rank uses its part only
/// Errors, the same on every rank: those of slice_of, select and the backend.
[[nodiscard]] Expected<LayerOutcome> column_parallel(const Ranks& ranks, const BackendSession& session,
                                                     const HostActivations& a, const MxMatrix<>& b, Index m, int runs);

/// The same with k shared out in whole scale blocks: each rank computes partial sums of all of C in f32. Every element
/// is then added up by one rank, in the order of the ranks, so that all have the same bits in every run.
[[nodiscard]] Expected<LayerOutcome> row_parallel(const Ranks& ranks, const BackendSession& session,
                                                  const HostActivations& a, const MxMatrix<>& b, Index m, int runs);

/// A MoE layer with the experts and the tokens shared out: each rank sends the codes and scales of its tokens' rows to
/// the ranks of their experts, which compute and send f32 results back; C [tokens * top_k, n] is gathered by all.
/// \param a       activations of all tokens [tokens, k]; each rank reads those of its own
/// \param experts all experts' weights; each rank reads those of its own
/// \param topk_ids  expert of each slot, [tokens * top_k]
[[nodiscard]] Expected<LayerOutcome> expert_parallel(const Ranks& ranks, const BackendSession& session,
                                                     const HostActivations& a, const std::vector<MxMatrix<>>& experts,
                                                     const std::vector<std::int32_t>& topk_ids, int runs);

/// ((p0 + p1) + p2) + ...: f32 addition is not associative, so that the order of the ranks is part of the result.
/// \param partials  one [count] for each rank
[[nodiscard]] std::vector<float> sum_in_rank_order(const std::vector<std::vector<float>>& partials);

}  // namespace millet
