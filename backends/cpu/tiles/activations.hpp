// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/cpu/tiles/strip_arguments.hpp"
#include "millet/dispatch/operands.hpp"

namespace millet::cpu {

/// Bytes of workspace that decoded activations take.
[[nodiscard]] constexpr Index activation_bytes_decoded(Index rows, Index k) noexcept {
  return rows * k * Index{sizeof(float)} + rows * MxBlock::count(k);
}

/// Decodes A [rows, k] into the workspace; bf16 and f32 are first quantized, with the bits of quantize_mx (RCEIL).
[[nodiscard]] DecodedActivations decode_activations(const StripKernels& kernels, const Activations& a, Index rows,
                                                    Index k, Workspace workspace);

}  // namespace millet::cpu
