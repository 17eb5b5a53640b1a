// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "millet/device/ceilings.hpp"

namespace millet {

/// The work of one call, as the roofline counts it.
struct Work {
  double bytes = 0;  ///< compulsory traffic, scales included
  double flops = 0;

  /// Operations a byte.
  [[nodiscard]] constexpr double intensity() const noexcept { return bytes > 0 ? flops / bytes : 0.0; }
};

/// Two measured roofs: streaming reads and multiply-adds.
struct Roofline {
  Ceilings ceilings;

  /// The least time that `work` can take under these roofs, in seconds.
  [[nodiscard]] constexpr double lower_bound_seconds(const Work& work) const noexcept {
    return std::max(memory_seconds(work), compute_seconds(work));
  }
  [[nodiscard]] constexpr double memory_seconds(const Work& work) const noexcept {
    return work.bytes / ceilings.read_bytes_per_second;
  }
  [[nodiscard]] constexpr double compute_seconds(const Work& work) const noexcept {
    return work.flops / ceilings.fma_flops_per_second;
  }
  [[nodiscard]] constexpr bool memory_bound(const Work& work) const noexcept {
    return memory_seconds(work) >= compute_seconds(work);
  }
};

}  // namespace millet
