// SPDX-License-Identifier: Apache-2.0
#include "millet/layout/mx_matrix.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "error/fails_with.hpp"
#include "layout/example_layouts.hpp"

namespace millet {
namespace {

static_assert(Mapping2D<RowMajor> && RowMajor::is_always_unique());
static_assert(Mapping2D<RowMajorScales> && !RowMajorScales::is_always_unique());
static_assert(!Mapping2D<int>);
static_assert(tiles_to_cover(0, 16) == 0 && tiles_to_cover(1, 16) == 1 && tiles_to_cover(16, 16) == 1 &&
              tiles_to_cover(17, 16) == 2);
static_assert(round_up_to_tile(33, 32) == 64 && round_up_to_tile(32, 32) == 32);

TEST(RowMajor, PaddedRowsAreSkipped) {
  const RowMajor layout(3, 5, 8);
  EXPECT_EQ(layout(0, 4), 4);
  EXPECT_EQ(layout(2, 3), 19);
  EXPECT_EQ(layout.required_span_size(), 21);  // the last row needs no padding
  EXPECT_EQ(RowMajor(3, 5).required_span_size(), 15);
  EXPECT_EQ(RowMajor(0, 5).required_span_size(), 0);
  EXPECT_EQ(RowMajor(3, 0, 8).required_span_size(), 0);
}

TEST(RowMajor, OffsetsPass32Bits) {
  const RowMajor layout(256 * 1536, 6144);  // the experts of one MoE layer
  EXPECT_EQ(layout(256 * 1536 - 1, 6143), Index{256} * 1536 * 6144 - 1);
  EXPECT_GT(layout.required_span_size(), Index{std::numeric_limits<std::int32_t>::max()});
}

TEST(ScaleMapping, ThirtyTwoColumnsShareOneScale) {
  const RowMajorScales scales = row_major_scales(3, 96);
  EXPECT_EQ(scales.rows(), 3);
  EXPECT_EQ(scales.cols(), 96);
  EXPECT_EQ(scales.required_span_size(), 9);
  for (Index row = 0; row < 3; ++row) {
    for (Index k = 0; k < 96; ++k) EXPECT_EQ(scales(row, k), row * 3 + k / 32);
  }
}

TEST(ScaleMapping, FollowsTheOrderOfItsBlocks) {
  using examples::ScaleDwords;
  const ScaleMapping<ScaleDwords> scales{ScaleDwords(20, 6)};
  EXPECT_EQ(scales.cols(), 192);
  EXPECT_EQ(scales.required_span_size(), 32 * 8);
  std::set<Index> offsets;
  for (Index row = 0; row < 20; ++row) {
    for (Index k = 0; k < 192; ++k) {
      EXPECT_EQ(scales(row, k), scales.blocks(row, k / 32));
      offsets.insert(scales(row, k));
    }
  }
  EXPECT_EQ(offsets.size(), 20U * 6);
}

TEST(MxMatrix, StartsAsZeroUnderTheSmallestScale) {
  const MxMatrix<> matrix(RowMajor(2, 64), row_major_scales(2, 64));
  ASSERT_EQ(matrix.values().size(), 128U);
  ASSERT_EQ(matrix.scales().size(), 4U);
  for (const E4M3 code : matrix.values()) EXPECT_EQ(code.bits, 0);
  for (const E8M0 scale : matrix.scales()) EXPECT_EQ(scale.bits, 0);
  EXPECT_EQ(matrix.view().rows(), 2);
  EXPECT_EQ(matrix.view().cols(), 64);
}

TEST(MxMatrixView, DecodesValueTimesScale) {
  MxMatrix<> matrix(RowMajor(2, 64), row_major_scales(2, 64));
  matrix.values()[64 + 33] = E4M3{0xB8};  // -1
  matrix.scales()[3] = E8M0{130};         // 2^3 for row 1, k = 32 .. 63
  matrix.scales()[1] = E8M0{255};         // NaN for row 0, k = 32 .. 63
  matrix.values()[0] = E4M3{0x7E};
  matrix.scales()[0] = E8M0{254};
  matrix.values()[64] = E4M3{0x01};
  matrix.scales()[2] = E8M0{0};
  const MxMatrixView<> view = matrix.view();
  EXPECT_EQ(view.code(1, 33).bits, 0xB8);
  EXPECT_EQ(view.scale(1, 63).bits, 130);
  EXPECT_EQ(view(1, 33), -8.0F);
  EXPECT_EQ(view(1, 34), 0.0F);
  EXPECT_TRUE(std::isnan(view(0, 40)));  // the scale alone poisons a zero
  EXPECT_TRUE(std::isinf(view(0, 0)));   // 448 * 2^127
  EXPECT_EQ(view(1, 0), 0x1p-136F);
}

class MakeMxView : public testing::Test {
 protected:
  std::vector<E4M3> values_ = std::vector<E4M3>(4 * 80, E4M3{0x38});
  std::vector<E8M0> scales_ = std::vector<E8M0>(4 * 3, E8M0{127});

