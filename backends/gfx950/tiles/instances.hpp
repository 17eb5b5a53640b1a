// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which template parameters are compiled, as lists that the device files, the emulator and the host side all expand.
//
// A wave holds the weights of `steps` times 128 k in registers, eight of them a step, and issues all of their loads
// before it multiplies; `waves` makes up the work-group. More of either puts more bytes in flight and takes more
// registers.

/// X(waves, steps)
#define MILLET_GEMM_SHAPES(X) X(4, 2) X(4, 3) X(4, 4) X(8, 2) X(8, 3) X(8, 4) X(8, 6) X(8, 8)
#define MILLET_GROUPED_SHAPES(X) X(4, 1) X(4, 2) X(8, 3) X(8, 6)
#define MILLET_GEMV_SHAPES(X) X(8, 2) X(8, 3) X(8, 4) X(8, 6) X(8, 8)
#define MILLET_GROUPED_GEMV_SHAPES(X) X(4, 3) X(8, 3) X(8, 6)

/// X(tiles, waves, steps, row_major, bf16, symbol). Tiles of 16 tokens: 1, 2 or 4. bf16: activations that the kernel
/// quantizes, else e4m3 with e8m0 scales.
#define MILLET_GEMM_KERNELS_OF(X, waves, steps)                              \
  MILLET_GEMM_TILES(X, waves, steps, false, false, gemm_mfma_scale)          \
  MILLET_GEMM_TILES(X, waves, steps, false, true, gemm_mfma_scale_bf16)      \
  MILLET_GEMM_TILES(X, waves, steps, true, false, gemm_mfma_scale_row_major) \
  MILLET_GEMM_TILES(X, waves, steps, true, true, gemm_mfma_scale_row_major_bf16)
#define MILLET_GEMM_TILES(X, waves, steps, row_major, bf16, name)    \
  X(1, waves, steps, row_major, bf16, name##_t1_w##waves##_s##steps) \
  X(2, waves, steps, row_major, bf16, name##_t2_w##waves##_s##steps) \
  X(4, waves, steps, row_major, bf16, name##_t4_w##waves##_s##steps)
#define MILLET_GEMM_KERNELS_A_LAYOUT 6

/// X(waves, steps, row_major, bf16, symbol)
#define MILLET_GROUPED_KERNELS_OF(X, waves, steps)                                    \
  X(waves, steps, false, false, grouped_gemm_mfma_scale_w##waves##_s##steps)          \
  X(waves, steps, false, true, grouped_gemm_mfma_scale_bf16_w##waves##_s##steps)      \
  X(waves, steps, true, false, grouped_gemm_mfma_scale_row_major_w##waves##_s##steps) \
  X(waves, steps, true, true, grouped_gemm_mfma_scale_row_major_bf16_w##waves##_s##steps)
#define MILLET_GROUPED_KERNELS_A_LAYOUT 2

/// X(tokens, waves, steps, row_major, bf16, symbol). Tokens that go through the weights at once: 1, 2 or 4.
#define MILLET_GEMV_KERNELS_OF(X, waves, steps)                               \
  MILLET_GEMV_TOKENS(X, waves, steps, false, false, gemv_packed_fma)          \
  MILLET_GEMV_TOKENS(X, waves, steps, false, true, gemv_packed_fma_bf16)      \
  MILLET_GEMV_TOKENS(X, waves, steps, true, false, gemv_packed_fma_row_major) \
  MILLET_GEMV_TOKENS(X, waves, steps, true, true, gemv_packed_fma_row_major_bf16)
#define MILLET_GEMV_TOKENS(X, waves, steps, row_major, bf16, name)   \
  X(1, waves, steps, row_major, bf16, name##_t1_w##waves##_s##steps) \
  X(2, waves, steps, row_major, bf16, name##_t2_w##waves##_s##steps) \
  X(4, waves, steps, row_major, bf16, name##_t4_w##waves##_s##steps)
#define MILLET_GEMV_KERNELS_A_LAYOUT 6

/// X(waves, steps, row_major, bf16, symbol)
#define MILLET_GROUPED_GEMV_KERNELS_OF(X, waves, steps)                               \
  X(waves, steps, false, false, grouped_gemv_packed_fma_w##waves##_s##steps)          \
  X(waves, steps, false, true, grouped_gemv_packed_fma_bf16_w##waves##_s##steps)      \
  X(waves, steps, true, false, grouped_gemv_packed_fma_row_major_w##waves##_s##steps) \
  X(waves, steps, true, true, grouped_gemv_packed_fma_row_major_bf16_w##waves##_s##steps)
#define MILLET_GROUPED_GEMV_KERNELS_A_LAYOUT 2

namespace millet::gfx950 {

// Where each family begins in the list of compiled kernels, which has them in this order.
#define MILLET_ONE(waves, steps) +1
inline constexpr int first_grouped_gemm = (0 MILLET_GEMM_SHAPES(MILLET_ONE)) * 2 * MILLET_GEMM_KERNELS_A_LAYOUT;
inline constexpr int first_gemv =
    first_grouped_gemm + (0 MILLET_GROUPED_SHAPES(MILLET_ONE)) * 2 * MILLET_GROUPED_KERNELS_A_LAYOUT;
inline constexpr int first_grouped_gemv =
    first_gemv + (0 MILLET_GEMV_SHAPES(MILLET_ONE)) * 2 * MILLET_GEMV_KERNELS_A_LAYOUT;
#undef MILLET_ONE

}  // namespace millet::gfx950
