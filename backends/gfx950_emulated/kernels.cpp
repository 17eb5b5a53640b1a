// SPDX-License-Identifier: Apache-2.0
#include "kernels.hpp"

#include <array>
#include <cstring>

#include "millet/backends/gfx950/kernels/gemm_mfma_scale_body.hpp"
#include "millet/backends/gfx950/kernels/gemv_packed_fma_body.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemm_mfma_scale_body.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemv_packed_fma_body.hpp"
#include "millet/backends/gfx950/tiles/ceilings_body.hpp"
#include "millet/backends/gfx950/tiles/instances.hpp"

namespace millet::gfx950_emulated {

namespace {

struct Body {
  std::size_t argument_bytes;
  void (*run)(const void* arguments);
};

#define MILLET_GEMM_BODY(tiles, waves, steps, row_major, bf16, symbol)                                                 \
  Body{sizeof(gfx950::GemmArguments), [](const void* x) {                                                              \
         gfx950::gemm_mfma_scale<tiles, waves, steps, row_major, bf16>(*static_cast<const gfx950::GemmArguments*>(x)); \
       }},
#define MILLET_GEMM_BODIES(waves, steps) MILLET_GEMM_KERNELS_OF(MILLET_GEMM_BODY, waves, steps)
#define MILLET_GROUPED_BODY(waves, steps, row_major, bf16, symbol)       \
  Body{sizeof(gfx950::GroupedArguments), [](const void* x) {             \
         gfx950::grouped_gemm_mfma_scale<waves, steps, row_major, bf16>( \
             *static_cast<const gfx950::GroupedArguments*>(x));          \
       }},
#define MILLET_GROUPED_BODIES(waves, steps) MILLET_GROUPED_KERNELS_OF(MILLET_GROUPED_BODY, waves, steps)
#define MILLET_GEMV_BODY(tokens, waves, steps, row_major, symbol)                                                 \
  Body{sizeof(gfx950::GemmArguments), [](const void* x) {                                                         \
         gfx950::gemv_packed_fma<tokens, waves, steps, row_major>(*static_cast<const gfx950::GemmArguments*>(x)); \
       }},
#define MILLET_GEMV_BODIES(waves, steps) MILLET_GEMV_KERNELS_OF(MILLET_GEMV_BODY, waves, steps)
#define MILLET_GROUPED_GEMV_BODY(waves, steps, row_major, symbol)                                                    \
  Body{sizeof(gfx950::GroupedArguments), [](const void* x) {                                                         \
         gfx950::grouped_gemv_packed_fma<waves, steps, row_major>(*static_cast<const gfx950::GroupedArguments*>(x)); \
       }},
#define MILLET_GROUPED_GEMV_BODIES(waves, steps) MILLET_GROUPED_GEMV_KERNELS_OF(MILLET_GROUPED_GEMV_BODY, waves, steps)

// In the order of compiled_kernels().
constexpr std::array bodies{
    MILLET_GEMM_SHAPES(MILLET_GEMM_BODIES) MILLET_GROUPED_SHAPES(MILLET_GROUPED_BODIES)
        MILLET_GEMV_SHAPES(MILLET_GEMV_BODIES) MILLET_GROUPED_GEMV_SHAPES(MILLET_GROUPED_GEMV_BODIES)
            Body{sizeof(gfx950::ReadArguments),
                 [](const void* x) { gfx950::read_streaming(*static_cast<const gfx950::ReadArguments*>(x)); }},
    Body{sizeof(gfx950::PeakArguments),
         [](const void* x) { gfx950::mfma_peak(*static_cast<const gfx950::PeakArguments*>(x)); }}};

}  // namespace

Expected<void> run_kernel(const gfx950::KernelLaunch& x, std::uint64_t order_seed) {
  const auto kernels = gfx950::compiled_kernels();
  if (x.kernel < 0 || static_cast<std::size_t>(x.kernel) >= bodies.size() || kernels.size() != bodies.size()) {
    return fail(ErrorCode::device_error, "gfx950_emulated: no kernel {} of {}", x.kernel, bodies.size());
  }
  const auto at = static_cast<std::size_t>(x.kernel);
  if (x.argument_bytes != bodies[at].argument_bytes) {
    return fail(ErrorCode::device_error, "gfx950_emulated: {} takes {} bytes of arguments, got {}", kernels[at].symbol,
                bodies[at].argument_bytes, x.argument_bytes);
  }
  auto done = run_grid(
      {x.groups_x, x.groups_y, kernels[at].threads}, [&] { bodies[at].run(x.arguments); }, order_seed);
  if (!done) return fail(done.error().code, "{}: {}", kernels[at].symbol, done.error().message);
  return {};
}

}  // namespace millet::gfx950_emulated
