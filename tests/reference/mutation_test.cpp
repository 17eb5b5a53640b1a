// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "millet/numeric/bf16.hpp"
#include "millet/quantize/quantize_mx.hpp"
#include "millet/reference/error_bound.hpp"

/// What each gate sees of kernels that are wrong in a typical way, on the data of a decode step: k = 7168, quantized
/// Gaussians, bf16 output. A gate that is loosened lets some of them pass; one that is tightened fails a right kernel.
namespace millet::reference {
namespace {

constexpr Index rows = 4;
constexpr Index cols = 64;
constexpr Index extent = 7168;

/// Decoded operands: [rows, extent] and [cols, extent]; codes times scales are exact in f32 here.
struct Decoded {
  std::vector<float> a;
  std::vector<float> b;
};

struct Operands {
  HostActivations a;
  MxMatrix<> b;
  Product expected;
};

const Operands& operands() {
  static const Operands all = [] {
    std::mt19937_64 random(2024);
    std::normal_distribution<float> normal;
    const auto matrix = [&](Index count) {
      std::vector<float> x(static_cast<std::size_t>(count * extent));
      for (float& value : x) value = normal(random);
      return quantize_mx(x, count, extent).value();
    };
    Operands made;
    made.a.mx = matrix(rows);
    made.b = matrix(cols);
    made.expected = eigen_gemm({GemmProblem{rows, cols, extent}, &made.a, &made.b});
    return made;
  }();
  return all;
}

std::vector<float> decoded(const MxMatrix<>& matrix, bool flush_subnormals = false) {
  std::vector<float> x;
  for (std::size_t i = 0; i < matrix.values().size(); ++i) {
    const E4M3 code = matrix.values()[i];
    const bool flushed = flush_subnormals && (code.bits & 0x78) == 0;
    x.push_back(flushed ? 0.0F : code.value() * matrix.scales()[i / 32].value());
  }
  return x;
}

/// The f32 sum of one row of A and one of B, in order.
float f32_sum(const float* a, const float* b) {
  float sum = 0;
  for (Index k = 0; k < extent; ++k) sum += a[k] * b[k];
  return sum;
}

/// As a matrix unit does: the exact sum of 32 products and the accumulator, then one rounding of the accumulator.
template <class Round>
float sum_of_steps(const float* a, const float* b, Index promotion_interval, Round round) {
  float total = 0;
  float accumulator = 0;
  for (Index first = 0; first < extent; first += 32) {
    double step = static_cast<double>(accumulator);
    for (Index k = first; k < first + 32; ++k) step += static_cast<double>(a[k]) * static_cast<double>(b[k]);
    accumulator = round(step);
    if (promotion_interval > 0 && (first + 32) % promotion_interval == 0) {
      total += accumulator;
      accumulator = 0;
    }
  }
  return total + accumulator;
}

float truncated_to_13_bits(double x) {
  const double unit = std::ldexp(1.0, std::ilogb(x) - 12);
  return static_cast<float>(std::trunc(x / unit) * unit);
}
float rounded_to_fp16(double x) {
  const double unit = std::ldexp(1.0, std::max(std::ilogb(x), -14) - 10);
  return static_cast<float>(std::nearbyint(x / unit) * unit);
}
float rounded_to_bf16(double x) { return BF16::round(static_cast<float>(x)).value(); }

/// C of a kernel that adds up with `sum` and stores bf16.
std::vector<float> stored(const Decoded& x, const std::function<float(const float*, const float*)>& sum) {
  std::vector<float> c;
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) {
      c.push_back(BF16::round(sum(x.a.data() + i * extent, x.b.data() + j * extent)).value());
    }
  }
  return c;
}

Decoded both() { return {decoded(operands().a.mx), decoded(operands().b)}; }

/// The element of C of median magnitude.
std::size_t median_element() {
  const std::vector<double>& y = operands().expected.y;
  std::vector<std::size_t> order(y.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return std::abs(y[i]) < std::abs(y[j]); });
  return order[order.size() / 2];
}

struct Mutant {
  std::string_view name;
  std::vector<float> (*c)();
  bool passes_any_accumulator;  ///< 6 sqrt(k) u S alone
  bool passes_f32_accumulator;  ///< 16 u S, 1 % of the elements, no element two places off
};

