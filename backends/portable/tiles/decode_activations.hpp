// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Kokkos_Core.hpp>

#include "millet/backends/portable/tiles/activations.hpp"
#include "millet/numeric/bf16.hpp"
#include "millet/quantize/quantize_mx.hpp"

namespace millet::portable {

/// Decodes, and for bf16 and f32 first quantizes, one block of one row of A.
struct DecodeActivations {
  Activations a;
  DecodedActivations decoded;

  MILLET_HD void operator()(Index item) const {
    const Index block = item / decoded.rows;
    const Index row = item % decoded.rows;
    const Index first = row * a.value_stride + block * MxBlock::k;
    E4M3 codes[MxBlock::k];
    E8M0 scale{};
    if (a.format == ActivationFormat::mx) {
      scale = a.scales[row * a.scale_stride + block];
      __builtin_memcpy(codes, static_cast<const E4M3*>(a.values) + first, sizeof(codes));
    } else if (a.format == ActivationFormat::f32) {
      scale = quantize_block(static_cast<const float*>(a.values) + first, 1, ScaleMode::rceil, codes);
    } else {
      float widened[MxBlock::k];
      for (Index i = 0; i < MxBlock::k; ++i) widened[i] = static_cast<const BF16*>(a.values)[first + i].value();
      scale = quantize_block(widened, 1, ScaleMode::rceil, codes);
    }
    float* const values = decoded.values + (block * decoded.rows + row) * MxBlock::k;
    for (int i = 0; i < MxBlock::k; ++i) values[i] = codes[summed_at(i)].value() * 0x1p60F;
    decoded.scales[block * decoded.rows + row] = scale.bits;
  }
};
static_assert(activation_exponent == 60);

/// Puts the decoding of `rows` rows on `space`.
inline DecodedActivations decode_activations(const Kokkos::DefaultExecutionSpace& space, const Activations& a,
                                             Index rows, Index k, Workspace workspace) {
  const auto decoded = DecodedActivations::in(workspace, rows, k);
  using Range = Kokkos::RangePolicy<Kokkos::DefaultExecutionSpace, Kokkos::IndexType<Index>>;
  Kokkos::parallel_for("portable.decode_activations", Range(space, 0, rows * MxBlock::count(k)),
                       DecodeActivations{a, decoded});
  return decoded;
}

}  // namespace millet::portable
