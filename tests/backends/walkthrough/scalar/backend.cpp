// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/backend.hpp"

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "kernels/gemm_naive.hpp"
#include "millet/device/host_ceilings.hpp"
#include "millet/device/host_info.hpp"

namespace millet::scalar {

namespace {

Expected<void> available() { return {}; }

Expected<DeviceInfo> device_info() { return host_device_info(1, "plain C++"); }

Expected<DeviceBuffer> allocate(Index bytes) {
  const auto size = static_cast<std::size_t>(round_up_to_tile(bytes < 1 ? 1 : bytes, 256));
  void* const data = std::aligned_alloc(256, size);
  if (data == nullptr) return fail(ErrorCode::unavailable, "scalar: no memory for a buffer of {} bytes", bytes);
  std::memset(data, 0, size);
  return DeviceBuffer(data, bytes, [](void* p) noexcept { std::free(p); });
}

// The device is the host, and every call is over when it returns.
Expected<void> copy(void* to, const void* from, Index bytes, Stream) {
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
  return {};
}
Expected<Stream> create_stream() { return Stream{}; }
void destroy_stream(Stream) noexcept {}
Expected<void> synchronize(Stream) { return {}; }

Expected<TimedBatch> prepare_batch(std::vector<Launch> launches, Replay, Stream stream) {
  return TimedBatch([launches = std::move(launches), stream]() -> Expected<double> {
    const auto start = std::chrono::steady_clock::now();
    for (const Launch& launch : launches) {
      if (auto launched = launch(stream); !launched) return fail(std::move(launched));
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  });
}

Expected<Ceilings> measure_ceilings(double seconds) { return measure_host_ceilings(seconds, 1); }

constexpr std::array gemm_kernels{describe<GemmNaive>()};  // best first

}  // namespace

Backend backend() noexcept {
  Backend b{};
  b.name = "scalar";
  b.description = "one thread of plain C++, for the walk-through";
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
  b.gemm_kernels = gemm_kernels;
  return b;
}

}  // namespace millet::scalar
