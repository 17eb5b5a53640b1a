// SPDX-License-Identifier: Apache-2.0
//
// What a user of the installed package writes: quantize, describe the problem, choose a backend and a kernel, run,
// check.
#include <fmt/format.h>

#include <Kokkos_Core.hpp>
#include <cmath>
#include <cstdlib>
#include <millet/backends/registry.hpp>
#include <millet/dispatch/kernel_instance.hpp>
#include <millet/dispatch/select.hpp>
#include <millet/problem/gemm_problem.hpp>
#include <millet/quantize/quantize_mx.hpp>
#include <millet/reference/error_bound.hpp>
#include <vector>

namespace {

millet::Expected<void> multiply_and_check(std::string_view backend_name) {
  constexpr millet::Index m = 2, n = 48, k = 96;
  const auto problem = millet::make_gemm_problem(m, n, k);
  if (!problem) return tl::unexpected(problem.error());

  std::vector<float> x(m * k), w(n * k);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = std::cos(static_cast<float>(i) * 0.3F);
  const auto a = millet::make_activations(problem->activation, x, m, k);
  if (!a) return tl::unexpected(a.error());
  const auto b = millet::quantize_mx(w, n, k);
  if (!b) return tl::unexpected(b.error());
  const millet::HostGemm operands{*problem, &*a, &*b};

  const auto backend = millet::find_backend(backend_name);
  if (!backend) return tl::unexpected(backend.error());
  if (const auto available = (*backend)->available(); !available) return available;
  const auto device = (*backend)->device_info();
  if (!device) return tl::unexpected(device.error());
  const auto chosen = millet::select(**backend, *device, *problem);
  if (!chosen) return tl::unexpected(chosen.error());
  const auto instance =
      millet::KernelInstance<millet::GemmProblem>::create(**backend, *chosen->kernel, chosen->policy, operands);
  if (!instance) return tl::unexpected(instance.error());
  if (const auto run = instance->run(millet::Stream{}); !run) return run;
  const auto c = instance->output();
  if (!c) return tl::unexpected(c.error());

  const millet::reference::ErrorBound bound{chosen->kernel->accumulator, problem->output};
  const auto comparison = millet::reference::compare(*c, millet::reference::eigen_gemm(operands), bound);
  fmt::print("{} on {}: {}\n", chosen->kernel->id, millet::to_string(*problem), comparison.verdict);
  if (!comparison.correct) return millet::fail(millet::ErrorCode::incorrect_result, "{}", comparison.verdict);
  return {};
}

}  // namespace

int main() {
  const Kokkos::ScopeGuard kokkos;
  for (const millet::Backend& backend : millet::registered_backends())
    fmt::print("{}: {}\n", backend.name, backend.description);
  if (const auto done = multiply_and_check("portable"); !done) {
    fmt::print(stderr, "{}: {}\n", millet::to_string(done.error().code), done.error().message);
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
