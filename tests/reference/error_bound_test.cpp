// SPDX-License-Identifier: Apache-2.0
#include "millet/reference/error_bound.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "millet/numeric/bf16.hpp"

namespace millet::reference {
namespace {

using testing::HasSubstr;

constexpr ErrorBound bf16_gate{f32_accumulator, OutputType::bf16};
constexpr ErrorBound f32_gate{f32_accumulator, OutputType::f32};
constexpr ErrorBound narrow_gate{{0x1p-13, 128}, OutputType::bf16};

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float largest_f32 = std::numeric_limits<float>::max();
const float largest_bf16 = BF16{0x7F7F}.value();  // 255 * 2^120

TEST(ErrorBound, IsHandComputedForAnF32Accumulator) {
  // 16 * 2^-24 * 2 = 2^-19 for the sum, then half a unit of bf16 of what may stand there. The rest is below 2^-100.
  EXPECT_EQ(bf16_gate(1.0, 2.0, 64), 0x1p-19 + 0x1p-8 * (1.0 + 0x1p-19));
  EXPECT_EQ(bf16_gate(-1.0, 2.0, 64), bf16_gate(1.0, 2.0, 64));
  EXPECT_EQ(f32_gate(1.0, 2.0, 64), 0x1p-19 + 0x1p-24 * (1.0 + 0x1p-19));
  EXPECT_EQ(f32_gate(1.0, 2.0, 7168), f32_gate(1.0, 2.0, 64));              // 16 does not grow with k
  EXPECT_EQ(f32_gate(0.0, 1.0, 4), 12 * 0x1p-24 + 0x1p-24 * 12 * 0x1p-24);  // 6 sqrt(4) is the smaller
}

TEST(ErrorBound, IsHandComputedForAnyAccumulator) {
  // 6 sqrt(64) = 48.
  EXPECT_EQ(narrow_gate(1.0, 2.0, 64), 96 * 0x1p-13 + 0x1p-8 * (1.0 + 96 * 0x1p-13));
  EXPECT_EQ(narrow_gate(1.0, 2.0, 256), 192 * 0x1p-13 + 0x1p-8 * (1.0 + 192 * 0x1p-13));
  // An accumulator of f32's precision that is promoted is another one than f32.
  const ErrorBound promoted{{0x1p-24, 128}, OutputType::f32};
  EXPECT_EQ(promoted(0.0, 1.0, 64), 48 * 0x1p-24 + 0x1p-24 * 48 * 0x1p-24);
}

TEST(ErrorBound, LeavesRoomWhereNumbersUnderflow) {
  // One quantum 2^-149 for each of 2 block sums and one more, and one of the output type.
  EXPECT_EQ(f32_gate(0.0, 0.0, 64), 4 * 0x1p-149);
  EXPECT_EQ(bf16_gate(0.0, 0.0, 64), 3 * 0x1p-149 + 0x1p-133);
}

/// A product whose oracle says `y`, with the sums of magnitudes |y|.
Product expecting(Index rows, const std::vector<double>& y) {
  Product product;
  product.rows = rows;
  product.n = static_cast<Index>(y.size()) / rows;
  product.k = 64;
  product.y = y;
  for (const double value : y) product.magnitude.push_back(std::abs(value));
  product.written.assign(static_cast<std::size_t>(rows), true);
  return product;
}

/// compare() of a single element whose S is `magnitude`.
Comparison compare_one(float c, double y, double magnitude, const ErrorBound& bound) {
  Product product = expecting(1, {y});
  product.magnitude = {magnitude};
  return compare(std::vector{c}, product, bound);
}

TEST(Compare, TheExactRoundingPasses) {
  const Comparison result =
      compare(std::vector{1.0F, -2.0F, 0.0F, 1.5F}, expecting(2, {1.0, -2.0, 0.0, 1.5}), bf16_gate);
  EXPECT_TRUE(result.correct);
  EXPECT_EQ(result.verdict, "ok");
  EXPECT_EQ(result.max_ratio, 0.0);
  EXPECT_EQ(result.worst_row, -1);
  EXPECT_EQ(result.mismatch_fraction, 0.0);
  EXPECT_EQ(result.over_one_ulp, 0);
}

TEST(Compare, MeasuresTheWorstErrorInBounds) {
  const double y = 1.0;
  const double bound = f32_gate(y, 1.0, 64);
  std::vector<float> c(6, 1.0F);
  c[4] = static_cast<float>(1.0 + 0x1p-21);  // half of 2^-20, about
  const Comparison inside = compare(c, expecting(2, std::vector<double>(6, y)), f32_gate);
  EXPECT_TRUE(inside.correct) << inside.verdict;
  EXPECT_EQ(inside.max_ratio, 0x1p-21 / bound);
  EXPECT_EQ(inside.worst_row, 1);
  EXPECT_EQ(inside.worst_col, 1);
  EXPECT_EQ(inside.mismatch_fraction, 1.0 / 6.0);

  c[4] = 1.0F + 0x1p-19F;
  const Comparison outside = compare(c, expecting(2, std::vector<double>(6, y)), f32_gate);
  EXPECT_FALSE(outside.correct);
  EXPECT_EQ(outside.max_ratio, 0x1p-19 / bound);
  EXPECT_THAT(outside.verdict, HasSubstr("C[1,1]=1.0000019 is 1.88 times its bound away from 1"));
}

TEST(Compare, SignsCount) {
  EXPECT_FALSE(compare_one(-1.0F, 1.0, 1.0, bf16_gate).correct);
  EXPECT_TRUE(compare_one(-0.0F, 0.0, 1.0, bf16_gate).correct);
}

TEST(Compare, ClassesMustAgree) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  struct Case {
    float c;
    double y;
    bool correct;
  };
  for (const auto& [c, y, correct] :
       {Case{not_a_number, nan, true}, Case{-not_a_number, nan, true}, Case{1.0F, nan, false},
        Case{infinity, nan, false}, Case{not_a_number, 1.0, false}, Case{infinity, 1.0, false},
        Case{-infinity, -1.0, false}, Case{infinity, 0x1p130, true}, Case{-infinity, -0x1p130, true},
        Case{-infinity, 0x1p130, false}, Case{not_a_number, 0x1p130, false}, Case{1.0F, 0x1p130, false},
        Case{largest_f32, 0x1p130, false}}) {
    for (const ErrorBound& bound : {bf16_gate, f32_gate, narrow_gate}) {
      const Comparison result = compare_one(c, y, std::abs(y), bound);
      EXPECT_EQ(result.correct, correct) << c << " for " << y << ": " << result.verdict;
      EXPECT_EQ(result.class_mismatches, correct ? 0 : 1) << c << " for " << y;
      EXPECT_THAT(result.verdict, HasSubstr(correct ? "ok" : "1 element(s) of the wrong class: C[0,0] is "));
    }
  }
}

TEST(Compare, NamesTheFirstMistakeOfClass) {
  std::vector<float> c(6, 1.0F);
  c[1] = 1.5F;  // far outside its bound too
  c[3] = not_a_number;
  c[4] = 100.0F;  // and farther
  c[5] = infinity;
  const Comparison result = compare(c, expecting(2, std::vector<double>(6, 1.0)), bf16_gate);
  EXPECT_EQ(result.class_mismatches, 2);
  EXPECT_EQ(result.worst_row, 1);
  EXPECT_EQ(result.worst_col, 0);
  EXPECT_GT(result.max_ratio, 1000.0);
  EXPECT_EQ(result.mismatch_fraction, 4.0 / 6.0);
  EXPECT_EQ(result.verdict, "2 element(s) of the wrong class: C[1,0] is nan, the exact result 1");
}

/// An exact result a little above a tie of bf16: it rounds to 1 + 2^-7, and 1 is within the bound and one place off.
constexpr double above_a_tie = 1.0 + 0x1p-8 + 0x1p-22;

Comparison with_mismatches(std::size_t elements, std::size_t mismatches, const ErrorBound& bound) {
  std::vector<float> c(elements, 1.0F + 0x1p-7F);
  for (std::size_t i = 0; i < mismatches; ++i) c[i * (elements / mismatches)] = 1.0F;
  return compare(c, expecting(1, std::vector<double>(elements, above_a_tie)), bound);
}

TEST(Compare, OnePercentMayRoundTheOtherWay) {
  const Comparison at_limit = with_mismatches(400, 4, bf16_gate);
  EXPECT_TRUE(at_limit.correct) << at_limit.verdict;
  EXPECT_EQ(at_limit.mismatch_fraction, 0.01);
  EXPECT_LE(at_limit.max_ratio, 1.0);
  EXPECT_EQ(at_limit.over_one_ulp, 0);
  const Comparison beyond = with_mismatches(400, 5, bf16_gate);
  EXPECT_FALSE(beyond.correct);
  EXPECT_EQ(beyond.verdict, "1.25 % of C differs from the exact result rounded to bf16; 1 % is the limit");
  // Three are few wherever they stand.
  EXPECT_TRUE(with_mismatches(6, 3, bf16_gate).correct);
  EXPECT_FALSE(with_mismatches(8, 4, bf16_gate).correct);
}

TEST(Compare, RoundingIsHeldAgainstF32AccumulatorsAndBf16Only) {
  EXPECT_TRUE(with_mismatches(400, 400, narrow_gate).correct);
  EXPECT_EQ(with_mismatches(400, 400, narrow_gate).mismatch_fraction, 1.0);
  const std::vector<float> c(400, 1.0F + 0x1p-22F);
  EXPECT_TRUE(compare(c, expecting(1, std::vector<double>(400, 1.0)), f32_gate).correct);
}

TEST(Compare, NoElementIsTwoPlacesOff) {
  // 1.9 rounds to 243 * 2^-7, and 245 * 2^-7 is 0.0141 away. With S = 4000 |y| the bound is 1.9 * 2^-8 + 16 * 2^-24 S =
  // 0.0147, so that only this gate sees it; from S = 4096 |y| on the bound of the sum alone is that large.
  constexpr double y = 1.9;
  const float two_places = 245.0F / 128.0F;
  const Comparison result = compare_one(two_places, y, 4000 * y, bf16_gate);
  EXPECT_LE(result.max_ratio, 1.0);
  EXPECT_EQ(result.over_one_ulp, 1);
  EXPECT_EQ(result.verdict, "1 element(s) more than one bf16 place off");
  EXPECT_FALSE(result.correct);
  EXPECT_TRUE(compare_one(244.0F / 128.0F, y, 4000 * y, bf16_gate).correct);
  EXPECT_TRUE(compare_one(two_places, y, 4100 * y, bf16_gate).correct);
  EXPECT_TRUE(compare_one(-two_places, -y, 4100 * y, bf16_gate).correct);
  EXPECT_FALSE(compare_one(-two_places, -y, 4000 * y, bf16_gate).correct);
  EXPECT_TRUE(compare_one(two_places, y, 4000 * y, narrow_gate).correct);
}

TEST(Compare, PlacesAreNotCountedWhereTheFormatEnds) {
  // Near the smallest normal number the last place is no longer relative to y: the bound allows 2.5 of them here.
  constexpr double y = 1.5 * 0x1p-126;
  const auto two_places = static_cast<float>(y + 2 * 0x1p-133);
  const Comparison result = compare_one(two_places, y, 4000 * y, bf16_gate);
  EXPECT_TRUE(result.correct) << result.verdict << ", ratio " << result.max_ratio;
  EXPECT_EQ(result.over_one_ulp, 0);
}

TEST(Compare, RowsThatNobodyWritesKeepTheirBits) {
  Product product = expecting(3, std::vector<double>(6, 1.0));
  product.written[1] = false;
  product.y[2] = product.y[3] = 0.0;
  std::vector<float> c(6, 1.0F);
  c[2] = c[3] = not_a_number;
  EXPECT_TRUE(compare(c, product, bf16_gate, not_a_number).correct);

  c[3] = 0.0F;
  const Comparison touched = compare(c, product, bf16_gate, not_a_number);
  EXPECT_FALSE(touched.correct);
  EXPECT_EQ(touched.unwritten_touched, 1);
  EXPECT_EQ(touched.verdict, "1 element(s) changed in rows that no routing entry names");
  c[2] = c[3] = -0.0F;
  EXPECT_EQ(compare(c, product, bf16_gate, 0.0F).unwritten_touched, 2);
  c[2] = c[3] = 0.0F;
  EXPECT_TRUE(compare(c, product, bf16_gate).correct);
}

TEST(Compare, AllRowsUnwrittenIsNoDivisionByZero) {
  Product product = expecting(1, {5.0});
  product.written[0] = false;
  const Comparison result = compare(std::vector{0.0F}, product, bf16_gate);
  EXPECT_TRUE(result.correct);
  EXPECT_EQ(result.mismatch_fraction, 0.0);
}

TEST(Compare, TheSizeMustBeThatOfC) {
  const Product product = expecting(2, std::vector<double>(6, 1.0));
  for (const std::size_t size : {std::size_t{0}, std::size_t{5}, std::size_t{7}}) {
    const Comparison result = compare(std::vector<float>(size, 1.0F), product, bf16_gate);
    EXPECT_FALSE(result.correct);
    EXPECT_EQ(result.verdict, "C holds " + std::to_string(size) + " elements, 6 expected");
  }
}

TEST(Overflow, Bf16FallsOnEitherSideOfItsThresholdWithinTheBound) {
  // The largest bf16 is 255 * 2^120; what rounds to 256 * 2^120 is infinite. The bound there is one 2^120, about.
  constexpr double unit = 0x1p120;
  struct Case {
    double y;  ///< in units of 2^120
    bool finite_passes;
    bool infinite_passes;
  };
  for (const auto& [y, finite_passes, infinite_passes] :
       {Case{253.9, false, false}, Case{254.1, true, true}, Case{255.4, true, true}, Case{255.6, true, true},
        Case{256.0, true, true}, Case{256.1, false, true}, Case{300.0, false, true}}) {
    for (const float sign : {1.0F, -1.0F}) {
      const double exact = static_cast<double>(sign) * y * unit;
      const Comparison finite = compare_one(sign * largest_bf16, exact, std::abs(exact), bf16_gate);
      // 253.9 rounds to 254: the largest number is one place off and outside the bound, but of the right class.
      EXPECT_EQ(finite.correct, finite_passes) << exact << ": " << finite.verdict;
      EXPECT_EQ(finite.class_mismatches, y > 256 ? 1 : 0) << exact;
      const Comparison infinite = compare_one(sign * infinity, exact, std::abs(exact), bf16_gate);
      EXPECT_EQ(infinite.correct, infinite_passes) << exact << ": " << infinite.verdict;
      EXPECT_FALSE(compare_one(-sign * infinity, exact, std::abs(exact), bf16_gate).correct) << exact;
    }
  }
}

TEST(Overflow, F32FallsOnEitherSideOfItsThresholdWithinTheBound) {
  // The bound is 2^-20 of 2^128.
  struct Case {
    double relative;  ///< distance from 2^128
    bool finite_passes;
    bool infinite_passes;
  };
  for (const auto& [relative, finite_passes, infinite_passes] :
       {Case{-0x1p-18, false, false}, Case{-0x1p-21, true, true}, Case{-0x1p-26, true, true}, Case{0.0, true, true},
        Case{0x1p-21, true, true}, Case{0x1p-18, false, true}}) {
    const double exact = 0x1p128 * (1.0 + relative);
    const Comparison finite = compare_one(largest_f32, exact, exact, f32_gate);
    EXPECT_EQ(finite.correct, finite_passes) << relative << ": " << finite.verdict;
    const Comparison infinite = compare_one(infinity, exact, exact, f32_gate);
    EXPECT_EQ(infinite.correct, infinite_passes) << relative << ": " << infinite.verdict;
  }
}

TEST(Overflow, APartialSumMayOverflowOnTheWay) {
  // y = 1 is what 2^128 - 2^128 + 1 gives; S says that a partial sum may have been infinite, and either sign may win.
  // NaN may not stand there: no order of finite terms needs both infinities.
  EXPECT_TRUE(compare_one(infinity, 1.0, 0x1p129, f32_gate).correct);
  EXPECT_TRUE(compare_one(-infinity, 1.0, 0x1p129, f32_gate).correct);
  EXPECT_FALSE(compare_one(not_a_number, 1.0, 0x1p129, f32_gate).correct);
  // Where y is far from 0 the sign is known; and below the threshold nothing overflows.
  EXPECT_TRUE(compare_one(infinity, 0x1p127, 0x1p128, f32_gate).correct);
  EXPECT_FALSE(compare_one(-infinity, 0x1p127, 0x1p128, f32_gate).correct);
  EXPECT_FALSE(compare_one(infinity, 0x1p126, 0x1p127, f32_gate).correct);
}

}  // namespace
}  // namespace millet::reference
