// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "millet/layout/mapping.hpp"

namespace millet {

/// What the operating system says about this machine and its state. What it does not say stays empty or 0.
struct Machine {
  std::string cpu;       ///< model name
  Index cores = 0;       ///< online
  std::string affinity;  ///< CPUs that this process may use, e.g. "0-1"
  Index affinity_count = 0;
  std::string governor;    ///< of CPU 0
  std::string os;          ///< distribution and kernel
  std::string huge_pages;  ///< state of transparent huge pages: always, madvise, never
  std::string container;   ///< "docker", "kubernetes", ...
  bool virtual_machine = false;
  double load = 0;  ///< one-minute load average
  Index memory_bytes = 0;
  Index available_bytes = 0;  ///< what new processes may use without swapping, limits of a control group included
  Index last_level_cache_bytes = 0;
  std::string host_hash;   ///< tells machines apart without naming them
  bool subnormals = true;  ///< honoured by this thread (MXCSR)
};

[[nodiscard]] Machine inspect_machine();

/// What makes times taken on `machine` doubtful, each a sentence with the remedy.
/// \param threads  that the run computes with
[[nodiscard]] std::vector<std::string> doubts(const Machine& machine, Index threads);

/// Makes this process keep the memory that it frees, in 2 MB pages where the system grants them, and not give it back.
///
/// A run allocates, fills and frees gigabytes for every case. Touching new 4 KB pages takes longer than filling them,
/// and much longer in a virtual machine. Does nothing where the C library is not glibc or a sanitizer replaces its
/// allocator.
void keep_freed_memory();

/// Bytes that can be allocated now: Machine::available_bytes, asked again, and what this process freed but kept.
[[nodiscard]] Index available_memory_bytes();

/// Now in UTC, ISO 8601 to the second.
[[nodiscard]] std::string utc_now();

/// A folder for results without a name given: "results/2026-01-31-hostname".
[[nodiscard]] std::string default_results_folder();

}  // namespace millet
