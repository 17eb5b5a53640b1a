// SPDX-License-Identifier: Apache-2.0
// How a layer is shared out, without MPI; millet_tp itself runs under mpirun in the tests labelled long.
#include <gtest/gtest.h>

#include "error/fails_with.hpp"
#include "millet/reference/eigen_gemm.hpp"
#include "operands/generate.hpp"
#include "tp/exact_values.hpp"
#include "tp/layer.hpp"
#include "tp/slices.hpp"

namespace millet {
namespace {

TEST(SliceOf, CoversTheExtentInWholeGranules) {
  for (const Index granule : {1, 32}) {
    for (const Index granules : {4, 5, 7, 64}) {
      for (const Index ranks : {1, 2, 3, 4}) {
        Index next = 0;
        Index least = granules, most = 0;
        for (Index rank = 0; rank < ranks; ++rank) {
          const auto slice = slice_of(granules * granule, granule, ranks, rank);
          ASSERT_TRUE(slice);
          EXPECT_EQ(slice->first, next);
          EXPECT_EQ(slice->count % granule, 0);
          next += slice->count;
          least = std::min(least, slice->count / granule);
          most = std::max(most, slice->count / granule);
        }
        EXPECT_EQ(next, granules * granule);
        EXPECT_GE(least, 1);
        EXPECT_LE(most - least, 1);
      }
    }
  }
  EXPECT_TRUE(fails_with(slice_of(96, 32, 4, 0), ErrorCode::invalid_argument, {"96", "4 ranks", "fewer ranks"}));
  EXPECT_TRUE(fails_with(slice_of(100, 32, 2, 0), ErrorCode::invalid_argument, {"100", "32"}));
}

TEST(Slices, KeepEveryElement) {
  const MxMatrix<> matrix = random_weights(5, 160, ScaleMode::rceil, 3);
  const MxMatrix<> rows = rows_of(matrix, {1, 3});
  const MxMatrix<> columns = columns_of(matrix, {64, 96});
  ASSERT_EQ(rows.rows(), 3);
  ASSERT_EQ(columns.cols(), 96);
  for (Index k = 0; k < 160; ++k) {
    for (Index row = 0; row < 5; ++row) {
      if (row >= 1 && row < 4) {
        EXPECT_EQ(rows.view()(row - 1, k), matrix.view()(row, k));
      }
      if (k >= 64) {
        EXPECT_EQ(columns.view()(row, k - 64), matrix.view()(row, k));
      }
    }
  }
}

TEST(SumInRankOrder, AddsFromTheFirstRankOn) {
  // 2^24 + 1 rounds to 2^24, so that each order has a sum of its own.
  const float big = 0x1p24F;
  EXPECT_EQ(sum_in_rank_order({{big, 1}, {1, 1}, {1, big}}), (std::vector<float>{big, 0x1p24F + 2}));
  EXPECT_EQ(sum_in_rank_order({{1, 3}, {1, 4}, {big, 5}}), (std::vector<float>{0x1p24F + 2, 12}));
}

TEST(ExactValues, MakeSumsThatNoOrderChanges) {
  HostActivations a;
  a.mx = exact_values(2, 1 << 16, 1);
  const MxMatrix<> b = exact_values(3, 1 << 16, 2);
  const auto problem = make_gemm_problem(2, 3, 1 << 16);
  const reference::Product product = reference::eigen_gemm({*problem, &a, &b});
  for (std::size_t i = 0; i < product.y.size(); ++i) {
    EXPECT_LE(product.magnitude[i], 0x1p24 * 0x1p-4) << "every partial sum is a multiple of 2^-4 below 2^20";
    EXPECT_EQ(product.y[i] * 16, static_cast<double>(static_cast<std::int64_t>(product.y[i] * 16)));
  }
}

}  // namespace
}  // namespace millet
