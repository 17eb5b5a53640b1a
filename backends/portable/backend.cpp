// SPDX-License-Identifier: Apache-2.0
#include <Kokkos_Core.hpp>
#include <array>
#include <chrono>

#include "millet/backends/portable/kernels/gemm_range.hpp"
#include "millet/backends/portable/kernels/gemv_range.hpp"
#include "millet/backends/portable/kernels/grouped_gemm_range.hpp"
#include "millet/dispatch/host_backend.hpp"

namespace millet::portable {

namespace {

using Space = Kokkos::DefaultExecutionSpace;
using Memory = Space::memory_space;
using HostBytes = Kokkos::View<char*, Kokkos::HostSpace, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;
using DeviceBytes = Kokkos::View<char*, Memory, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

Expected<void> available() {
  if (Kokkos::is_initialized()) return {};
  return fail(ErrorCode::unavailable, "portable: Kokkos is not initialized; call Kokkos::initialize in main");
}

Index threads() { return on_host ? static_cast<Index>(Space().concurrency()) : 0; }

Expected<DeviceInfo> device_info() {
  DeviceInfo info =
      host_device_info(threads(), fmt::format("Kokkos {}.{}.{} {}", KOKKOS_VERSION / 10000, KOKKOS_VERSION / 100 % 100,
                                              KOKKOS_VERSION % 100, Space::name()));
  if constexpr (!on_host) {
    info.name = Space::name();
    info.architecture = Space::name();
    info.compute_units = Space().concurrency();
  }
  return info;
}

Expected<DeviceBuffer> allocate(Index bytes) {
  if constexpr (on_host) {
    return allocate_host_memory(bytes);
  } else {
    try {
      void* const data = Kokkos::kokkos_malloc<Memory>("millet", static_cast<std::size_t>(bytes < 1 ? 1 : bytes));
      Kokkos::deep_copy(DeviceBytes(static_cast<char*>(data), static_cast<std::size_t>(bytes)), char{0});
      return DeviceBuffer(data, bytes, [](void* p) noexcept { Kokkos::kokkos_free<Memory>(p); });
    } catch (const std::exception& error) {
      return fail(ErrorCode::unavailable, "portable: no memory for a buffer of {} bytes: {}", bytes, error.what());
    }
  }
}

Expected<void> copy_to_device(void* device, const void* host, Index bytes, Stream) {
  const auto size = static_cast<std::size_t>(bytes);
  Kokkos::deep_copy(DeviceBytes(static_cast<char*>(device), size),
                    HostBytes(const_cast<char*>(static_cast<const char*>(host)), size));
  return {};
}

Expected<void> copy_to_host(void* host, const void* device, Index bytes, Stream) {
  const auto size = static_cast<std::size_t>(bytes);
  Kokkos::deep_copy(HostBytes(static_cast<char*>(host), size),
                    DeviceBytes(const_cast<char*>(static_cast<const char*>(device)), size));
  return {};
}

// Everything runs on the default instance of the execution space, so there is one stream.
Expected<Stream> create_stream() { return Stream{}; }
void destroy_stream(Stream) noexcept {}

Expected<void> synchronize(Stream) {
  Kokkos::fence();
  return {};
}

// Kokkos 3.4 has no graphs on every space: both kinds of replay issue the launches one by one, and host cost counts.
Expected<TimedBatch> prepare_batch(std::vector<Launch> launches, Replay, Stream stream) {
  return TimedBatch([launches = std::move(launches), stream]() -> Expected<double> {
    Kokkos::fence();
    const auto start = std::chrono::steady_clock::now();
    for (const Launch& launch : launches) {
      if (auto launched = launch(stream); !launched) return fail(std::move(launched));
    }
    Kokkos::fence();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  });
}

void on_each_thread(const std::function<void(Index thread)>& work) {
  using Range = Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace, Kokkos::IndexType<Index>>;
  Kokkos::parallel_for("portable.on_each_thread", Range(0, threads(), Kokkos::ChunkSize(1)),
                       [&](Index thread) { work(thread); });
  Kokkos::fence();
}

Expected<Ceilings> measure_ceilings(double seconds) {
  if constexpr (on_host) {
    return measure_host_ceilings(seconds, threads(), on_each_thread);
  } else {
    return fail(ErrorCode::unsupported,
                "portable: the ceilings of Kokkos::{} are not measured; use the device's own backend", Space::name());
  }
}

// Best first: prepared weights before row-major ones.
constexpr std::array gemm_kernels{describe<GemvRange<StripWeights>>(), describe<GemmRange<StripWeights>>(),
                                  describe<GemvRange<RowMajorWeights>>(), describe<GemmRange<RowMajorWeights>>()};
constexpr std::array grouped_kernels{describe<GroupedGemmRange<StripWeights>>(),
                                     describe<GroupedGemmRange<RowMajorWeights>>()};

}  // namespace

Backend backend() noexcept {
  Backend b{};
  b.name = "portable";
  b.description = "Kokkos kernels for every execution space";
  b.available = available;
  b.device_info = device_info;
  b.allocate = allocate;
  b.copy_to_device = copy_to_device;
  b.copy_to_host = copy_to_host;
  b.create_stream = create_stream;
  b.destroy_stream = destroy_stream;
  b.synchronize = synchronize;
  b.prepare_batch = prepare_batch;
  b.launches_per_sample = 1;
  b.measure_ceilings = measure_ceilings;
  if constexpr (on_host) b.on_each_thread = on_each_thread;
  b.gemm_kernels = gemm_kernels;
  b.grouped_kernels = grouped_kernels;
  return b;
}

}  // namespace millet::portable
