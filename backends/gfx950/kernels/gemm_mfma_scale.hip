// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/gfx950/kernels/gemm_mfma_scale_body.hpp"
#include "millet/backends/gfx950/tiles/instances.hpp"

// The bound on threads is exact: it sets how many registers a wave may have.
#define MILLET_DEFINE(tiles, waves, steps, row_major, bf16, symbol)                                    \
  extern "C" __attribute__((global, amdgpu_flat_work_group_size(waves * 64, waves * 64))) void symbol( \
      const millet::gfx950::GemmArguments x) {                                                         \
    millet::gfx950::gemm_mfma_scale<tiles, waves, steps, row_major, bf16>(x);                          \
  }
#define MILLET_DEFINE_SHAPE(waves, steps) MILLET_GEMM_KERNELS_OF(MILLET_DEFINE, waves, steps)
MILLET_GEMM_SHAPES(MILLET_DEFINE_SHAPE)
