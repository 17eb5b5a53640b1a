// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/host_backend.hpp"

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "millet/device/host_info.hpp"

namespace millet {

namespace {

Expected<void> copy(void* to, const void* from, Index bytes, Stream) {
  if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
  return {};
}

Expected<TimedBatch> prepare_batch(std::vector<Launch> launches, Replay, Stream stream) {
  return TimedBatch([launches = std::move(launches), stream]() -> Expected<double> {
    const auto start = std::chrono::steady_clock::now();
    for (const Launch& launch : launches) {
      if (auto launched = launch(stream); !launched) return fail(std::move(launched));
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  });
}

}  // namespace

Expected<DeviceBuffer> allocate_host_memory(Index bytes) {
  // Whole 2 MB pages for large buffers: streaming weights through 4 KB pages would miss the TLB every 4 KB.
  constexpr Index huge_page = Index{2} << 20;
  const Index alignment = bytes >= huge_page ? huge_page : 256;
  const Index size = round_up_to_tile(bytes < 1 ? 1 : bytes, alignment);
  void* const data = std::aligned_alloc(static_cast<std::size_t>(alignment), static_cast<std::size_t>(size));
  if (data == nullptr) return fail(ErrorCode::unavailable, "no host memory for a buffer of {} bytes", bytes);
  advise_huge_pages(data, size);
  std::memset(data, 0, static_cast<std::size_t>(size));
  return DeviceBuffer(data, bytes, [](void* p) noexcept { std::free(p); });
}

Backend make_host_backend() noexcept {
  Backend b{};
  b.allocate = allocate_host_memory;
  b.copy_to_device = copy;
  b.copy_to_host = copy;
  b.create_stream = []() -> Expected<Stream> { return Stream{}; };
  b.destroy_stream = [](Stream) noexcept {};
  b.synchronize = [](Stream) -> Expected<void> { return {}; };
  b.prepare_batch = prepare_batch;
  b.launches_per_sample = 1;
  return b;
}

}  // namespace millet
