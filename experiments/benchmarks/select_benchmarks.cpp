// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <array>
#include <string>
#include <vector>

#include "benchmarks/stop.hpp"
#include "cases/shape_cases.hpp"
#include "millet/dispatch/select.hpp"

/// What choosing a kernel costs: it stands before every launch of a caller who does not keep the choice.
namespace millet {
namespace {

// Kernels as backends have them, without anything to run.
Verdict gemv_supports(const GemmProblem& p) noexcept { return Envelope{.m_max = 4, .n_multiple = 16}.contains(p); }
Verdict gemm_supports(const GemmProblem& p) noexcept { return Envelope{.n_multiple = 64}.contains(p); }
double gemv_seconds(const GemmProblem& p, int policy, const DeviceInfo& device) noexcept {
  return p.bytes() / (1e9 * static_cast<double>(device.compute_units)) + 1e-7 * policy;
}
double gemm_seconds(const GemmProblem& p, int policy, const DeviceInfo& device) noexcept {
  return 2e-6 + p.flops() / (1e12 * static_cast<double>(device.compute_units)) + 1e-7 * policy;
}

GemmKernel kernel_called(std::string_view id, bool gemv, bool estimates) {
  GemmKernel kernel{};
  kernel.id = id;
  kernel.supports = gemv ? gemv_supports : gemm_supports;
  kernel.policy_count = 4;
  if (estimates) kernel.estimate_seconds = gemv ? gemv_seconds : gemm_seconds;
  return kernel;
}

template <bool estimates>
Backend backend_with_kernels() {
  static const std::array kernels{
      kernel_called("toy.gemv_prepared", true, estimates), kernel_called("toy.gemm_prepared", false, estimates),
      kernel_called("toy.gemv_row_major", true, estimates), kernel_called("toy.gemm_row_major", false, estimates)};
  Backend backend{};
  backend.name = "toy";
  backend.gemm_kernels = kernels;
  return backend;
}

DeviceInfo device() {
  DeviceInfo info;
  info.architecture = "sm_90a";
  info.compute_units = 132;
  return info;
}

/// The dense layers at every tensor-parallel degree: 105 problems.
Expected<std::vector<GemmProblem>> layer_problems() {
  const auto cases = cases_of_preset("tp");
  if (!cases) return fail(cases.error().code, "{}", cases.error().message);
  std::vector<GemmProblem> problems;
  for (const ShapeCases& layer : *cases) {
    const DenseShape& shape = std::get<DenseShape>(layer.shape);
    for (const Index m : shape.m) problems.push_back({m, shape.n, shape.k});
  }
  return problems;
}

Expected<TunedTable> tuned_for(const std::vector<GemmProblem>& problems, const Backend& backend) {
  std::string text = fmt::format("{}\n{}\n", tuned_table_schema, tuned_table_header);
  for (const GemmProblem& problem : problems) {
    TunedRow row;
    row.key = tuned_key(device(), problem);
    row.kernel = problem.m <= 4 ? "toy.gemv_prepared" : "toy.gemm_prepared";
    row.baseline = row.toolchain = row.commit = row.date = "none";
    text += to_csv(row) + "\n";
  }
  return TunedTable::parse(text, "tuned.csv", backend, true);
}

void select_kernel(benchmark::State& state, Chosen how) {
  const Backend backend = how == Chosen::cost_model ? backend_with_kernels<true>() : backend_with_kernels<false>();
  auto problems = layer_problems();
  if (!problems) return stop(state, problems.error().message);
  const auto tuned = tuned_for(*problems, backend);
  if (!tuned) return stop(state, tuned.error().message);
  SelectOptions options;
  if (how == Chosen::tuned_exact || how == Chosen::tuned_nearest_m) options.tuned = &*tuned;
  if (how == Chosen::tuned_nearest_m) {
    for (GemmProblem& problem : *problems) problem.m *= 3;  // no power of two, as the tuned ones are
  }
  const DeviceInfo where = device();
  std::size_t next = 0;
  for ([[maybe_unused]] auto iteration : state) {
    const auto selection = select(backend, where, (*problems)[next], options);
    if (!selection) return stop(state, selection.error().message);
    if (selection->how != how) return stop(state, "chosen as " + std::string(to_string(selection->how)));
    benchmark::DoNotOptimize(selection->kernel);
    next = next + 1 < problems->size() ? next + 1 : 0;
  }
  state.SetItemsProcessed(state.iterations());
  state.SetLabel(fmt::format("{} problems", problems->size()));
}
BENCHMARK_CAPTURE(select_kernel, tuned_exact, Chosen::tuned_exact);
BENCHMARK_CAPTURE(select_kernel, tuned_nearest_m, Chosen::tuned_nearest_m);
BENCHMARK_CAPTURE(select_kernel, cost_model, Chosen::cost_model);
BENCHMARK_CAPTURE(select_kernel, first_supported, Chosen::first_supported);

}  // namespace
}  // namespace millet
