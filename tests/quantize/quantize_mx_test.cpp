// SPDX-License-Identifier: Apache-2.0
#include "millet/quantize/quantize_mx.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "error/fails_with.hpp"

namespace millet {
namespace {

std::vector<float> random_matrix(Index rows, Index cols) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(rows * cols));
  for (float& value : x) value = normal(random) * std::ldexp(1.0F, static_cast<int>(random() % 40) - 20);
  return x;
}

TEST(QuantizeMx, QuantizesEveryBlockOfEveryRowByItself) {
  const Index rows = 5;
  const Index cols = 96;
  const std::vector<float> x = random_matrix(rows, cols);
  for (const ScaleMode mode : scale_modes) {
    const Expected<MxMatrix<>> quantized = quantize_mx(x, rows, cols, mode);
    ASSERT_TRUE(quantized) << quantized.error().message;
    EXPECT_EQ(quantized->value_layout(), RowMajor(rows, cols));
    EXPECT_EQ(quantized->scale_layout(), row_major_scales(rows, cols));
    for (Index row = 0; row < rows; ++row) {
      for (Index block = 0; block < 3; ++block) {
        E4M3 codes[32];
        const E8M0 scale = quantize_block(x.data() + row * cols + block * 32, 1, mode, codes);
        EXPECT_EQ(quantized->scales()[row * 3 + block], scale);
        for (Index i = 0; i < 32; ++i) EXPECT_EQ(quantized->view().code(row, block * 32 + i), codes[i]);
      }
    }
  }
}

TEST(QuantizeMx, RceilIsTheDefault) {
  std::vector<float> x(32, 0.0F);
  x[3] = 480.0F;  // FLOOR and EVEN would keep scale 1
  x[4] = 448.0F;
  const Expected<MxMatrix<>> quantized = quantize_mx(x, 1, 32);
  ASSERT_TRUE(quantized);
  EXPECT_EQ(quantized->scales()[0].bits, 128);
  EXPECT_EQ(quantized->view()(0, 3), 480.0F);
}

TEST(QuantizeMx, RejectsOtherSizesAndPartialBlocks) {
  const std::vector<float> x(128, 1.0F);
  constexpr ErrorCode code = ErrorCode::invalid_layout;
  EXPECT_TRUE(fails_with(quantize_mx(x, 0, 32), code, {"at least 1, got 0 x 32"}));
  EXPECT_TRUE(fails_with(quantize_mx(x, 4, 0), code, {"at least 1, got 4 x 0"}));
  EXPECT_TRUE(fails_with(quantize_mx(x, -4, -32), code, {"at least 1, got -4 x -32"}));
  EXPECT_TRUE(fails_with(quantize_mx(x, 2, 32), code, {"2 x 32 elements wanted, the input holds 128"}));
  EXPECT_TRUE(fails_with(quantize_mx(x, 3, 32), code, {"3 x 32 elements wanted, the input holds 128"}));
  EXPECT_TRUE(fails_with(quantize_mx(x, 5, 32), code, {"5 x 32 elements wanted, the input holds 128"}));
  EXPECT_TRUE(fails_with(quantize_mx(std::span(x).first(66), 2, 33), code,
                         {"multiple of the 32-element scale block, got 33", "zero-pad the rows to 64"}));
  // Products and paddings that would wrap around to a size that fits.
  EXPECT_TRUE(fails_with(quantize_mx({}, Index{1} << 32, Index{1} << 32), code, {"the input holds 0"}));
  EXPECT_TRUE(fails_with(quantize_mx(x, 1, std::numeric_limits<Index>::max()), code, {"the input holds 128"}));
}

TEST(QuantizationError, IsZeroForWhatMxRepresents) {
  std::vector<float> x(64, 0.0F);
  x[0] = 448.0F;
  x[1] = -0.875F;
  const Expected<MxMatrix<>> quantized = quantize_mx(x, 1, 64);
  ASSERT_TRUE(quantized);
  const Expected<QuantizationError> error = quantization_error(x, quantized->view());
  ASSERT_TRUE(error);
  EXPECT_EQ(error->relative_frobenius, 0.0);
  EXPECT_EQ(error->worst_block_relative, 0.0);
  EXPECT_EQ(error->saturated, 0);
  EXPECT_EQ(error->nan_blocks, 0);
}

