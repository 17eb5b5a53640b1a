// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <Kokkos_Core.hpp>
#include <cstdio>

#include "benchmarks/kernel_benchmarks.hpp"
#ifdef MILLET_LAUNCH_BENCHMARKS
#include "benchmarks/hopper/launch_benchmarks.hpp"
#endif
#include "benchmarks/stop.hpp"

namespace millet {

namespace {
bool stopped = false;
}  // namespace

void stop(benchmark::State& state, const std::string& reason) {
  stopped = true;
  state.SkipWithError(reason.c_str());
}

bool any_was_stopped() noexcept { return stopped; }

}  // namespace millet

int main(int argc, char** argv) {
  const Kokkos::ScopeGuard kokkos(argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  if (const auto registered = millet::register_kernel_benchmarks(); !registered) {
    fmt::print(stderr, "{}\n", registered.error().message);
    return 1;
  }
#ifdef MILLET_LAUNCH_BENCHMARKS
  millet::register_launch_benchmarks();
#endif
  if (benchmark::RunSpecifiedBenchmarks() == 0) return 2;  // the filter matches none; the library has said so
  benchmark::Shutdown();
  return millet::any_was_stopped() ? 1 : 0;
}
