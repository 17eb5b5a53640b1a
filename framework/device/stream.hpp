// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "millet/error/expected.hpp"

namespace millet {

/// An ordered queue of a backend's work: cudaStream_t, hipStream_t, or nothing where calls are synchronous. The default
/// value is the backend's default stream.
struct Stream {
  void* handle = nullptr;
};

/// Puts one kernel call on a stream. Captures everything that the call needs.
using Launch = std::function<Expected<void>(Stream)>;

/// How a batch of launches reaches the device.
enum class Replay {
  eager,  ///< one call after the other, as the host issues them
  graph,  ///< recorded once and replayed as one graph, where the device has graphs; no host cost between launches
};

/// A batch of launches that is ready to be timed: each call runs it once and returns the seconds that the device's
/// clock saw from the first launch to the end of the last.
using TimedBatch = std::function<Expected<double>()>;

/// Runs the batch for about `seconds` of its own time, at least 8 times, and returns the median. Errors: the batch's.
[[nodiscard]] Expected<double> median_seconds(const TimedBatch& batch, double seconds);

}  // namespace millet
