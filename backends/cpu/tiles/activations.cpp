// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/cpu/tiles/activations.hpp"

#include <atomic>

#include "millet/backends/cpu/tiles/threads.hpp"
#include "millet/numeric/bf16.hpp"

namespace millet::cpu {

namespace {

bool decode_row(const StripKernels& kernels, const Activations& a, const DecodedActivations& decoded, Index blocks,
                Index row) noexcept {
  const Index first = row * a.value_stride;
  switch (a.format) {
    case ActivationFormat::bf16:
      return kernels.quantize_activations(static_cast<const BF16*>(a.values) + first, true, blocks, decoded, row);
    case ActivationFormat::f32:
      return kernels.quantize_activations(static_cast<const float*>(a.values) + first, false, blocks, decoded, row);
    case ActivationFormat::mx:
      break;
  }
  const auto* const codes = static_cast<const E4M3*>(a.values) + first;
  const E8M0* const scales = a.scales + row * a.scale_stride;
  return kernels.decode_activations(&codes->bits, &scales->bits, blocks, decoded, row);
}

}  // namespace

DecodedActivations decode_activations(const StripKernels& kernels, const Activations& a, Index rows, Index k,
                                      Workspace workspace) {
  auto* const values = static_cast<float*>(workspace.data);
  DecodedActivations decoded{values, reinterpret_cast<std::uint8_t*>(values + rows * k), rows, true};
  const Index blocks = MxBlock::count(k);
  std::atomic<bool> plain{true};
  share_out(rows, [&](Index first, Index last) {
    for (Index row = first; row < last; ++row) {
      if (!decode_row(kernels, a, decoded, blocks, row)) plain.store(false, std::memory_order_relaxed);
    }
  });
  decoded.plain = plain.load(std::memory_order_relaxed);
  return decoded;
}

}  // namespace millet::cpu
