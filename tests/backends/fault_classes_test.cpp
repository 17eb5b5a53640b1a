// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "backends/seeded_faults.hpp"
#include "millet/numeric/bf16.hpp"

/// A test of the tests: a plain scalar kernel, right or wrong on purpose, must pass the conformance checks or fail
/// them.
namespace millet::conformance {

namespace {

/// The mistakes that kernels of this kind make.
enum class Fault {
  none,
  accumulator_13_bits,  ///< never promoted, as an FP8 tensor core's would be left alone
  accumulator_fp16,
  zero_products_align,    ///< 13 bits below the largest exponent of any product, those with zero too
  bf16_running_sum,       ///< the running sum rounded to bf16 after each 128 products
  bf16_split_k_partials,  ///< four partial sums, each rounded to bf16
  last_element_dropped,
  last_block_dropped,
  two_k_lanes_of_a_swapped,
  last_activation_scale_reused,  ///< the last block uses the scale of the one before
  one_weight_scale_incremented,
  weight_scales_rolled_one_row,
  subnormals_flushed,
  one_output_2_percent_off,
  one_output_is_its_neighbour,
  uniform_gain,  ///< 1 + 2^-7
  store_truncates,
  scale_0_is_zero,
  scale_255_is_infinity,
  nan_code_is_480,
  scale_sum_wraps,       ///< the sum of both codes in 8 bits
  negative_zero_is_nan,  ///< the fnuz variant's reading of 0x80
  last_row_not_written,
  writes_past_the_last_column,
  depends_on_the_batch,  ///< another order of the sum for an odd number of rows
};

Fault active_fault = Fault::none;

bool faulty(Fault fault) { return active_fault == fault; }

/// Keeps `bits` significant bits, dropping the rest toward zero.
float truncate_to(float x, int bits) {
  if (x == 0.0F || !std::isfinite(x)) return x;
  const float unit = std::ldexp(1.0F, std::ilogb(x) - bits + 1);
  return std::trunc(x / unit) * unit;
}

float round_to_fp16(float x) {
  if (x == 0.0F || !std::isfinite(x)) return x;
  if (std::abs(x) >= 65520.0F) return std::copysign(INFINITY, x);
  const float unit = std::ldexp(1.0F, std::max(std::ilogb(x), -14) - 10);
  return std::nearbyint(x / unit) * unit;
}

float decode(E4M3 code) {
  if (faulty(Fault::subnormals_flushed) && (code.bits & 0x7F) < 8) return 0.0F;
  if (faulty(Fault::nan_code_is_480) && code.is_nan()) return code.bits == 0xFF ? -480.0F : 480.0F;
  if (faulty(Fault::negative_zero_is_nan) && code.bits == 0x80) return NAN;
  return code.value();
}

float scale_sum(float sum, E8M0 a, E8M0 b) {
  if (faulty(Fault::scale_0_is_zero) && (a.bits == 0 || b.bits == 0)) return 0.0F;
  if (faulty(Fault::scale_255_is_infinity) && (a.is_nan() || b.is_nan())) return sum * INFINITY;
  if (faulty(Fault::scale_sum_wraps) && !a.is_nan() && !b.is_nan()) {
    return std::ldexp(sum, static_cast<std::int8_t>(a.bits + b.bits - 254));
  }
  if (a.is_nan() || b.is_nan()) return NAN;
  return std::ldexp(sum, a.exponent() + b.exponent());
}

struct FaultyGemm {
  static constexpr std::string_view id = "faulty.gemm_scalar";
  static constexpr Operation operation = Operation::gemm;
  static constexpr Determinism determinism = Determinism::batch_invariant;
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 1;
  using Problem = GemmProblem;
  using Weights = RowMajorWeights;
  struct Policy {};
  static constexpr Policy policies[] = {{}};

  static std::string name(const Policy&) { return "default"; }
  static constexpr Verdict supports(const Problem& p) noexcept { return Envelope{}.contains(p); }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }

