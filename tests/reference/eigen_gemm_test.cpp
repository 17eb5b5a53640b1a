// SPDX-License-Identifier: Apache-2.0
#include "millet/reference/eigen_gemm.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "millet/reference/epilogue.hpp"

namespace millet::reference {
namespace {

using Random = std::mt19937_64;

/// The value of a finite e4m3 code in units of 2^-9, by the fields of the format.
std::int64_t code_in_units(std::uint8_t code) {
  const int exponent = (code >> 3) & 15;
  const std::int64_t mantissa = code & 7;
  const std::int64_t magnitude = exponent == 0 ? mantissa : (8 + mantissa) << (exponent - 1);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

bool is_nan_code(std::uint8_t code) { return (code & 0x7F) == 0x7F; }

MxMatrix<> zeros(Index rows, Index k) { return MxMatrix<>(RowMajor(rows, k), row_major_scales(rows, k)); }

/// Finite random codes with scales 2^-lowest .. 2^highest.
MxMatrix<> random_matrix(Index rows, Index k, int lowest, int highest, Random& random) {
  MxMatrix<> matrix = zeros(rows, k);
  for (E4M3& code : matrix.values()) {
    do {
      code.bits = static_cast<std::uint8_t>(random());
    } while (is_nan_code(code.bits));
  }
  for (E8M0& scale : matrix.scales()) {
    scale.bits = static_cast<std::uint8_t>(127 + lowest + static_cast<int>(random() % (highest - lowest + 1)));
  }
  return matrix;
}

HostActivations as_activations(MxMatrix<> matrix) {
  HostActivations a;
  a.mx = std::move(matrix);
  return a;
}

Product multiplied(const MxMatrix<>& a, const MxMatrix<>& b) {
  const HostActivations activations = as_activations(a);
  return eigen_gemm({GemmProblem{a.rows(), b.rows(), a.cols()}, &activations, &b});
}

/// sum of a * b over one row of each, or of |a| * |b|, in units of 2^-26, for scales from 2^-4 up.
std::int64_t dot_in_units(const MxMatrix<>& a, Index row_a, const MxMatrix<>& b, Index row_b, bool magnitudes) {
  std::int64_t sum = 0;
  for (Index k = 0; k < a.cols(); ++k) {
    const auto at_a = static_cast<std::size_t>(row_a * a.cols() + k);
    const auto at_b = static_cast<std::size_t>(row_b * b.cols() + k);
    const std::int64_t product = code_in_units(a.values()[at_a].bits) * code_in_units(b.values()[at_b].bits);
    const int shift = a.scales()[at_a / 32].bits - 127 + 4 + b.scales()[at_b / 32].bits - 127 + 4;
    sum += (magnitudes ? std::abs(product) : product) << shift;
  }
  return sum;
}

TEST(EigenGemm, MultipliesEveryPairOfCodes) {
  // Row i of A holds code i once among zeros, row j of B code j throughout: C[i, j] is their product alone.
  MxMatrix<> a = zeros(256, 32);
  MxMatrix<> b = zeros(256, 32);
  for (Index code = 0; code < 256; ++code) {
    a.values()[static_cast<std::size_t>(code * 32 + code % 32)].bits = static_cast<std::uint8_t>(code);
    for (Index k = 0; k < 32; ++k)
      b.values()[static_cast<std::size_t>(code * 32 + k)].bits = static_cast<std::uint8_t>(code);
  }
  for (E8M0& scale : a.scales()) scale.bits = 127;
  for (E8M0& scale : b.scales()) scale.bits = 127;
  const Product product = multiplied(a, b);
  for (std::size_t i = 0; i < 256; ++i) {
    for (std::size_t j = 0; j < 256; ++j) {
      const auto code_i = static_cast<std::uint8_t>(i);
      const auto code_j = static_cast<std::uint8_t>(j);
      const double y = product.y[i * 256 + j];
      const double magnitude = product.magnitude[i * 256 + j];
      if (is_nan_code(code_i) || is_nan_code(code_j)) {
        ASSERT_TRUE(std::isnan(y) && std::isnan(magnitude)) << i << " * " << j << " = " << y;
        continue;
      }
      const double wanted = std::ldexp(static_cast<double>(code_in_units(code_i) * code_in_units(code_j)), -18);
      ASSERT_EQ(y, wanted) << i << " * " << j;
      ASSERT_EQ(magnitude, std::abs(wanted)) << i << " * " << j;
    }
  }
}

TEST(EigenGemm, AppliesEveryScaleToItsBlock) {
  // Value 1 in one place of one of two blocks; C is 2^(scale + scale), down to 2^-254 and up to 2^254.
  for (const int scale_a : {0, 1, 64, 127, 200, 254}) {
    for (int scale_b = 0; scale_b < 255; ++scale_b) {
      MxMatrix<> a = zeros(1, 64);
      MxMatrix<> b = zeros(1, 64);
      const std::size_t block = static_cast<std::size_t>(scale_b % 2);
      a.values()[block * 32 + 31] = b.values()[block * 32 + 31] = E4M3{0x38};
      a.scales()[block].bits = static_cast<std::uint8_t>(scale_a);
      b.scales()[block].bits = static_cast<std::uint8_t>(scale_b);
      ASSERT_EQ(multiplied(a, b).y[0], std::ldexp(1.0, scale_a + scale_b - 254)) << scale_a << " + " << scale_b;
    }
  }
}

TEST(EigenGemm, KeepsTheSmallestAndTheLargestProduct) {
  MxMatrix<> a = zeros(2, 32);
  a.values()[0] = E4M3{0x81};  // -2^-9 * 2^-127
  a.values()[32] = E4M3{0x7E};
  a.scales()[1] = E8M0{254};  // 448 * 2^127
  MxMatrix<> b = a;
  const Product product = multiplied(a, b);
  EXPECT_EQ(product.y[0], 0x1p-272);
  EXPECT_EQ(product.y[1], -448.0 * 0x1p-9);  // of one from each end
  EXPECT_EQ(product.y[3], std::ldexp(448.0 * 448.0, 254));
}

TEST(EigenGemm, ScaleCode255IsNanEvenOverZeros) {
  MxMatrix<> a = zeros(2, 64);
  MxMatrix<> b = zeros(3, 64);
  a.scales()[3] = E8M0{255};  // row 1, last block
  b.scales()[4] = E8M0{255};  // row 2, first block
  const Product product = multiplied(a, b);
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t j = 0; j < 3; ++j) {
      const std::size_t at = i * 3 + j;
      if (i == 1 || j == 2) {
        EXPECT_TRUE(std::isnan(product.y[at]) && std::isnan(product.magnitude[at])) << i << ' ' << j;
      } else {
        EXPECT_EQ(product.y[at], 0.0) << i << ' ' << j;
      }
    }
  }
}

TEST(EigenGemm, EqualsAnIntegerSumInAnyOrder) {
  // A product of codes is below 2^36 units of 2^-18, scales of 2^-4 .. 2^0 make it 2^44 units of 2^-26, and 96 terms
  // 2^51: every partial sum is exact in f64. 131 columns pass the oracle's panels of 128.
  Random random(1);
  struct Extents {
    Index m;
    Index n;
    Index k;
  };
  for (const auto& [m, n, k] : {Extents{1, 1, 32}, Extents{5, 131, 96}, Extents{3, 128, 64}}) {
    const MxMatrix<> a = random_matrix(m, k, -4, 0, random);
    const MxMatrix<> b = random_matrix(n, k, -4, 0, random);
    const Product product = multiplied(a, b);
    EXPECT_EQ(product.rows, m);
    EXPECT_EQ(product.n, n);
    EXPECT_EQ(product.k, k);
    ASSERT_EQ(product.y.size(), static_cast<std::size_t>(m * n));
    EXPECT_EQ(product.written, std::vector<bool>(static_cast<std::size_t>(m), true));
    for (Index i = 0; i < m; ++i) {
      for (Index j = 0; j < n; ++j) {
        const auto at = static_cast<std::size_t>(i * n + j);
        ASSERT_EQ(std::ldexp(product.y[at], 26), static_cast<double>(dot_in_units(a, i, b, j, false))) << i << ' ' << j;
        ASSERT_EQ(std::ldexp(product.magnitude[at], 26), static_cast<double>(dot_in_units(a, i, b, j, true)))
            << i << ' ' << j;
      }
    }
  }
}

TEST(EigenGemm, IsWithinRoundingOfALongDoubleSum) {
  Random random(2);
  const Index k = 2048;
  const MxMatrix<> a = random_matrix(2, k, -20, 20, random);
  const MxMatrix<> b = random_matrix(3, k, -20, 20, random);
  const Product product = multiplied(a, b);
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 3; ++j) {
      long double sum = 0;
      long double magnitude = 0;
      for (Index x = 0; x < k; ++x) {
        const auto at_a = static_cast<std::size_t>(i * k + x);
        const auto at_b = static_cast<std::size_t>(j * k + x);
        const std::int64_t units = code_in_units(a.values()[at_a].bits) * code_in_units(b.values()[at_b].bits);
        const long double term = std::ldexp(static_cast<long double>(units),
                                            a.scales()[at_a / 32].bits + b.scales()[at_b / 32].bits - 254 - 18);
        sum += term;
        magnitude += std::abs(term);
      }
      const auto at = static_cast<std::size_t>(i * 3 + j);
      const auto limit = static_cast<double>(magnitude) * static_cast<double>(k) * 0x1p-53;
      EXPECT_NEAR(product.y[at], static_cast<double>(sum), limit);
      EXPECT_NEAR(product.magnitude[at], static_cast<double>(magnitude), limit);
      EXPECT_GT(product.magnitude[at], std::abs(product.y[at]));
    }
  }
}

