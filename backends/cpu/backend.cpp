// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/backend.hpp"

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "millet/backends/cpu/kernels/gemm_strip.hpp"
#include "millet/backends/cpu/kernels/gemv_strip.hpp"
#include "millet/backends/cpu/kernels/grouped_gemm_strip.hpp"

namespace millet::cpu {

namespace {

Expected<void> available() {
  auto chosen = chosen_instruction_set();
  if (!chosen) return fail(std::move(chosen));
  return {};
}

Expected<DeviceInfo> device_info() {
  const InstructionSet& set = *chosen_instruction_set().value();
  DeviceInfo info =
      host_device_info(thread_count(), fmt::format("{} kernels, {}, subnormals {}", set.name, threads_name(),
                                                   subnormals_are_fast() ? "as they are" : "by the exact route"));
  info.architecture = set.architecture;
  return info;
}

// The device is the host: memory is memory, and every call is over when it returns.

Expected<DeviceBuffer> allocate(Index bytes) {
  // Whole 2 MB pages for large buffers: streaming weights through 4 KB pages would miss the TLB every 4 KB.
  constexpr Index huge_page = Index{2} << 20;
  const Index alignment = bytes >= huge_page ? huge_page : 256;
  const Index size = round_up_to_tile(bytes < 1 ? 1 : bytes, alignment);
  void* const data = std::aligned_alloc(static_cast<std::size_t>(alignment), static_cast<std::size_t>(size));
  if (data == nullptr) return fail(ErrorCode::unavailable, "cpu: no memory for a buffer of {} bytes", bytes);
  advise_huge_pages(data, size);
  std::memset(data, 0, static_cast<std::size_t>(size));
  return DeviceBuffer(data, bytes, [](void* p) noexcept { std::free(p); });
}

Expected<void> copy(void* to, const void* from, Index bytes, Stream) {
  if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
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

Expected<Ceilings> measure_ceilings(double seconds) { return measure_host_ceilings(seconds, thread_count()); }

// Best first: prepared weights before row-major ones.
constexpr std::array gemm_kernels{describe<GemvStrip<StripWeights>>(), describe<GemmStrip<StripWeights>>(),
                                  describe<GemvStrip<RowMajorWeights>>(), describe<GemmStrip<RowMajorWeights>>()};
constexpr std::array grouped_kernels{describe<GroupedGemmStrip<StripWeights>>(),
                                     describe<GroupedGemmStrip<RowMajorWeights>>()};

}  // namespace

Backend backend() noexcept {
  Backend b{};
  b.name = "cpu";
  b.description = "hand-written SIMD for x86-64, vectors of the compiler elsewhere";
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
  b.grouped_kernels = grouped_kernels;
  return b;
}

}  // namespace millet::cpu