const std::array mutants{
    Mutant{"none", [] { return stored(both(), f32_sum); }, true, true},
    Mutant{"f32_steps",
           [] {
             return stored(both(), [](const float* a, const float* b) {
               return sum_of_steps(a, b, 0, [](double x) { return static_cast<float>(x); });
             });
           },
           true, true},
    Mutant{"accumulator_of_13_bits_promoted_every_128",
           [] {
             return stored(
                 both(), [](const float* a, const float* b) { return sum_of_steps(a, b, 128, truncated_to_13_bits); });
           },
           true, false},
    Mutant{"accumulator_of_13_bits",
           [] {
             return stored(both(),
                           [](const float* a, const float* b) { return sum_of_steps(a, b, 0, truncated_to_13_bits); });
           },
           false, false},
    Mutant{"fp16_accumulator",
           [] {
             return stored(both(),
                           [](const float* a, const float* b) { return sum_of_steps(a, b, 0, rounded_to_fp16); });
           },
           false, false},
    Mutant{"bf16_running_sum",
           [] {
             return stored(both(),
                           [](const float* a, const float* b) { return sum_of_steps(a, b, 0, rounded_to_bf16); });
           },
           false, false},
    Mutant{"split_k_with_bf16_partials",
           [] {
             return stored(both(), [](const float* a, const float* b) {
               std::array<float, 4> partial{};
               for (Index k = 0; k < extent; ++k) partial[static_cast<std::size_t>(4 * k / extent)] += a[k] * b[k];
               float total = 0;
               for (const float part : partial) total += rounded_to_bf16(static_cast<double>(part));
               return total;
             });
           },
           false, false},
    Mutant{"last_element_dropped",
           [] {
             return stored(
                 both(), [](const float* a, const float* b) { return f32_sum(a, b) - a[extent - 1] * b[extent - 1]; });
           },
           false, false},
    Mutant{"last_block_dropped",
           [] {
             Decoded x = both();
             for (Index i = 0; i < rows; ++i) std::fill_n(x.a.begin() + (i + 1) * extent - 32, 32, 0.0F);
             return stored(x, f32_sum);
           },
           false, false},
    Mutant{"two_k_lanes_of_a_swapped",
           [] {
             Decoded x = both();
             for (Index i = 0; i < rows; ++i) {
               const auto at = static_cast<std::size_t>(i * extent);
               std::swap(x.a[at + 5], x.a[at + 6]);
             }
             return stored(x, f32_sum);
           },
           false, false},
    Mutant{"one_weight_scale_incremented",
           [] {
             MxMatrix<> b = operands().b;
             for (Index j = 0; j < cols; ++j) ++b.scales()[static_cast<std::size_t>(j * extent / 32)].bits;
             return stored({decoded(operands().a.mx), decoded(b)}, f32_sum);
           },
           false, false},
    Mutant{"weight_scales_rolled_one_row",
           [] {
             MxMatrix<> b = operands().b;
             std::rotate(b.scales().begin(), b.scales().begin() + extent / 32, b.scales().end());
             return stored({decoded(operands().a.mx), decoded(b)}, f32_sum);
           },
           false, false},
    // Invisible to random data, which has few subnormal codes: golden vectors and the suite's DecodesEveryCode see it.
    Mutant{"subnormals_flushed",
           [] {
             return stored({decoded(operands().a.mx, true), decoded(operands().b, true)}, f32_sum);
           },
           true, true},
    Mutant{"one_output_2_percent_off",
           [] {
             std::vector<float> c = stored(both(), f32_sum);
             c[median_element()] *= 1.02F;
             return c;
           },
           false, false},
    Mutant{"one_output_is_its_neighbour",
           [] {
             std::vector<float> c = stored(both(), f32_sum);
             const std::size_t at = median_element();
             c[at] = c[at + 1 < c.size() ? at + 1 : 0];
             return c;
           },
           false, false},
    Mutant{
        "uniform_gain",
        [] { return stored(both(), [](const float* a, const float* b) { return f32_sum(a, b) * (1.0F + 0x1p-7F); }); },
        false, false},
    Mutant{"store_truncates",
           [] {
             return stored(both(), [](const float* a, const float* b) {
               return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, f32_sum(a, b)) & 0xFFFF0000U);
             });
           },
           false, false},
};

class Gates : public testing::TestWithParam<Mutant> {};

TEST_P(Gates, SeeIt) {
  const Mutant& mutant = GetParam();
  const std::vector<float> c = mutant.c();
  // A promotion interval marks an accumulator that is not plain f32, so that only the general bound holds.
  const Comparison any = compare(c, operands().expected, {{0x1p-24, 128}, OutputType::bf16});
  EXPECT_EQ(any.correct, mutant.passes_any_accumulator) << any.verdict << ", ratio " << any.max_ratio;
  const Comparison f32 = compare(c, operands().expected, {f32_accumulator, OutputType::bf16});
  EXPECT_EQ(f32.correct, mutant.passes_f32_accumulator)
      << f32.verdict << ", ratio " << f32.max_ratio << ", mismatches " << f32.mismatch_fraction;
}

INSTANTIATE_TEST_SUITE_P(Every, Gates, testing::ValuesIn(mutants),
                         [](const auto& mutant) { return std::string(mutant.param.name); });

TEST(DeclaredAccumulator, OfThirteenBitsPassesItsOwnBoundAndNotF32s) {
  const std::vector<float> c =
      stored(both(), [](const float* a, const float* b) { return sum_of_steps(a, b, 128, truncated_to_13_bits); });
  const Comparison declared = compare(c, operands().expected, {{0x1p-12, 128}, OutputType::bf16});
  EXPECT_TRUE(declared.correct) << declared.verdict;
  const Comparison as_f32 = compare(c, operands().expected, {f32_accumulator, OutputType::bf16});
  EXPECT_GT(as_f32.max_ratio, 1.5);
  EXPECT_LT(as_f32.max_ratio, 10.0);
  EXPECT_GT(as_f32.mismatch_fraction, 0.01);
}

}  // namespace
}  // namespace millet::reference
