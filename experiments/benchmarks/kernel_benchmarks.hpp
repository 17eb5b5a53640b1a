// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/error/expected.hpp"

namespace millet {

/// Registers a benchmark "<kernel id>/<case>" for every kernel of every backend that can run here, on the shapes of one
/// rank of four with 1, 4 and 16 tokens: the dense layers of the preset seed-dense, the expert layers of m3.
///
/// Weights rotate over more than twice the last-level cache. What a call costs through the public entry point is timed;
/// `millet run` has the statistics, the oracle and the device's own clock.
/// Errors: those of the presets.
[[nodiscard]] Expected<void> register_kernel_benchmarks();

}  // namespace millet