  Expected<MxMatrixView<>> make(RowMajor value_layout, RowMajor block_layout) const {
    return make_mx_view(values_.data(), static_cast<Index>(values_.size()), scales_.data(),
                        static_cast<Index>(scales_.size()), value_layout, block_layout);
  }
};

TEST_F(MakeMxView, TakesPaddedRows) {
  values_[80 + 63] = E4M3{0x40};
  scales_[3 + 1] = E8M0{128};
  const Expected<MxMatrixView<>> view = make(RowMajor(4, 64, 80), RowMajor(4, 2, 3));
  ASSERT_TRUE(view) << view.error().message;
  EXPECT_EQ(view->rows(), 4);
  EXPECT_EQ(view->cols(), 64);
  EXPECT_EQ((*view)(1, 63), 4.0F);
  EXPECT_EQ((*view)(1, 31), 1.0F);
}

TEST_F(MakeMxView, TheLastRowNeedsNoPadding) {
  const Index values = 3 * 80 + 64;
  const Index scales = 3 * 3 + 2;
  const RowMajor value_layout(4, 64, 80);
  const RowMajor block_layout(4, 2, 3);
  EXPECT_TRUE(make_mx_view(values_.data(), values, scales_.data(), scales, value_layout, block_layout));
  EXPECT_TRUE(fails_with(make_mx_view(values_.data(), values - 1, scales_.data(), scales, value_layout, block_layout),
                         ErrorCode::invalid_layout, {"buffers hold 303 values and 11 scales", "need 304 and 11"}));
  EXPECT_TRUE(fails_with(make_mx_view(values_.data(), values, scales_.data(), scales - 1, value_layout, block_layout),
                         ErrorCode::invalid_layout, {"buffers hold 304 values and 10 scales", "need 304 and 11"}));
}

TEST_F(MakeMxView, RejectsEmptyExtents) {
  EXPECT_TRUE(fails_with(make(RowMajor(0, 64), RowMajor(0, 2)), ErrorCode::invalid_layout, {"at least 1", "0 x 64"}));
  EXPECT_TRUE(fails_with(make(RowMajor(4, 0), RowMajor(4, 0)), ErrorCode::invalid_layout, {"at least 1", "4 x 0"}));
  EXPECT_TRUE(fails_with(make(RowMajor(-4, 64), RowMajor(-4, 2)), ErrorCode::invalid_layout, {"-4 x 64"}));
}

TEST_F(MakeMxView, RejectsPartialScaleBlocks) {
  EXPECT_TRUE(fails_with(make(RowMajor(4, 33), RowMajor(4, 2)), ErrorCode::invalid_layout,
                         {"multiple of the 32-element scale block, got 33", "zero-pad the rows to 64"}));
}

TEST_F(MakeMxView, RejectsScalesOfOtherExtents) {
  for (const RowMajor block_layout : {RowMajor(4, 1), RowMajor(4, 3), RowMajor(3, 2)}) {
    EXPECT_TRUE(fails_with(make(RowMajor(4, 64), block_layout), ErrorCode::invalid_layout,
                           {"scales must be [4, 2] for values [4, 64] (one per 32 columns)",
                            fmt::format("got [{}, {}]", block_layout.row_count, block_layout.col_count)}));
  }
}

TEST_F(MakeMxView, RejectsStridesBelowTheRow) {
  EXPECT_TRUE(fails_with(make(RowMajor(4, 64, 63), RowMajor(4, 2)), ErrorCode::invalid_layout,
                         {"row lengths 64 and 2", "got 63 (values) and 2 (scales)"}));
  EXPECT_TRUE(fails_with(make(RowMajor(4, 64), RowMajor(4, 2, 1)), ErrorCode::invalid_layout,
                         {"row lengths 64 and 2", "got 64 (values) and 1 (scales)"}));
}

TEST_F(MakeMxView, RejectsNullPointers) {
  const RowMajor value_layout(4, 64);
  const RowMajor block_layout(4, 2);
  EXPECT_TRUE(fails_with(make_mx_view(nullptr, 256, scales_.data(), 8, value_layout, block_layout),
                         ErrorCode::invalid_argument, {"the value pointer is null"}));
  EXPECT_TRUE(fails_with(make_mx_view(values_.data(), 256, nullptr, 8, value_layout, block_layout),
                         ErrorCode::invalid_argument, {"the scale pointer is null"}));
}

// The spans of 2^37 x 2^32 values and of their scales are multiples of 2^64: offsets that wrapped would seem to need 0.
TEST_F(MakeMxView, RejectsSpansThatNoBufferCanHold) {
  const Index rows = Index{1} << 37;
  const Index cols = Index{1} << 32;
  EXPECT_TRUE(fails_with(make(RowMajor(rows, cols), RowMajor(rows, cols / 32)), ErrorCode::invalid_layout,
                         {"137438953472 rows of 4294967296 elements pass the limit of 2^62"}));
  EXPECT_TRUE(fails_with(make(RowMajor(2, 32), RowMajor(2, 1, Index{1} << 62)), ErrorCode::invalid_layout,
                         {"2 rows of 4611686018427387904 elements pass the limit of 2^62"}));
  const Index largest = std::numeric_limits<Index>::max();
  EXPECT_TRUE(fails_with(make(RowMajor(1, largest, 1), RowMajor(1, largest / 32)), ErrorCode::invalid_layout,
                         {"pass the limit of 2^62"}));
}

}  // namespace
}  // namespace millet
