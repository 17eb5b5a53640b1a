// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "millet/backends/gfx950/lane_maps.hpp"
#include "millet/layout/mapping.hpp"

// The machine's instructions that the kernels use, and nothing else. Kernels are written for one lane of a wave against
// this vocabulary; clang turns it into gfx950 instructions, and the host compiler into calls of the emulator.

namespace millet::gfx950 {

using Vec2u = std::uint32_t __attribute__((vector_size(8)));
using Vec4u = std::uint32_t __attribute__((vector_size(16)));
using Vec8u = std::uint32_t __attribute__((vector_size(32)));
using Vec2f = float __attribute__((vector_size(8)));
using Vec4f = float __attribute__((vector_size(16)));

/// How a load or store treats the caches.
enum class Cache {
  normal,
  streaming,  ///< read once: evict first (nt)
  device,     ///< seen by and seeing every work-group of the device, past the L2 of one die (sc1)
};

/// A byte offset that no buffer reaches: loads from it give zero.
inline constexpr std::uint32_t out_of_buffer = 0x80000000U;
/// Bytes that a buffer may have, so that out_of_buffer plus an offset within a row stays outside and does not wrap.
inline constexpr Index largest_buffer = 0x7FFFFFFF;

}  // namespace millet::gfx950

#if defined(__AMDGCN__) || defined(__HIP__)
#include "millet/backends/gfx950/device_instructions.hpp"
#else
#include "millet/backends/gfx950_emulated/instructions.hpp"
#endif
