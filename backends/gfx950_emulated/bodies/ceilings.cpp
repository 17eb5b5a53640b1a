// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "bodies.hpp"
#include "millet/backends/gfx950/tiles/ceilings_body.hpp"

namespace millet::gfx950_emulated {

std::span<const Body> ceilings_bodies() noexcept {
  static constexpr std::array bodies{body_of<gfx950::ReadArguments, gfx950::read_streaming>(),
                                     body_of<gfx950::PeakArguments, gfx950::mfma_peak>()};
  return bodies;
}

}  // namespace millet::gfx950_emulated