TEST(EigenGemm, UsesTheFirstRowsOfA) {
  Random random(3);
  const HostActivations a = as_activations(random_matrix(6, 64, -2, 2, random));
  const MxMatrix<> b = random_matrix(7, 64, -2, 2, random);
  const Product all = eigen_gemm({GemmProblem{6, 7, 64}, &a, &b});
  const Product first = eigen_gemm({GemmProblem{2, 7, 64}, &a, &b});
  ASSERT_EQ(first.y.size(), 14U);
  EXPECT_TRUE(std::equal(first.y.begin(), first.y.end(), all.y.begin()));
}

/// 5 tokens with 2 choices each over 4 experts; expert 2 gets nobody.
class EigenGrouped : public testing::Test {
 protected:
  EigenGrouped() {
    Random random(4);
    problem.experts = 4;
    problem.slots = 10;
    problem.n = 9;
    problem.k = 64;
    problem.a_div = 2;
    problem.block_m = 4;
    routing = build_routing(experts, 4, 4).value();
    problem.padded_slots = std::ssize(routing.sorted_token_ids);
    a = as_activations(random_matrix(10, 64, -4, 0, random));
    for (int expert = 0; expert < 4; ++expert) b.push_back(random_matrix(9, 64, -4, 0, random));
  }

  [[nodiscard]] Product multiplied() const { return eigen_grouped_gemm({problem, &a, &b, &routing, &slot_weights}); }

