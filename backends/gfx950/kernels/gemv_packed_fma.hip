// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/gfx950/kernels/gemv_packed_fma_body.hpp"
#include "millet/backends/gfx950/tiles/instances.hpp"

#define MILLET_DEFINE(tokens, waves, steps, row_major, bf16, symbol)                                   \
  extern "C" __attribute__((global, amdgpu_flat_work_group_size(waves * 64, waves * 64))) void symbol( \
      const millet::gfx950::GemmArguments x) {                                                         \
    millet::gfx950::gemv_packed_fma<tokens, waves, steps, row_major, bf16>(x);                         \
  }
#define MILLET_DEFINE_SHAPE(waves, steps) MILLET_GEMV_KERNELS_OF(MILLET_DEFINE, waves, steps)
MILLET_GEMV_SHAPES(MILLET_DEFINE_SHAPE)
