// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "millet/dispatch/backend.hpp"
#include "millet/measure/measurement.hpp"

namespace millet {

/// One thing to time: batches that are used in rotation, one a sample.
struct Contender {
  std::string name;
  std::vector<TimedBatch> batches;
  Index launches_per_batch = 1;
  CacheState cache;
};

struct SamplerOptions {
  double seconds = 1.0;  ///< time for all contenders together; may be passed to reach minimum_samples
  int minimum_samples = 5;
  int maximum_samples = 200;
  int warm_ups = 2;         ///< untimed batches of each contender
  int untimed_batches = 0;  ///< before each sample, for contenders that another process's work has disturbed
  bool interleave = true;   ///< one sample of each contender in turn, in a new random order each round
  std::uint64_t seed = 1;   ///< of that order
};

/// Splits the launches of one rotation into batches as `backend` likes them.
/// \param launches  one for each weight copy, in rotation order
/// Errors: invalid_argument without launches; those of the backend's prepare_batch.
[[nodiscard]] Expected<Contender> make_contender(const Backend& backend, std::string name, std::vector<Launch> launches,
                                                 Replay replay, CacheState cache);

/// Times the contenders: all in turn (so that a drift of the machine meets all alike), or one after the other for hot
/// samples, until the time is used up or every one has maximum_samples. Errors: invalid_argument for a contender
/// without batches; the first that a batch returns.
[[nodiscard]] Expected<std::vector<Measurement>> sample(std::span<const Contender> contenders,
                                                        const SamplerOptions& options);

/// The options of the hot + eager protocol: 200 samples after 30 warm-ups, not interleaved.
[[nodiscard]] SamplerOptions hot_eager_options(double seconds);

/// Effective clock of this core in GHz: a chain of one-cycle additions against the wall clock, about 0.2 ms.
[[nodiscard]] double probe_clock_ghz() noexcept;

}  // namespace millet
