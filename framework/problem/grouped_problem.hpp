// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "millet/error/expected.hpp"
#include "millet/problem/epilogue.hpp"
#include "millet/problem/gemm_problem.hpp"

namespace millet {

/// A grouped (mixture-of-experts) product: every slot is one row of C and goes through one expert's weights.
///
///   C[slot, n] = slot_weight[slot] * sum_k A[slot / a_div, k] * B[expert(slot), n, k]
///
/// A slot is a (token, choice) pair, slot = token * top_k + choice. a_div = top_k reads one activation row for all
/// choices of a token (the up projection); a_div = 1 reads a row for each slot (the down projection).
/// Rows of C whose slot no routing entry names are left as they are.
///
/// An epilogue takes these rows on, in f32 (decision 0013):
///   swiglu    C [slots, n / 2]: column j from the sums of weight rows 2j (gate) and 2j + 1 (up), see
///   interleave_gate_up.
///             Slot weights multiply the result, not the sums.
///   topk_sum  C [slots / top_k, n]: the sum over the top_k slots of a token, in ascending order. Every row is written;
///             a slot that no routing entry names adds nothing, as on a rank that does not have its expert.
struct GroupedProblem {
  Index experts = 0;       ///< B is [experts, n, k]
  Index slots = 0;         ///< (token, choice) pairs
  Index n = 0;             ///< rows of an expert's weights
  Index k = 0;             ///< reduction extent, a multiple of 32
  Index a_div = 1;         ///< slots that share one row of A
  Index block_m = 1;       ///< routing entries per block; a block belongs to one expert
  Index padded_slots = 0;  ///< length of sorted_token_ids, a multiple of block_m
  bool weighted = false;   ///< whether slot weights (f32 [slots]) multiply the result
  ActivationFormat activation = ActivationFormat::mx;
  OutputType output = OutputType::bf16;
  Epilogue epilogue = Epilogue::none;
  Swiglu swiglu{};  ///< of Epilogue::swiglu
  Index top_k = 1;  ///< slots of a token, for Epilogue::topk_sum

  friend constexpr bool operator==(const GroupedProblem&, const GroupedProblem&) = default;

  /// Rows of A.
  [[nodiscard]] MILLET_HD constexpr Index a_rows() const noexcept { return tiles_to_cover(slots, a_div); }
  /// Rows and columns of C.
  [[nodiscard]] MILLET_HD constexpr Index c_rows() const noexcept {
    return epilogue == Epilogue::topk_sum ? slots / top_k : slots;
  }
  [[nodiscard]] MILLET_HD constexpr Index c_cols() const noexcept { return epilogue == Epilogue::swiglu ? n / 2 : n; }
  /// Number of routing blocks, the length of expert_ids.
  [[nodiscard]] MILLET_HD constexpr Index blocks() const noexcept { return padded_slots / block_m; }

  /// 2 slots n k, if every slot is routed.
  [[nodiscard]] constexpr double flops() const noexcept {
    return 2.0 * static_cast<double>(slots) * static_cast<double>(n) * static_cast<double>(k);
  }
  /// Bytes of one expert's weights with scales.
  [[nodiscard]] constexpr double expert_bytes() const noexcept {
    return static_cast<double>(n) * static_cast<double>(k) * 33.0 / 32.0;
  }
  /// Compulsory traffic when the routing touches `touched_experts` experts: each of their weights once, A, C once.
  [[nodiscard]] constexpr double bytes(Index touched_experts) const noexcept {
    return static_cast<double>(touched_experts) * expert_bytes() + activation_bytes(activation, a_rows(), k) +
           static_cast<double>(c_rows()) * static_cast<double>(c_cols()) *
               static_cast<double>(bytes_per_element(output));
  }
};

/// For example "e=128 slots=16 n=1536 k=6144 a_div=4".
[[nodiscard]] std::string to_string(const GroupedProblem& problem);

/// Errors: invalid_problem when an extent is < 1, k is not a multiple of 32, padded_slots is not a multiple of block_m,
/// an id would not fit 32 bits, or an operand would pass 2^62 bytes; with an epilogue also when n is odd or alpha,
/// limit or up_offset is no number that swiglu can use, or slots is not a multiple of top_k.
[[nodiscard]] Expected<GroupedProblem> make_grouped_problem(GroupedProblem fields);

/// Routing in some memory space: which slots each block of `block_m` entries computes, and with which expert.
///
/// Entries of sorted_token_ids outside [0, slots) are skipped (the builder pads with `slots`), and so are blocks whose
/// expert id is outside [0, experts) and blocks at or beyond num_tokens_post_padded: kernels never index with such an
/// id.
struct RoutingView {
  const std::int32_t* sorted_token_ids = nullptr;        ///< slot ids [padded_slots], blocks of one expert adjacent
  const std::int32_t* expert_ids = nullptr;              ///< [padded_slots / block_m]
  const std::int32_t* num_tokens_post_padded = nullptr;  ///< [1], entries in use, a multiple of block_m
  const float* slot_weights = nullptr;                   ///< [slots] if the problem is weighted
};

/// Routing in host memory.
struct Routing {
  std::vector<std::int32_t> sorted_token_ids;
  std::vector<std::int32_t> expert_ids;
  std::int32_t num_tokens_post_padded = 0;

  [[nodiscard]] RoutingView view(const float* slot_weights = nullptr) const noexcept {
    return {sorted_token_ids.data(), expert_ids.data(), &num_tokens_post_padded, slot_weights};
  }
};

/// Sorts slots by expert and pads each expert's list to whole blocks with the sentinel `topk_ids.size()`.
///
/// Experts come in ascending order and slots of an expert in ascending order, so the result is deterministic. Experts
/// without slots get no block.
/// \param topk_ids  expert of each slot, [tokens * top_k]
/// Errors: invalid_routing, naming the slot, for an id outside [0, experts); invalid_problem for extents < 1 or more
/// slots than 32-bit ids can name.
[[nodiscard]] Expected<Routing> build_routing(std::span<const std::int32_t> topk_ids, Index experts, Index block_m);

/// Number of experts that `routing` names in blocks in use.
[[nodiscard]] Index touched_experts(const Routing& routing, const GroupedProblem& problem);

/// Checks host routing against `problem` in O(slots): the checked mode. Kernels skip bad entries instead.
///
/// Errors: invalid_routing when a length differs from the problem, num_tokens_post_padded is negative, beyond the end
/// or no multiple of block_m, an expert id is outside [0, experts), a slot id is outside [0, slots] (slots itself
/// pads), or a slot appears twice (two blocks would write one row).
[[nodiscard]] Expected<void> validate_routing(const GroupedProblem& problem, const Routing& routing);

}  // namespace millet
