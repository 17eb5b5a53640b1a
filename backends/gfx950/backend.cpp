// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/probe_arithmetic.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <type_traits>
#include <vector>

#include "millet/backends/gfx950/kernels/gemm_mfma_scale.hpp"
#include "millet/backends/gfx950/kernels/gemv_packed_fma.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemm_mfma_scale.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemv_packed_fma.hpp"
#include "millet/backends/gfx950/tiles/arguments.hpp"
#include "millet/backends/gfx950/tiles/hip_module.hpp"

namespace millet::gfx950 {
namespace {

/// The Infinity Cache that all dies share, in bytes: HIP reports only the L2 of one die. Source: AMD, "AMD CDNA 4
/// Architecture" white paper, and the data sheets of the MI350X and MI355X: 256 MB.
constexpr Index infinity_cache_bytes = Index{256} << 20;

hipStream_t to_hip(Stream stream) noexcept { return static_cast<hipStream_t>(stream.handle); }

/// "gfx950" of "gfx950:sramecc+:xnack-".
std::string_view architecture(const hipDeviceProp_t& properties) noexcept {
  const std::string_view name = properties.gcnArchName;
  return name.substr(0, name.find(':'));
}

Expected<void> available() {
  int devices = 0;
  if (const hipError_t error = hipGetDeviceCount(&devices); error != hipSuccess) {
    static_cast<void>(hipGetLastError());
    return fail(ErrorCode::unavailable, "gfx950: {}", hip_error_text(error));
  }
  if (devices == 0) return fail(ErrorCode::unavailable, "gfx950: HIP sees no device");
  int device = 0;
  hipDeviceProp_t properties{};
  if (auto got = checked("gfx950", hipGetDevice(&device)); !got) return got;
  if (auto got = checked("gfx950", hipGetDeviceProperties(&properties, device)); !got) return got;
  if (architecture(properties) != "gfx950") {
    return fail(ErrorCode::unavailable, "gfx950: device {} ({}) is {}; the kernels are for gfx950", device,
                std::string_view(properties.name), std::string_view(properties.gcnArchName));
  }
  return {};
}

/// HIP's version numbers: 10^7 major + 10^5 minor + patch.
std::string version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000000, version % 10000000 / 100000, version % 100000);
}

Expected<DeviceInfo> device_info() {
  int device = 0;
  int runtime = 0;
  int driver = 0;
  hipDeviceProp_t properties{};
  if (auto got = checked("gfx950", hipGetDevice(&device)); !got) return fail(std::move(got));
  if (auto got = checked("gfx950", hipGetDeviceProperties(&properties, device)); !got) return fail(std::move(got));
  if (auto got = checked("gfx950", hipRuntimeGetVersion(&runtime)); !got) return fail(std::move(got));
  if (auto got = checked("gfx950", hipDriverGetVersion(&driver)); !got) return fail(std::move(got));
  DeviceInfo info;
  info.name = properties.name;
  info.architecture = "gfx950";
  info.compute_units = properties.multiProcessorCount;
  info.last_level_cache_bytes = infinity_cache_bytes;
  info.memory_bytes = static_cast<Index>(properties.totalGlobalMem);
  info.runtime = fmt::format("HIP {}, driver {}", version_text(runtime), version_text(driver));
  return info;
}

Expected<DeviceBuffer> allocate(Index bytes) {
  // Here and in create_stream(), since nothing can run before; a launch that is recorded must not load.
  if (auto loaded = load_kernels(); !loaded) return fail(std::move(loaded));
  void* data = nullptr;
  const auto size = static_cast<std::size_t>(bytes < 1 ? 1 : bytes);
  if (const hipError_t error = hipMalloc(&data, size); error != hipSuccess) {
    static_cast<void>(hipGetLastError());  // or whoever asks next is told of it
    return fail(ErrorCode::unavailable, "gfx950: no memory for a buffer of {} bytes: {}", bytes, hip_error_text(error));
  }
  DeviceBuffer buffer(data, bytes, [](void* p) noexcept { static_cast<void>(hipFree(p)); });
  if (auto zeroed = checked("gfx950: zeroing memory", hipMemset(data, 0, size)); !zeroed)
    return fail(std::move(zeroed));
  // The null stream that hipMemset uses does not order the streams that kernels run on.
  if (auto done = checked("gfx950: zeroing memory", hipDeviceSynchronize()); !done) return fail(std::move(done));
  return buffer;
}