  /// Expects row `slot` to be that row of A times that expert, times a weight.
  void expect_row(const Product& product, Index slot, Index a_row, std::size_t expert, double weight) const {
    EXPECT_TRUE(product.written[static_cast<std::size_t>(slot)]) << slot;
    for (Index col = 0; col < problem.n; ++col) {
      const auto at = static_cast<std::size_t>(slot * problem.n + col);
      const auto exact = [&](bool magnitudes) {
        return std::ldexp(static_cast<double>(dot_in_units(a.mx, a_row, b[expert], col, magnitudes)), -26);
      };
      EXPECT_EQ(product.y[at], exact(false) * weight) << slot << ' ' << col;
      EXPECT_EQ(product.magnitude[at], exact(true) * std::abs(weight)) << slot << ' ' << col;
    }
  }
  void expect_unwritten(const Product& product, Index slot) const {
    EXPECT_FALSE(product.written[static_cast<std::size_t>(slot)]) << slot;
  }

  const std::vector<std::int32_t> experts{0, 1, 3, 1, 1, 0, 1, 3, 1, 3};
  GroupedProblem problem;
  Routing routing;
  HostActivations a;
  std::vector<MxMatrix<>> b;
  std::vector<float> slot_weights;
};

TEST_F(EigenGrouped, EverySlotIsADenseRowOfItsExpert) {
  const Product product = multiplied();
  EXPECT_EQ(product.rows, 10);
  for (Index slot = 0; slot < 10; ++slot) {
    expect_row(product, slot, slot / 2, static_cast<std::size_t>(experts[static_cast<std::size_t>(slot)]), 1.0);
  }
  problem.a_div = 1;
  const Product own_rows = multiplied();
  for (Index slot = 0; slot < 10; ++slot) {
    expect_row(own_rows, slot, slot, static_cast<std::size_t>(experts[static_cast<std::size_t>(slot)]), 1.0);
  }
}

