// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/cpu/tiles/activations.hpp"

#include <atomic>

#include "millet/backends/cpu/tiles/threads.hpp"
#include "millet/numeric/bf16.hpp"
#include "millet/quantize/quantize_block.hpp"

namespace millet::cpu {

namespace {

// One block of bf16 or f32 from element `first` on.
E8M0 quantize(const Activations& a, Index first, E4M3 (&codes)[block_k]) noexcept {
  if (a.format == ActivationFormat::f32) {
    return quantize_block(static_cast<const float*>(a.values) + first, 1, ScaleMode::rceil, codes);
  }
  float widened[block_k];
  for (int i = 0; i < block_k; ++i) widened[i] = static_cast<const BF16*>(a.values)[first + i].value();
  return quantize_block(widened, 1, ScaleMode::rceil, codes);
}

bool decode_rows(const StripKernels& kernels, const Activations& a, const DecodedActivations& decoded, Index blocks,
                 Index first_row, Index last_row) noexcept {
  bool plain = true;
  for (Index row = first_row; row < last_row; ++row) {
    if (a.format == ActivationFormat::mx) {
      const auto* const codes = static_cast<const E4M3*>(a.values) + row * a.value_stride;
      const E8M0* const scales = a.scales + row * a.scale_stride;
      plain = kernels.decode_activations(&codes->bits, &scales->bits, blocks, decoded, 0, row) && plain;
      continue;
    }
    for (Index block = 0; block < blocks; ++block) {
      E4M3 codes[block_k];
      const E8M0 scale = quantize(a, row * a.value_stride + block * block_k, codes);
      plain = kernels.decode_activations(&codes->bits, &scale.bits, 1, decoded, block, row) && plain;
    }
  }
  return plain;
}

}  // namespace

DecodedActivations decode_activations(const StripKernels& kernels, const Activations& a, Index rows, Index k,
                                      Workspace workspace) {
  auto* const values = static_cast<float*>(workspace.data);
  DecodedActivations decoded{values, reinterpret_cast<std::uint8_t*>(values + rows * k), rows, true};
  const Index blocks = MxBlock::count(k);
  std::atomic<bool> plain{true};
  share_out(rows, [&](Index first, Index last) {
    if (!decode_rows(kernels, a, decoded, blocks, first, last)) plain.store(false, std::memory_order_relaxed);
  });
  decoded.plain = plain.load(std::memory_order_relaxed);
  return decoded;
}

}  // namespace millet::cpu
