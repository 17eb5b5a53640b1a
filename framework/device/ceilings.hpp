// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "millet/layout/mapping.hpp"

namespace millet {

/// A measured read rate over a working set.
struct ReadRate {
  Index footprint_bytes = 0;
  double bytes_per_second = 0;
};

/// What this device reached in simple loops, measured in this process: the roofs that kernels are held against.
struct Ceilings {
  double read_bytes_per_second = 0;     ///< streaming read over more than twice the last-level cache
  double fma_flops_per_second = 0;      ///< independent multiply-adds in registers, 2 operations each
  std::vector<ReadRate> read_by_level;  ///< smaller working sets, from the fastest cache outward
  Index threads = 0;                    ///< host threads, or 0 for a device
  std::string source;                   ///< how the figures were obtained
};

}  // namespace millet
