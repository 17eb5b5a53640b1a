// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "millet/layout/mapping.hpp"

namespace millet {

/// What a backend runs on. `architecture` and `compute_units` are part of the key of tuned tables.
struct DeviceInfo {
  std::string name;          ///< marketing name, for people
  std::string architecture;  ///< instruction set that the kernels run with: "x86-64-v3", "sm_90a", "gfx950"
  Index compute_units = 0;   ///< threads the backend uses on a CPU; SMs or CUs on a GPU
  Index last_level_cache_bytes = 0;
  Index memory_bytes = 0;
  std::string runtime;  ///< library, execution space, driver and their versions
};

}  // namespace millet
