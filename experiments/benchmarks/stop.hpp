// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include <string>

namespace millet {

/// Ends a benchmark with an error, which also makes the program's exit code 1.
void stop(benchmark::State& state, const std::string& reason);

/// Whether a benchmark of this process was stopped.
[[nodiscard]] bool any_was_stopped() noexcept;

}  // namespace millet
