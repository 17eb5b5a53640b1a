// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/kernel_benchmarks.hpp"

#include <benchmark/benchmark.h>

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "benchmarks/stop.hpp"
#include "cases/shape_cases.hpp"
#include "millet/backends/registry.hpp"
#include "millet/dispatch/kernel_instance.hpp"
#include "operands/generate.hpp"
#include "operands/workload.hpp"

namespace millet {
namespace {

constexpr Index ranks = 4;
constexpr Index tokens[] = {1, 4, 16};

/// A kernel on operands of its own, and what a call moves and computes.
template <class P>
struct Prepared {
  KernelInstance<P> instance;
  double bytes;
};

/// Copies of the weights that together pass twice the last-level cache.
Expected<Index> cold_copies(const Backend& backend, double weight_bytes) {
  const auto device = backend.device_info();
  if (!device) return fail(device.error().code, "{}", device.error().message);
  return static_cast<Index>(2.0 * static_cast<double>(device->last_level_cache_bytes) / weight_bytes) + 1;
}

Expected<Prepared<GemmProblem>> prepare(const Backend& backend, const GemmKernel& kernel, const DenseShape& shape,
                                        Index m) {
  const auto workload = DenseWorkload::make(shape, {}, m, {});
  if (!workload) return fail(workload.error().code, "{}", workload.error().message);
  const auto problem = make_gemm_problem(m, shape.n, shape.k);
  if (!problem) return fail(problem.error().code, "{}", problem.error().message);
  const auto copies = cold_copies(backend, problem->weight_bytes());
  if (!copies) return fail(copies.error().code, "{}", copies.error().message);
  auto instance = KernelInstance<GemmProblem>::create(backend, kernel, 0, workload->operands(*problem), *copies);
  if (!instance) return fail(std::move(instance));
  return Prepared<GemmProblem>{*std::move(instance), problem->bytes()};
}

Expected<Prepared<GroupedProblem>> prepare(const Backend& backend, const GroupedKernel& kernel, const MoeShape& shape,
                                           Index m) {
  const OperandOptions options;
  const auto batch = route_tokens(shape, m, options);
  if (!batch) return fail(batch.error().code, "{}", batch.error().message);
  const auto pool = random_expert_pool(shape.experts, shape.n, shape.k, options.scale_mode, options.seed);
  const auto workload = GroupedWorkload::make(*batch, pool, options);
  if (!workload) return fail(workload.error().code, "{}", workload.error().message);
  const double used_bytes = static_cast<double>(batch->used) * batch->problem.expert_bytes();
  const auto copies = cold_copies(backend, used_bytes);
  if (!copies) return fail(copies.error().code, "{}", copies.error().message);
  auto instance = KernelInstance<GroupedProblem>::create(backend, kernel, 0, workload->operands(*batch), *copies);
  if (!instance) return fail(std::move(instance));
  return Prepared<GroupedProblem>{*std::move(instance), batch->problem.bytes(batch->used)};
}

/// Times calls one after the other; the library calls this several times for one result, so operands are kept until the
/// next benchmark wants others.
template <class P, class Shape>
void run_kernel(benchmark::State& state, const std::string& name, const Backend& backend, const KernelFor<P>& kernel,
                const Shape& shape, Index m) {
  static std::string prepared_for;
  static std::optional<Prepared<P>> prepared;
  if (prepared_for != name) {
    prepared.reset();
    auto made = prepare(backend, kernel, shape, m);
    if (!made) return stop(state, made.error().message);
    prepared.emplace(*std::move(made));
    prepared_for = name;
  }
  Index copy = 0;
  for ([[maybe_unused]] auto iteration : state) {
    auto done = prepared->instance.run(Stream{}, copy++);
    if (done) done = backend.synchronize(Stream{});
    if (!done) return stop(state, done.error().message);
  }
  const auto calls = static_cast<double>(state.iterations());
  state.SetBytesProcessed(static_cast<Index>(calls * prepared->bytes));
  state.SetItemsProcessed(state.iterations());
  state.counters["FLOP/s"] =
      benchmark::Counter(calls * prepared->instance.problem().flops(), benchmark::Counter::kIsRate);
}

template <class P, class Shape>
void register_kernels(const Backend& backend, const ShapeCases& cases, const Shape& shape) {
  for (const KernelFor<P>& kernel : backend.kernels<P>()) {
    for (const Index m : tokens) {
      if constexpr (std::same_as<P, GemmProblem>) {
        if (!kernel.supports({m, shape.n, shape.k})) continue;
      }
      const std::string name = fmt::format("{}/{}", kernel.id, case_name(cases, m));
      benchmark::RegisterBenchmark(name.c_str(),
                                   [&backend, &kernel, name, shape, m](benchmark::State& state) {
                                     run_kernel<P>(state, name, backend, kernel, shape, m);
                                   })
          ->Unit(benchmark::kMicrosecond)
          ->UseRealTime();
    }
  }
}

}  // namespace

Expected<void> register_kernel_benchmarks() {
  for (const Backend& backend : registered_backends()) {
    if (!backend.has_times || !backend.available()) continue;
    for (const std::string_view preset : {"seed-dense", "m3"}) {
      const auto all = cases_of_preset(preset);
      if (!all) return fail(all.error().code, "{}", all.error().message);
      for (const ShapeCases& cases : *all) {
        if (const auto* dense = std::get_if<DenseShape>(&cases.shape); dense != nullptr) {
          if (preset == "seed-dense" && dense->tp == ranks) register_kernels<GemmProblem>(backend, cases, *dense);
        } else if (const auto& moe = std::get<MoeShape>(cases.shape); moe.tp == ranks) {
          register_kernels<GroupedProblem>(backend, cases, moe);
        }
      }
    }
  }
  return {};
}

}  // namespace millet
