// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/gfx950/kernels/grouped_gemm_mfma_scale_body.hpp"

#include <array>

#include "bodies.hpp"
#include "millet/backends/gfx950/tiles/instances.hpp"

#define MILLET_BODY(waves, steps, row_major, bf16, symbol) \
  body_of<gfx950::GroupedArguments, gfx950::grouped_gemm_mfma_scale<waves, steps, row_major, bf16>>(),
#define MILLET_BODIES(waves, steps) MILLET_GROUPED_KERNELS_OF(MILLET_BODY, waves, steps)

namespace millet::gfx950_emulated {

std::span<const Body> grouped_gemm_mfma_scale_bodies() noexcept {
  static constexpr std::array bodies{MILLET_GROUPED_SHAPES(MILLET_BODIES)};
  return bodies;
}

}  // namespace millet::gfx950_emulated