TEST(QuantizationError, IsZeroForAnAllZeroMatrix) {
  const std::vector<float> x(32, 0.0F);
  const Expected<QuantizationError> error = quantization_error(x, quantize_mx(x, 1, 32)->view());
  ASSERT_TRUE(error);
  EXPECT_EQ(error->relative_frobenius, 0.0);
  EXPECT_EQ(error->worst_block_relative, 0.0);
}

// Block 0 of row 0: 256 and 1.0625, which is a tie and becomes 1. Block 1: 3 and 4, exact. Row 1: only 2s and a block
// with a NaN, which the norms leave out.
TEST(QuantizationError, HandComputedMatrix) {
  std::vector<float> x(4 * 32, 0.0F);
  x[0] = 256.0F;
  x[1] = -1.0625F;
  x[32] = 3.0F;
  x[33] = 4.0F;
  x[64] = 2.0F;
  x[96] = std::numeric_limits<float>::quiet_NaN();
  x[97] = 1e30F;
  const Expected<MxMatrix<>> quantized = quantize_mx(x, 2, 64);
  ASSERT_TRUE(quantized);
  const Expected<QuantizationError> error = quantization_error(x, quantized->view());
  ASSERT_TRUE(error);
  const double input_of_block = 256.0 * 256.0 + 1.0625 * 1.0625;
  EXPECT_DOUBLE_EQ(error->worst_block_relative, 0.0625 / std::sqrt(input_of_block));
  EXPECT_DOUBLE_EQ(error->relative_frobenius, 0.0625 / std::sqrt(input_of_block + 9.0 + 16.0 + 4.0));
  EXPECT_EQ(error->nan_blocks, 1);
  EXPECT_EQ(error->saturated, 0);
}

// FLOOR keeps scale 1 for a maximum of 500: 500 and -480 clip to 448, 464 is the tie that rounds there by itself.
TEST(QuantizationError, CountsWhatClipped) {
  std::vector<float> x(32, 0.0F);
  x[0] = 500.0F;
  x[1] = -480.0F;
  x[2] = 464.0F;
  x[3] = 448.0F;
  const Expected<MxMatrix<>> quantized = quantize_mx(x, 1, 32, ScaleMode::floor);
  ASSERT_TRUE(quantized);
  const Expected<QuantizationError> error = quantization_error(x, quantized->view());
  ASSERT_TRUE(error);
  EXPECT_EQ(error->saturated, 2);
  const double lost = 52.0 * 52.0 + 32.0 * 32.0 + 16.0 * 16.0;
  const double input = 500.0 * 500.0 + 480.0 * 480.0 + 464.0 * 464.0 + 448.0 * 448.0;
  EXPECT_DOUBLE_EQ(error->relative_frobenius, std::sqrt(lost / input));
}

// x is contiguous whatever the strides of the quantized matrix are, and scales of 2^-127 do not underflow the norms.
TEST(QuantizationError, TakesPaddedRowsAndTinyValues) {
  std::vector<E4M3> values(2 * 40, E4M3{0x38});
  const std::vector<E8M0> scales = {E8M0{0}, E8M0{255}, E8M0{0}};
  std::vector<float> x(2 * 32, 0x1p-127F);
  x[32] = 0x1p-126F;  // row 1 starts with 2 scales, represented as 1
  const Expected<MxMatrixView<>> view =
      make_mx_view(values.data(), 80, scales.data(), 3, RowMajor(2, 32, 40), RowMajor(2, 1, 2));
  ASSERT_TRUE(view);
  const Expected<QuantizationError> error = quantization_error(x, *view);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->nan_blocks, 0);
  EXPECT_DOUBLE_EQ(error->worst_block_relative, std::sqrt(1.0 / 35.0));
  EXPECT_DOUBLE_EQ(error->relative_frobenius, std::sqrt(1.0 / 67.0));
}

TEST(QuantizationError, RejectsOtherSizes) {
  const std::vector<float> x(64, 1.0F);
  const Expected<MxMatrix<>> quantized = quantize_mx(x, 2, 32);
  ASSERT_TRUE(quantized);
  EXPECT_TRUE(fails_with(quantization_error(std::span(x).first(63), quantized->view()), ErrorCode::invalid_layout,
                         {"the input holds 63 elements, the matrix 2 x 32"}));
  EXPECT_TRUE(fails_with(quantization_error(std::span(x).first(32), quantized->view()), ErrorCode::invalid_layout,
                         {"the input holds 32 elements"}));
}

}  // namespace
}  // namespace millet