Expected<void> copy(void* to, const void* from, Index bytes, hipMemcpyKind kind, Stream stream) {
  const auto size = static_cast<std::size_t>(bytes);
  if (auto started = checked("gfx950: copy", hipMemcpyAsync(to, from, size, kind, to_hip(stream))); !started) {
    return started;
  }
  return checked("gfx950: copy", hipStreamSynchronize(to_hip(stream)));
}
Expected<void> copy_to_device(void* device, const void* host, Index bytes, Stream stream) {
  return copy(device, host, bytes, hipMemcpyHostToDevice, stream);
}
Expected<void> copy_to_host(void* host, const void* device, Index bytes, Stream stream) {
  return copy(host, device, bytes, hipMemcpyDeviceToHost, stream);
}

/// Handles that free themselves.
template <auto destroy>
struct Deleter {
  template <class T>
  void operator()(T* handle) const noexcept {
    static_cast<void>(destroy(handle));
  }
};
template <class Handle, auto destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Deleter<destroy>>;
using OwnedStream = Owned<hipStream_t, hipStreamDestroy>;
using Event = Owned<hipEvent_t, hipEventDestroy>;
using Graph = Owned<hipGraph_t, hipGraphDestroy>;
using ExecutableGraph = Owned<hipGraphExec_t, hipGraphExecDestroy>;

Expected<OwnedStream> create_owned_stream() {
  if (auto loaded = load_kernels(); !loaded) return fail(std::move(loaded));
  hipStream_t stream = nullptr;
  if (auto created = checked("gfx950: stream", hipStreamCreateWithFlags(&stream, hipStreamNonBlocking)); !created) {
    return fail(std::move(created));
  }
  return OwnedStream(stream);
}

Expected<Stream> create_stream() {
  auto stream = create_owned_stream();
  if (!stream) return fail(std::move(stream));
  return Stream{stream->release()};
}
void destroy_stream(Stream stream) noexcept {
  if (stream.handle != nullptr) static_cast<void>(hipStreamDestroy(to_hip(stream)));
}
Expected<void> synchronize(Stream stream) {
  return checked("gfx950: synchronize", hipStreamSynchronize(to_hip(stream)));
}

Expected<Event> create_event() {
  hipEvent_t event = nullptr;
  if (auto created = checked("gfx950: event", hipEventCreate(&event)); !created) return fail(std::move(created));
  return Event(event);
}

Expected<void> issue(const std::vector<Launch>& launches, Stream stream) {
  for (const Launch& launch : launches) {
    if (auto launched = launch(stream); !launched) return launched;
  }
  return {};
}

/// Records the launches on a stream of their own; nothing runs.
Expected<ExecutableGraph> record(const std::vector<Launch>& launches) {
  auto stream = create_owned_stream();
  if (!stream) return fail(std::move(stream));
  if (auto got = checked("gfx950: graph", hipStreamBeginCapture(stream->get(), hipStreamCaptureModeThreadLocal));
      !got) {
    return fail(std::move(got));
  }
  auto issued = issue(launches, Stream{stream->get()});
  hipGraph_t recorded = nullptr;
  auto ended = checked("gfx950: graph", hipStreamEndCapture(stream->get(), &recorded));
  const Graph graph(recorded);
  if (!issued) return fail(std::move(issued));
  if (!ended) return fail(std::move(ended));
  hipGraphExec_t executable = nullptr;
  if (auto got = checked("gfx950: graph", hipGraphInstantiate(&executable, graph.get(), nullptr, nullptr, 0)); !got) {
    return fail(std::move(got));
  }
  return ExecutableGraph(executable);
}

Expected<TimedBatch> prepare_batch(std::vector<Launch> launches, Replay replay, Stream stream) {
  struct Batch {
    std::vector<Launch> launches;
    ExecutableGraph graph;
    Event start;
    Event stop;
  };
  auto batch = std::make_shared<Batch>();
  auto start = create_event();
  auto stop = create_event();
  if (!start) return fail(std::move(start));
  if (!stop) return fail(std::move(stop));
  batch->start = *std::move(start);
  batch->stop = *std::move(stop);
  if (replay == Replay::graph) {
    auto graph = record(launches);
    if (!graph) return fail(std::move(graph));
    batch->graph = *std::move(graph);
  }
  batch->launches = std::move(launches);  // with a graph too: they own the memory that its kernels use
  return TimedBatch([batch, stream]() -> Expected<double> {
    const hipStream_t on = to_hip(stream);
    if (auto got = checked("gfx950: timing", hipEventRecord(batch->start.get(), on)); !got) return fail(std::move(got));
    if (batch->graph != nullptr) {
      if (auto got = checked("gfx950: graph", hipGraphLaunch(batch->graph.get(), on)); !got)
        return fail(std::move(got));
    } else if (auto issued = issue(batch->launches, stream); !issued) {
      return fail(std::move(issued));
    }
    if (auto got = checked("gfx950: timing", hipEventRecord(batch->stop.get(), on)); !got) return fail(std::move(got));
    if (auto got = checked("gfx950: timing", hipEventSynchronize(batch->stop.get())); !got) return fail(std::move(got));
    float milliseconds = 0.0F;
    if (auto got = checked("gfx950: timing", hipEventElapsedTime(&milliseconds, batch->start.get(), batch->stop.get()));
        !got) {
      return fail(std::move(got));
    }
    return static_cast<double>(milliseconds) * 1e-3;
  });
}

