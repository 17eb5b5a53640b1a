// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Kokkos_Core.hpp>

#include "millet/backends/portable/tiles/lanes.hpp"
#include "millet/dispatch/operands.hpp"
#include "millet/numeric/bf16.hpp"
#include "millet/quantize/quantize_mx.hpp"

namespace millet::portable {

/// A as the products want it: decoded once a call into the workspace. Block after block, and in a block row after row,
/// so that the rows of one block are contiguous: with a power-of-two row stride they would share a few cache sets.
struct DecodedActivations {
  float* values = nullptr;         ///< [blocks][rows][32], times 2^activation_exponent
  std::int32_t* scales = nullptr;  ///< [blocks][rows], e8m0 codes
  Index rows = 0;

  [[nodiscard]] static constexpr Index bytes(Index rows, Index k) noexcept {
    return rows * k * 4 + rows * MxBlock::count(k) * 4;
  }
  [[nodiscard]] static DecodedActivations in(Workspace workspace, Index rows, Index k) noexcept {
    auto* const values = static_cast<float*>(workspace.data);
    return {values, reinterpret_cast<std::int32_t*>(values + rows * k), rows};
  }
  [[nodiscard]] MILLET_HD const float* block_row(Index block, Index row) const noexcept {
    return values + (block * rows + row) * MxBlock::k;
  }
  [[nodiscard]] MILLET_HD std::int32_t scale(Index block, Index row) const noexcept {
    return scales[block * rows + row];
  }
};

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
    for (Index i = 0; i < MxBlock::k; ++i) values[i] = codes[i].value() * 0x1p60F;
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