  static float element(const Problem& p, const GemmOperands<RowMajorWeights>& x, Index m, Index n) {
    const auto* const a = static_cast<const E4M3*>(x.a.values) + m * x.a.value_stride;
    const E8M0* const a_scales = x.a.scales + m * x.a.scale_stride;
    const Index blocks = MxBlock::count(p.k) - (faulty(Fault::last_block_dropped) ? 1 : 0);
    std::array<float, 4> partial{};  // of a quarter of k each, for the split
    float total = 0;
    for (Index i = 0; i < blocks; ++i) {
      const Index block = faulty(Fault::depends_on_the_batch) && p.m % 2 == 1 ? blocks - 1 - i : i;
      float sum = 0;
      for (Index j = 0; j < MxBlock::k; ++j) {
        const Index k = block * MxBlock::k + j;
        if (faulty(Fault::last_element_dropped) && k == p.k - 1) continue;
        Index a_k = k;
        if (faulty(Fault::two_k_lanes_of_a_swapped) && (j == 5 || j == 6)) a_k = k + (j == 5 ? 1 : -1);
        sum += decode(a[a_k]) * decode(x.b.code(n, k));
        if (faulty(Fault::accumulator_13_bits)) sum = truncate_to(sum, 13);
        if (faulty(Fault::accumulator_fp16)) sum = round_to_fp16(sum);
      }
      const Index a_block = faulty(Fault::last_activation_scale_reused) && block > 0 && (block + 1) * MxBlock::k == p.k
                                ? block - 1
                                : block;
      const Index scale_row = faulty(Fault::weight_scales_rolled_one_row) ? (n + 1) % p.n : n;
      E8M0 b_scale =
          x.b.scale_layout.blocks.rows() > 0 ? x.b.scales[x.b.scale_layout.blocks(scale_row, block)] : E8M0{0};
      if (faulty(Fault::one_weight_scale_incremented) && block == 0 && b_scale.bits < 254) ++b_scale.bits;
      const float term = scale_sum(sum, a_scales[a_block], b_scale);
      total += term;
      partial[static_cast<std::size_t>(4 * block / MxBlock::count(p.k))] += term;
      if (faulty(Fault::accumulator_13_bits)) total = truncate_to(total, 13);
      if (faulty(Fault::accumulator_fp16)) total = round_to_fp16(total);
      if (faulty(Fault::bf16_running_sum) && block % 4 == 3) total = BF16::round(total).value();
    }
    if (faulty(Fault::zero_products_align)) {
      float largest = 0;
      for (Index k = 0; k < p.k; ++k) largest = std::fmax(largest, std::abs(decode(x.b.code(n, k))));
      const float unit = largest * 0x1p-9F * 0x1p-13F;
      if (unit > 0 && std::isfinite(unit)) total = std::trunc(total / unit) * unit;
    }
    if (faulty(Fault::bf16_split_k_partials)) {
      total = 0;
      for (const float part : partial) total += BF16::round(part).value();
    }
    return total;
  }