TEST_F(EigenGrouped, MultipliesByTheSlotsWeight) {
  problem.weighted = true;
  for (int slot = 0; slot < 10; ++slot) slot_weights.push_back(std::ldexp(slot % 2 == 0 ? 1.0F : -3.0F, -slot));
  slot_weights[4] = 0.0F;
  const Product product = multiplied();
  for (Index slot = 0; slot < 10; ++slot) {
    const auto at = static_cast<std::size_t>(slot);
    expect_row(product, slot, slot / 2, static_cast<std::size_t>(experts[at]), static_cast<double>(slot_weights[at]));
  }
}

TEST_F(EigenGrouped, HandsItsSumsToTheEpilogue) {
  problem.n = 9;
  problem.weighted = true;
  for (int slot = 0; slot < 10; ++slot) slot_weights.push_back(slot % 2 == 0 ? 0.5F : -2.0F);
  const Product sums = multiplied();
  problem.epilogue = Epilogue::topk_sum;
  problem.top_k = 2;
  const Product summed = multiplied();
  ASSERT_EQ(summed.rows, 5);
  for (std::size_t at = 0; at < summed.y.size(); ++at) {
    const std::size_t first = at / 9 * 18 + at % 9;
    EXPECT_EQ(summed.y[at], sums.y[first] + sums.y[first + 9]);
  }
  // The gate is weighted once, after it.
  problem.epilogue = Epilogue::none;
  problem.weighted = false;
  problem.n = 8;
  for (MxMatrix<>& expert : b) {
    MxMatrix<> shorter(RowMajor(8, 64), RowMajorScales{RowMajor(8, 2)});
    std::copy_n(expert.values().begin(), shorter.values().size(), shorter.values().begin());
    std::copy_n(expert.scales().begin(), shorter.scales().size(), shorter.scales().begin());
    expert = shorter;
  }
  const Product plain = multiplied();
  problem.epilogue = Epilogue::swiglu;
  problem.weighted = true;
  problem.swiglu = swiglu_oai;
  const Product gated = multiplied();
  const Product wanted = swiglu_of(plain, swiglu_oai, slot_weights);
  EXPECT_EQ(gated.y, wanted.y);
  EXPECT_EQ(gated.evaluation, wanted.evaluation);
}

TEST_F(EigenGrouped, SkipsWhatKernelsSkip) {
  // Entries: expert 0 has {0, 5, -, -}, expert 1 {1, 3, 4, 6} and {8, -, -, -}, expert 3 {2, 7, 9, -}.
  ASSERT_EQ(routing.expert_ids, (std::vector<std::int32_t>{0, 1, 1, 3}));
  const Routing good = routing;
  const auto check = [&](std::initializer_list<Index> skipped) {
    const Product product = multiplied();
    for (Index slot = 0; slot < 10; ++slot) {
      if (std::find(skipped.begin(), skipped.end(), slot) != skipped.end()) {
        expect_unwritten(product, slot);
      } else {
        expect_row(product, slot, slot / 2, static_cast<std::size_t>(experts[static_cast<std::size_t>(slot)]), 1.0);
      }
    }
    routing = good;
  };
  routing.sorted_token_ids[1] = -1;
  check({5});
  routing.sorted_token_ids[1] = 11;
  check({5});
  routing.expert_ids[1] = -1;
  check({1, 3, 4, 6});
  routing.expert_ids[1] = 4;
  check({1, 3, 4, 6});
  routing.num_tokens_post_padded = 12;
  check({2, 7, 9});
  routing.num_tokens_post_padded = 1 << 30;  // beyond the end
  check({});
  routing.num_tokens_post_padded = -4;
  check({0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

}  // namespace
}  // namespace millet::reference
