// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "millet/backends/gfx950/tiles/arguments.hpp"
#include "millet/backends/gfx950/tiles/instances.hpp"
#include "millet/backends/gfx950/tiles/launch.hpp"

namespace millet::gfx950 {

namespace {

#define MILLET_GEMM_ENTRY(tiles, waves, steps, row_major, bf16, symbol) \
  CompiledKernel{#symbol, CodeObject::gemm_mfma_scale, waves * 64},
#define MILLET_GEMM_ENTRIES(waves, steps) MILLET_GEMM_KERNELS_OF(MILLET_GEMM_ENTRY, waves, steps)
#define MILLET_GROUPED_ENTRY(waves, steps, row_major, bf16, symbol) \
  CompiledKernel{#symbol, CodeObject::grouped_gemm_mfma_scale, waves * 64},
#define MILLET_GROUPED_ENTRIES(waves, steps) MILLET_GROUPED_KERNELS_OF(MILLET_GROUPED_ENTRY, waves, steps)
#define MILLET_GEMV_ENTRY(tokens, waves, steps, row_major, bf16, symbol) \
  CompiledKernel{#symbol, CodeObject::gemv_packed_fma, waves * 64},
#define MILLET_GEMV_ENTRIES(waves, steps) MILLET_GEMV_KERNELS_OF(MILLET_GEMV_ENTRY, waves, steps)
#define MILLET_GROUPED_GEMV_ENTRY(waves, steps, row_major, bf16, symbol) \
  CompiledKernel{#symbol, CodeObject::grouped_gemv_packed_fma, waves * 64},
#define MILLET_GROUPED_GEMV_ENTRIES(waves, steps) \
  MILLET_GROUPED_GEMV_KERNELS_OF(MILLET_GROUPED_GEMV_ENTRY, waves, steps)

constexpr std::array kernels{MILLET_GEMM_SHAPES(MILLET_GEMM_ENTRIES) MILLET_GROUPED_SHAPES(MILLET_GROUPED_ENTRIES)
                                 MILLET_GEMV_SHAPES(MILLET_GEMV_ENTRIES)
                                     MILLET_GROUPED_GEMV_SHAPES(MILLET_GROUPED_GEMV_ENTRIES)
                                         CompiledKernel{"read_streaming", CodeObject::ceilings, ceiling_threads},
                             CompiledKernel{"mfma_peak", CodeObject::ceilings, ceiling_threads}};

}  // namespace

std::span<const CompiledKernel> compiled_kernels() noexcept { return kernels; }

int find_compiled_kernel(std::string_view symbol) noexcept {
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    if (kernels[i].symbol == symbol) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace millet::gfx950
