// SPDX-License-Identifier: Apache-2.0
#include "kernels.hpp"

#include "bodies/bodies.hpp"

namespace millet::gfx950_emulated {

namespace {

/// Null if there is none.
const Body* find_body(int kernel) noexcept {
  if (kernel < 0) return nullptr;
  auto at = static_cast<std::size_t>(kernel);
  for (const std::span<const Body> family :
       {gemm_mfma_scale_bodies(), grouped_gemm_mfma_scale_bodies(), gemv_packed_fma_bodies(),
        grouped_gemv_packed_fma_bodies(), ceilings_bodies()}) {
    if (at < family.size()) return &family[at];
    at -= family.size();
  }
  return nullptr;
}

}  // namespace

Expected<void> run_kernel(const gfx950::KernelLaunch& x, std::uint64_t order_seed) {
  const auto kernels = gfx950::compiled_kernels();
  const Body* const body = find_body(x.kernel);
  if (body == nullptr || static_cast<std::size_t>(x.kernel) >= kernels.size()) {
    return fail(ErrorCode::device_error, "gfx950_emulated: no kernel {} of {}", x.kernel, kernels.size());
  }
  const gfx950::CompiledKernel& kernel = kernels[static_cast<std::size_t>(x.kernel)];
  if (x.argument_bytes != body->argument_bytes) {
    return fail(ErrorCode::device_error, "gfx950_emulated: {} takes {} bytes of arguments, got {}", kernel.symbol,
                body->argument_bytes, x.argument_bytes);
  }
  auto done = run_grid(
      {x.groups_x, x.groups_y, kernel.threads}, [&] { body->run(x.arguments); }, order_seed);
  if (!done) return fail(done.error().code, "{}: {}", kernel.symbol, done.error().message);
  return {};
}

}  // namespace millet::gfx950_emulated