/// The median of the launch's times, in seconds, for about `seconds`.
Expected<double> median_seconds_of(const Launch& launch, double seconds) {
  const auto batch = prepare_batch({launch}, Replay::eager, Stream{});
  if (!batch) return fail(batch.error().code, "{}", batch.error().message);
  return median_seconds(*batch, seconds);
}

Expected<Ceilings> measure_ceilings(double seconds) {
  constexpr Index megabyte = Index{1} << 20;
  constexpr Index memory_footprint = 4096 * megabyte;
  constexpr Index cache_footprint = 128 * megabyte;  // of 256
  constexpr std::uint32_t steps = 4096;
  auto data = allocate(memory_footprint);
  auto sink = allocate(256);
  auto device = device_info();
  if (!data) return fail(std::move(data));
  if (!sink) return fail(std::move(sink));
  if (!device) return fail(std::move(device));
  auto* const to = static_cast<float*>(sink->data());
  const auto read_rate = [&](Index bytes) -> Expected<double> {
    const ReadArguments arguments{static_cast<const std::uint8_t*>(data->data()), bytes, to};
    const KernelLaunch launch{find_compiled_kernel("read_streaming"), static_cast<std::uint32_t>(bytes / read_chunk), 1,
                              &arguments, sizeof(arguments)};
    const auto time = median_seconds_of([&](Stream stream) { return HipTarget::launch(launch, stream); }, seconds / 3);
    if (!time) return time;
    return static_cast<double>(bytes) / *time;
  };
  auto from_memory = read_rate(memory_footprint);
  if (!from_memory) return fail(std::move(from_memory));
  auto from_cache = read_rate(cache_footprint);
  if (!from_cache) return fail(std::move(from_cache));

  const PeakArguments arguments{steps, to};
  const auto groups = static_cast<std::uint32_t>(2 * device->compute_units);
  const KernelLaunch launch{find_compiled_kernel("mfma_peak"), groups, 1, &arguments, sizeof(arguments)};
  const auto time = median_seconds_of([&](Stream stream) { return HipTarget::launch(launch, stream); }, seconds / 3);
  if (!time) return fail(time.error().code, "{}", time.error().message);
  constexpr double operations_a_mfma = 2.0 * 16 * 16 * 128;
  const double waves = static_cast<double>(groups) * ceiling_threads / wave_lanes;
  Ceilings ceilings;
  ceilings.read_bytes_per_second = *from_memory;
  ceilings.fma_flops_per_second = waves * mfma_chains * steps * operations_a_mfma / *time;
  ceilings.read_by_level = {{cache_footprint, *from_cache}, {memory_footprint, *from_memory}};
  ceilings.source = "measured in this run: read kernel over 4 GiB, e4m3 v_mfma_scale_f32_16x16x128_f8f6f4 in registers";
  return ceilings;
}

// Best first: prepared weights before row-major ones, matrix instructions before vector ones.
constexpr std::array gemm_kernels{
    describe<GemmMfmaScale<StripWeights, HipTarget>>(), describe<GemmMfmaScale<RowMajorWeights, HipTarget>>(),
    describe<GemvPackedFma<StripWeights, HipTarget>>(), describe<GemvPackedFma<RowMajorWeights, HipTarget>>()};
constexpr std::array grouped_kernels{describe<GroupedGemmMfmaScale<StripWeights, HipTarget>>(),
                                     describe<GroupedGemmMfmaScale<RowMajorWeights, HipTarget>>(),
                                     describe<GroupedGemvPackedFma<StripWeights, HipTarget>>(),
                                     describe<GroupedGemvPackedFma<RowMajorWeights, HipTarget>>()};

}  // namespace

Backend backend() noexcept {
  Backend b{};
  b.name = "gfx950";
  b.description = "hand-written HIP kernels for gfx950 (CDNA4)";
  b.available = available;
  b.device_info = device_info;
  b.allocate = allocate;
  b.copy_to_device = copy_to_device;
  b.copy_to_host = copy_to_host;
  b.create_stream = create_stream;
  b.destroy_stream = destroy_stream;
  b.synchronize = synchronize;
  b.prepare_batch = prepare_batch;
  b.launches_per_sample = 32;
  b.measure_ceilings = measure_ceilings;
  b.probe = [] { return probe_arithmetic(backend()); };
  b.gemm_kernels = gemm_kernels;
  b.grouped_kernels = grouped_kernels;
  return b;
}

}  // namespace millet::gfx950
