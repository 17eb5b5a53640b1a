// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/device/host_ceilings.hpp"
#include "millet/measure/sampler.hpp"

namespace millet {

/// The host's roofs in the rounds of one case.
struct HostRoofs {
  Index threads = 0;
  std::string description;  ///< of the loops
  double read_bytes = 0;    ///< of one sample
  double flops = 0;         ///< of one sample
  Measurement read;         ///< evidence not_run without memory to read
  Measurement multiply_add;
};

/// Bytes that a sample of read_contender reads for a case whose calls read `weight_bytes`: a cold sample long enough
/// for its start not to matter, a hot one the very bytes, several times if they are few.
[[nodiscard]] Index roof_sample_bytes(Protocol protocol, Index weight_bytes) noexcept;

/// Samples of the read loop: cold ones go on where the last one ended, in a buffer of more than twice the last-level
/// cache; hot ones read the same bytes every time. `loops` must outlive it, and have a buffer.
[[nodiscard]] Contender read_contender(const HostRoofLoops& loops, Protocol protocol, Index weight_bytes);

/// Steps of the multiply-add loop that do at least `flops` operations, and no fewer than take a clock well.
[[nodiscard]] Index roof_sample_steps(const HostRoofLoops& loops, double flops) noexcept;

/// Samples of the multiply-add loop. `loops` must outlive it.
[[nodiscard]] Contender multiply_add_contender(const HostRoofLoops& loops, Index steps);

/// The roofs of a case: those of its own rounds where there are any, else the ones measured at the start of the run;
/// the caches' are always from there.
[[nodiscard]] Ceilings ceilings_of_case(const Ceilings& at_start, const HostRoofs& rounds, Protocol protocol);

}  // namespace millet