  static Expected<void> run(const Problem& p, const GemmOperands<RowMajorWeights>& x, const Policy&, Workspace,
                            Stream) {
    for (Index m = 0; m < p.m; ++m) {
      if (faulty(Fault::last_row_not_written) && m > 0 && m == p.m - 1) continue;
      for (Index n = 0; n < p.n + (faulty(Fault::writes_past_the_last_column) ? 1 : 0); ++n) {
        const bool chosen = m == p.m / 2 && n == p.n / 2;
        float y = element(p, x, m, n < p.n ? n : p.n - 1);
        if (faulty(Fault::one_output_2_percent_off) && chosen) y *= 1.02F;
        if (faulty(Fault::one_output_is_its_neighbour) && chosen && n > 0) y = element(p, x, m, n - 1);
        if (faulty(Fault::uniform_gain)) y *= 1.0F + 0x1p-7F;
        const Index at = m * x.c.row_stride + n;
        if (p.output == OutputType::f32) {
          static_cast<float*>(x.c.values)[at] = y;
        } else if (faulty(Fault::store_truncates)) {
          static_cast<BF16*>(x.c.values)[at].bits =
              static_cast<std::uint16_t>(__builtin_bit_cast(std::uint32_t, y) >> 16);
        } else {
          static_cast<BF16*>(x.c.values)[at] = BF16::round(y);
        }
      }
    }
    return {};
  }
};

Backend backend_of_faults() {
  static constexpr std::array kernels{describe<FaultyGemm>()};
  Backend b = faulty_backend();
  b.gemm_kernels = kernels;
  return b;
}

/// What the check says about the kernel with the fault active.
Failures check_with(Fault fault, const Check<GemmProblem>& check) {
  active_fault = fault;
  const Backend backend = backend_of_faults();
  Failures failures = check.run(backend, backend.gemm_kernels.front());
  active_fault = Fault::none;
  return failures;
}

TEST(FaultClasses, ARightKernelPassesEveryCheck) {
  for (const Check<GemmProblem>& check : gemm_checks()) {
    const Failures failures = check_with(Fault::none, check);
    EXPECT_TRUE(failures.empty()) << check.name << ": " << failures.front();
  }
}

class SeededFault : public testing::TestWithParam<Seeded<Fault>> {};

TEST_P(SeededFault, IsCaught) { expect_caught(gemm_checks(), GetParam(), check_with); }

INSTANTIATE_TEST_SUITE_P(
    Every, SeededFault,
    testing::Values(
        Seeded{Fault::accumulator_13_bits, "accumulator_13_bits", "AccumulatesAsDeclared"},
        Seeded{Fault::accumulator_fp16, "accumulator_fp16", "AccumulatesAsDeclared"},
        Seeded{Fault::zero_products_align, "zero_products_align", "AccumulatesAsDeclared"},
        Seeded{Fault::bf16_running_sum, "bf16_running_sum", "AccumulatesAsDeclared"},
        Seeded{Fault::bf16_split_k_partials, "bf16_split_k_partials", "AccumulatesAsDeclared"},
        Seeded{Fault::last_element_dropped, "last_element_dropped", "MatchesReference"},
        Seeded{Fault::last_block_dropped, "last_block_dropped", "MatchesReference"},
        Seeded{Fault::two_k_lanes_of_a_swapped, "two_k_lanes_of_a_swapped", "IsExactOnDyadicData"},
        Seeded{Fault::last_activation_scale_reused, "last_activation_scale_reused", "TakesEachScaleFromItsBlock"},
        Seeded{Fault::one_weight_scale_incremented, "one_weight_scale_incremented", "MatchesReference"},
        Seeded{Fault::weight_scales_rolled_one_row, "weight_scales_rolled_one_row", "TakesEachScaleFromItsBlock"},
        Seeded{Fault::subnormals_flushed, "subnormals_flushed", "DecodesEveryCode"},
        Seeded{Fault::one_output_2_percent_off, "one_output_2_percent_off", "MatchesReference"},
        Seeded{Fault::one_output_is_its_neighbour, "one_output_is_its_neighbour", "MatchesReference"},
        Seeded{Fault::uniform_gain, "uniform_gain", "MatchesReference"},
        Seeded{Fault::store_truncates, "store_truncates", "MatchesReference"},
        Seeded{Fault::scale_0_is_zero, "scale_0_is_zero", "CombinesExtremeScales"},
        Seeded{Fault::scale_255_is_infinity, "scale_255_is_infinity", "PropagatesNan"},
        Seeded{Fault::nan_code_is_480, "nan_code_is_480", "PropagatesNan"},
        Seeded{Fault::scale_sum_wraps, "scale_sum_wraps", "CombinesExtremeScales"},
        Seeded{Fault::negative_zero_is_nan, "negative_zero_is_nan", "DecodesEveryCode"},
        Seeded{Fault::last_row_not_written, "last_row_not_written", "MatchesReference"},
        Seeded{Fault::writes_past_the_last_column, "writes_past_the_last_column", "StaysWithinItsOperands"},
        Seeded{Fault::depends_on_the_batch, "depends_on_the_batch", "KeepsItsDeterminism"}),
    [](const auto& seeded) { return std::string(seeded.param.name); });

/// A promoted narrow accumulator is right if it is declared, and caught if the kernel says f32.
TEST(FaultClasses, ANarrowAccumulatorPassesOnlyIfDeclared) {
  active_fault = Fault::accumulator_13_bits;
  const Backend backend = backend_of_faults();
  GemmKernel declared = backend.gemm_kernels.front();
  declared.accumulator = {0x1p-12, 32};
  for (const Check<GemmProblem>& check : gemm_checks()) {
    if (check.name == "MatchesReference" || check.name == "AccumulatesAsDeclared") {
      const Failures failures = check.run(backend, declared);
      EXPECT_TRUE(failures.empty()) << check.name << ": " << failures.front();
    }
  }
  active_fault = Fault::none;
}

}  // namespace

}  // namespace millet::conformance
