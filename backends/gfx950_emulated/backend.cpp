// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdlib>
#include <cstring>

#include "kernels.hpp"
#include "millet/backends/gfx950/kernels/gemm_mfma_scale.hpp"
#include "millet/backends/gfx950/kernels/gemv_packed_fma.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemm_mfma_scale.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemv_packed_fma.hpp"
#include "millet/dispatch/host_backend.hpp"
#include "millet/dispatch/probe_arithmetic.hpp"

namespace millet::gfx950_emulated {

namespace {

Expected<void> available() { return {}; }

Expected<DeviceInfo> device_info() {
  DeviceInfo info;
  info.name = "emulated gfx950";
  info.architecture = "gfx950_emulated";
  info.compute_units = 256;  // of an MI355X, so that dispatch chooses as it would there
  info.last_level_cache_bytes = Index{256} << 20;
  info.runtime = "one host thread";
  return info;
}

void release(void* data) noexcept {
  static_cast<void>(unregister_memory(data));
  std::free(data);
}

Expected<DeviceBuffer> allocate(Index bytes) {
  const Index wanted = bytes < 1 ? 1 : bytes;
  const auto size = static_cast<std::size_t>(round_up_to_tile(wanted, 256));
  void* const data = std::aligned_alloc(256, size);
  if (data == nullptr)
    return fail(ErrorCode::unavailable, "gfx950_emulated: no memory for a buffer of {} bytes", bytes);
  std::memset(data, 0, size);
  // Kernels may touch what was asked for and not a byte more.
  if (auto registered = register_memory(data, wanted); !registered) {
    std::free(data);
    return fail(std::move(registered));
  }
  return DeviceBuffer(data, bytes, release);
}

constexpr std::string_view no_times =
    "gfx950_emulated: emulation computes results and has no times; use 'millet verify --backend gfx950_emulated'";

Expected<TimedBatch> prepare_batch(std::vector<Launch>, Replay, Stream) {
  return fail(ErrorCode::unsupported, "{}", no_times);
}
Expected<Ceilings> measure_ceilings(double) { return fail(ErrorCode::unsupported, "{}", no_times); }

template <class Layout>
using Gemm = gfx950::GemmMfmaScale<Layout, EmulatorTarget>;
template <class Layout>
using GroupedGemm = gfx950::GroupedGemmMfmaScale<Layout, EmulatorTarget>;
template <class Layout>
using Gemv = gfx950::GemvPackedFma<Layout, EmulatorTarget>;
template <class Layout>
using GroupedGemv = gfx950::GroupedGemvPackedFma<Layout, EmulatorTarget>;

constexpr std::array gemm_kernels{describe<Gemm<gfx950::StripWeights>>(), describe<Gemm<RowMajorWeights>>(),
                                  describe<Gemv<gfx950::StripWeights>>(), describe<Gemv<RowMajorWeights>>()};
constexpr std::array grouped_kernels{
    describe<GroupedGemm<gfx950::StripWeights>>(), describe<GroupedGemm<RowMajorWeights>>(),
    describe<GroupedGemv<gfx950::StripWeights>>(), describe<GroupedGemv<RowMajorWeights>>()};

}  // namespace

Backend backend() noexcept {
  Backend b = make_host_backend();
  b.name = "gfx950_emulated";
  b.description = "the gfx950 kernels, executed lane by lane on the host: results, no times";
  b.available = available;
  b.device_info = device_info;
  b.allocate = allocate;
  b.prepare_batch = prepare_batch;
  b.measure_ceilings = measure_ceilings;
  b.probe = [] { return probe_arithmetic(backend()); };
  b.has_times = false;
  b.gemm_kernels = gemm_kernels;
  b.grouped_kernels = grouped_kernels;
  return b;
}

}  // namespace millet::gfx950_emulated
