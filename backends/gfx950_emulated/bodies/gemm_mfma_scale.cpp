// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/gfx950/kernels/gemm_mfma_scale_body.hpp"

#include <array>

#include "bodies.hpp"
#include "millet/backends/gfx950/tiles/instances.hpp"

#define MILLET_BODY(tiles, waves, steps, row_major, bf16, symbol) \
  body_of<gfx950::GemmArguments, gfx950::gemm_mfma_scale<tiles, waves, steps, row_major, bf16>>(),
#define MILLET_BODIES(waves, steps) MILLET_GEMM_KERNELS_OF(MILLET_BODY, waves, steps)

namespace millet::gfx950_emulated {

std::span<const Body> gemm_mfma_scale_bodies() noexcept {
  static constexpr std::array bodies{MILLET_GEMM_SHAPES(MILLET_BODIES)};
  return bodies;
}

}  // namespace millet::gfx950_emulated
