// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/cpu/tiles/activation_blocks.hpp"
#include "millet/backends/cpu/tiles/buffered_product.hpp"
#include "millet/backends/cpu/tiles/direct_product.hpp"

// Everything that an instruction set is compiled to.

namespace millet::cpu {

template <class L, bool Exact>
void decode_weights(const std::uint8_t* codes, float* values) noexcept {
  for (int v = 0; v < strip_rows / L::W; ++v) {
    typename L::Float w[4];
    decode_four<L, Exact ? Route::exact : Route::normal>(L::load_codes(codes + v * 4 * L::W), w);
    for (int j = 0; j < 4; ++j) L::store(values + j * strip_rows + v * L::W, w[j]);
  }
}

template <class L>
inline constexpr StripKernels kernels_of{multiply_directly<L>,
                                         multiply_buffered<L>,
                                         decode_activations<L>,
                                         quantize_activations<L>,
                                         {decode_weights<L, false>, 0x1p120F, false},
                                         {decode_weights<L, true>, 0x1p104F, true}};

}  // namespace millet::cpu
