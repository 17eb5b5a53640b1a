// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "backends/seeded_faults.hpp"
#include "millet/numeric/bf16.hpp"

/// A test of the tests: a plain scalar grouped kernel whose epilogues are right, or wrong on purpose.
namespace millet::conformance {

namespace {

/// The mistakes that epilogues make.
enum class Fault {
  none,
  gate_and_up_swapped,
  gate_rows_then_up_rows,  ///< the order of checkpoints instead of pairs
  alpha_forgotten,
  offset_forgotten,
  gate_limit_forgotten,
  up_limit_one_sided,
  limits_swallow_nan,     ///< as minimum and maximum instructions do
  exponential_8_bits,     ///< a table of 2^x of bf16's precision
  slot_weight_forgotten,  ///< by swiglu, and by the sum
  slots_rounded_to_bf16,  ///< before they are added
  last_choice_forgotten,
  token_of_the_next_rank,  ///< the sum of another token's slots
  unrouted_slots_are_old,  ///< the workspace keeps what the call before left in it
  empty_token_unwritten,
  order_of_arrival,  ///< the order of a sum changes from call to call
};

Fault active_fault = Fault::none;
int calls = 0;

bool faulty(Fault fault) { return active_fault == fault; }

float faulty_swiglu(const Swiglu& s, float gate, float up) {
  if (faulty(Fault::gate_and_up_swapped)) std::swap(gate, up);
  Swiglu used = s;
  if (faulty(Fault::alpha_forgotten)) used.alpha = 1.0F;
  if (faulty(Fault::offset_forgotten)) used.up_offset = 0.0F;
  const float limit = used.limit;
  if (faulty(Fault::limits_swallow_nan)) {
    gate = std::fmin(gate, limit);
    up = std::fmax(std::fmin(up, limit), -limit);
  }
  if (faulty(Fault::gate_limit_forgotten) || faulty(Fault::up_limit_one_sided)) {
    const float g = faulty(Fault::gate_limit_forgotten) ? gate : std::min(gate, limit);
    const float u = faulty(Fault::up_limit_one_sided) ? std::min(up, limit) : std::clamp(up, -limit, limit);
    return g / (1.0F + std::exp(-used.alpha * g)) * (u + used.up_offset);
  }
  return swiglu(used, gate, up, [](float x) {
    const float power = std::exp2(x);
    return faulty(Fault::exponential_8_bits) ? BF16::round(power).value() : power;
  });
}

struct FaultyGrouped {
  static constexpr std::string_view id = "faulty.grouped_gemm_epilogue";
  static constexpr Operation operation = Operation::grouped_gemm;
  static constexpr Determinism determinism = Determinism::batch_invariant;
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 1;
  using Problem = GroupedProblem;
  using Weights = RowMajorWeights;
  struct Policy {};
  static constexpr Policy policies[] = {{}};

  static std::string name(const Policy&) { return "default"; }
  static constexpr Verdict supports(const Problem& p) noexcept {
    return Envelope{.swiglu = true, .topk_sum = true}.contains(p);
  }
  static constexpr Index workspace_bytes(const Problem& p, const Policy&) noexcept { return p.slots * p.n * 4; }

  static float dot(const Problem& p, const GroupedOperands<RowMajorWeights>& x, Index a_row, Index expert, Index n) {
    const auto* const a = static_cast<const E4M3*>(x.a.values) + a_row * x.a.value_stride;
    const E4M3* const b = x.b.values + expert * x.expert_value_stride + n * p.k;
    float total = 0.0F;
    for (Index block = 0; block < MxBlock::count(p.k); ++block) {
      const E8M0 a_scale = x.a.scales[a_row * x.a.scale_stride + block];
      const E8M0 b_scale = x.b.scales[expert * x.expert_scale_stride + n * MxBlock::count(p.k) + block];
      float sum = 0.0F;
      for (Index k = block * MxBlock::k; k < (block + 1) * MxBlock::k; ++k) sum += a[k].value() * b[k].value();
      if (a_scale.is_nan() || b_scale.is_nan()) sum = NAN;
      total += std::ldexp(sum, a_scale.exponent() + b_scale.exponent());
    }
    return total;
  }

  static void store(const Problem& p, const Output& c, Index row, Index column, float y) {
    if (p.output == OutputType::bf16) {
      static_cast<BF16*>(c.values)[row * c.row_stride + column] = BF16::round(y);
    } else {
      static_cast<float*>(c.values)[row * c.row_stride + column] = y;
    }
  }

  static void gate_slot(const Problem& p, const GroupedOperands<RowMajorWeights>& x, Index slot, const float* row) {
    const float weight = p.weighted && !faulty(Fault::slot_weight_forgotten) ? x.routing.slot_weights[slot] : 1.0F;
    for (Index j = 0; j < p.c_cols(); ++j) {
      const bool apart = faulty(Fault::gate_rows_then_up_rows);
      const float gate = row[apart ? j : 2 * j];
      const float up = row[apart ? j + p.c_cols() : 2 * j + 1];
      store(p, x.c, slot, j, faulty_swiglu(p.swiglu, gate, up) * weight);
    }
  }

