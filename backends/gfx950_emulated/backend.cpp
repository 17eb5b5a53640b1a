// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/probe_arithmetic.hpp"

#include <array>
#include <cstdlib>
#include <cstring>

#include "kernels.hpp"
#include "millet/backends/gfx950/kernels/gemm_mfma_scale.hpp"
#include "millet/backends/gfx950/kernels/gemv_packed_fma.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemm_mfma_scale.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemv_packed_fma.hpp"

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

// The device's memory is the host's, and every call is over when it returns.
Expected<void> copy(void* to, const void* from, Index bytes, Stream) {
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
  return {};
}
Expected<Stream> create_stream() { return Stream{}; }
void destroy_stream(Stream) noexcept {}
Expected<void> synchronize(Stream) { return {}; }

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
  Backend b{};
  b.name = "gfx950_emulated";
  b.description = "the gfx950 kernels, executed lane by lane on the host: results, no times";
  b.available = available;
  b.device_info = device_info;
  b.allocate = allocate;
  b.copy_to_device = copy;
  b.copy_to_host = copy;
  b.create_stream = create_stream;
  b.destroy_stream = destroy_stream;
  b.synchronize = synchronize;
  b.prepare_batch = prepare_batch;
  b.launches_per_sample = 1;
  b.measure_ceilings = measure_ceilings;
  b.probe = [] { return probe_arithmetic(backend()); };
  b.has_times = false;
  b.gemm_kernels = gemm_kernels;
  b.grouped_kernels = grouped_kernels;
  return b;
}

}  // namespace millet::gfx950_emulated