  static void sum_token(const Problem& p, const GroupedOperands<RowMajorWeights>& x, Index token, const float* sums) {
    if (faulty(Fault::token_of_the_next_rank)) token = std::min(token + 1, p.c_rows() - 1);
    const Index choices = p.top_k - (faulty(Fault::last_choice_forgotten) && p.top_k > 1 ? 1 : 0);
    for (Index n = 0; n < p.n; ++n) {
      float sum = 0.0F;
      for (Index i = 0; i < choices; ++i) {
        const Index choice = faulty(Fault::order_of_arrival) ? (i + calls) % choices : i;
        const float y = sums[(token * p.top_k + choice) * p.n + n];
        sum += faulty(Fault::slots_rounded_to_bf16) ? BF16::round(y).value() : y;
      }
      store(p, x.c, token, n, sum);
    }
  }

  static Expected<void> run(const Problem& p, const GroupedOperands<RowMajorWeights>& x, const Policy&,
                            Workspace workspace, Stream) {
    ++calls;
    auto* const sums = static_cast<float*>(workspace.data);
    if (!faulty(Fault::unrouted_slots_are_old)) std::fill_n(sums, p.slots * p.n, 0.0F);
    std::vector<bool> reached(static_cast<std::size_t>(p.slots));
    for (Index entry = 0; entry < p.padded_slots && entry < *x.routing.num_tokens_post_padded; ++entry) {
      const Index slot = x.routing.sorted_token_ids[entry];
      const Index expert = x.routing.expert_ids[entry / p.block_m];
      if (slot < 0 || slot >= p.slots || expert < 0 || expert >= p.experts) continue;
      reached[static_cast<std::size_t>(slot)] = true;
      const bool weigh = p.weighted && p.epilogue != Epilogue::swiglu && !faulty(Fault::slot_weight_forgotten);
      float* const row = sums + slot * p.n;
      for (Index n = 0; n < p.n; ++n) {
        row[n] = dot(p, x, slot / p.a_div, expert, n) * (weigh ? x.routing.slot_weights[slot] : 1.0F);
        if (p.epilogue == Epilogue::none) store(p, x.c, slot, n, row[n]);
      }
      if (p.epilogue == Epilogue::swiglu) gate_slot(p, x, slot, row);
    }
    for (Index token = 0; p.epilogue == Epilogue::topk_sum && token < p.c_rows(); ++token) {
      const auto first = reached.begin() + token * p.top_k;
      if (faulty(Fault::empty_token_unwritten) && std::find(first, first + p.top_k, true) == first + p.top_k) continue;
      sum_token(p, x, token, sums);
    }
    return {};
  }
};

Backend backend_of_faults() {
  static constexpr std::array kernels{describe<FaultyGrouped>()};
  Backend b = faulty_backend();
  b.grouped_kernels = kernels;
  return b;
}

Failures check_with(Fault fault, const Check<GroupedProblem>& check) {
  active_fault = fault;
  const Backend backend = backend_of_faults();
  Failures failures = check.run(backend, backend.grouped_kernels.front());
  active_fault = Fault::none;
  return failures;
}

TEST(EpilogueFaults, ARightKernelPassesEveryCheck) {
  for (const Check<GroupedProblem>& check : grouped_checks()) {
    const Failures failures = check_with(Fault::none, check);
    EXPECT_TRUE(failures.empty()) << check.name << ": " << failures.front();
  }
}

class SeededEpilogueFault : public testing::TestWithParam<Seeded<Fault>> {};

TEST_P(SeededEpilogueFault, IsCaught) { expect_caught(grouped_checks(), GetParam(), check_with); }

INSTANTIATE_TEST_SUITE_P(
    Every, SeededEpilogueFault,
    testing::Values(Seeded{Fault::gate_and_up_swapped, "gate_and_up_swapped", "AppliesEpilogues"},
                    Seeded{Fault::gate_rows_then_up_rows, "gate_rows_then_up_rows", "AppliesEpilogues"},
                    Seeded{Fault::alpha_forgotten, "alpha_forgotten", "AppliesEpilogues"},
                    Seeded{Fault::offset_forgotten, "offset_forgotten", "AppliesEpilogues"},
                    Seeded{Fault::gate_limit_forgotten, "gate_limit_forgotten", "AppliesEpilogues"},
                    Seeded{Fault::up_limit_one_sided, "up_limit_one_sided", "AppliesEpilogues"},
                    Seeded{Fault::limits_swallow_nan, "limits_swallow_nan", "PropagatesNan"},
                    Seeded{Fault::exponential_8_bits, "exponential_8_bits", "AppliesEpilogues"},
                    Seeded{Fault::slot_weight_forgotten, "slot_weight_forgotten", "AppliesEpilogues"},
                    Seeded{Fault::slots_rounded_to_bf16, "slots_rounded_to_bf16", "AppliesEpilogues"},
                    Seeded{Fault::last_choice_forgotten, "last_choice_forgotten", "AppliesEpilogues"},
                    Seeded{Fault::token_of_the_next_rank, "token_of_the_next_rank", "AppliesEpilogues"},
                    Seeded{Fault::unrouted_slots_are_old, "unrouted_slots_are_old", "SumsWhatIsHere"},
                    Seeded{Fault::empty_token_unwritten, "empty_token_unwritten", "SumsWhatIsHere"},
                    Seeded{Fault::order_of_arrival, "order_of_arrival", "KeepsItsDeterminism"}),
    [](const auto& seeded) { return std::string(seeded.param.name); });

}  // namespace

}  // namespace millet::conformance
