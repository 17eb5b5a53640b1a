// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/backend.hpp"

#include <cuda_runtime_api.h>

#include <array>
#include <memory>

#include "millet/backends/hopper/kernels/gemm_mma_block_scale.hpp"
#include "millet/backends/hopper/kernels/gemm_wgmma_block_scale.hpp"
#include "millet/backends/hopper/kernels/gemm_wgmma_f16.hpp"
#include "millet/backends/hopper/kernels/grouped_gemm_mma_block_scale.hpp"
#include "millet/backends/hopper/kernels/grouped_gemm_wgmma_block_scale.hpp"

namespace millet::hopper {

extern const std::string_view tuned_csv;

namespace {

cudaStream_t to_cuda(Stream stream) noexcept { return static_cast<cudaStream_t>(stream.handle); }

Expected<void> available() {
  int devices = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&devices); error != cudaSuccess) {
    return fail(ErrorCode::unavailable, "hopper: {} ({})", cudaGetErrorString(error), cudaGetErrorName(error));
  }
  int device = 0;
  cudaDeviceProp properties{};
  if (auto got = checked("hopper", cudaGetDevice(&device)); !got) return got;
  if (auto got = checked("hopper", cudaGetDeviceProperties(&properties, device)); !got) return got;
  if (properties.major != 9 || properties.minor != 0) {
    return fail(ErrorCode::unavailable, "hopper: device {} ({}) has compute capability {}.{}; the kernels are for 9.0",
                device, properties.name, properties.major, properties.minor);
  }
  return {};
}

Expected<DeviceInfo> device_info() {
  int device = 0;
  int runtime = 0;
  int driver = 0;
  cudaDeviceProp properties{};
  if (auto got = checked("hopper", cudaGetDevice(&device)); !got) return fail(std::move(got));
  if (auto got = checked("hopper", cudaGetDeviceProperties(&properties, device)); !got) return fail(std::move(got));
  if (auto got = checked("hopper", cudaRuntimeGetVersion(&runtime)); !got) return fail(std::move(got));
  if (auto got = checked("hopper", cudaDriverGetVersion(&driver)); !got) return fail(std::move(got));
  DeviceInfo info;
  info.name = properties.name;
  info.architecture = "sm_90a";
  info.compute_units = properties.multiProcessorCount;
  info.last_level_cache_bytes = properties.l2CacheSize;
  info.memory_bytes = static_cast<Index>(properties.totalGlobalMem);
  info.runtime = fmt::format("CUDA {}.{}, driver for {}.{}", runtime / 1000, runtime % 1000 / 10, driver / 1000,
                             driver % 1000 / 10);
  return info;
}

Expected<DeviceBuffer> allocate(Index bytes) {
  void* data = nullptr;
  const auto size = static_cast<std::size_t>(bytes < 1 ? 1 : bytes);
  if (const cudaError_t error = cudaMalloc(&data, size); error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // or the next launch would report it
    return fail(ErrorCode::unavailable, "hopper: no memory for a buffer of {} bytes: {}", bytes,
                cudaGetErrorString(error));
  }
  DeviceBuffer buffer(data, bytes, [](void* p) noexcept { cudaFree(p); });
  if (auto zeroed = checked("hopper: zeroing memory", cudaMemset(data, 0, size)); !zeroed)
    return fail(std::move(zeroed));
  // The legacy stream that cudaMemset uses does not order the streams that kernels run on.
  if (auto done = checked("hopper: zeroing memory", cudaDeviceSynchronize()); !done) return fail(std::move(done));
  return buffer;
}

Expected<void> copy(void* to, const void* from, Index bytes, cudaMemcpyKind kind, Stream stream) {
  const auto size = static_cast<std::size_t>(bytes);
  if (auto started = checked("hopper: copy", cudaMemcpyAsync(to, from, size, kind, to_cuda(stream))); !started) {
    return started;
  }
  return checked("hopper: copy", cudaStreamSynchronize(to_cuda(stream)));
}
Expected<void> copy_to_device(void* device, const void* host, Index bytes, Stream stream) {
  return copy(device, host, bytes, cudaMemcpyHostToDevice, stream);
}
Expected<void> copy_to_host(void* host, const void* device, Index bytes, Stream stream) {
  return copy(host, device, bytes, cudaMemcpyDeviceToHost, stream);
}

Expected<Stream> create_stream() {
  cudaStream_t stream = nullptr;
  if (auto created = checked("hopper: stream", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); !created) {
    return fail(std::move(created));
  }
  return Stream{stream};
}
void destroy_stream(Stream stream) noexcept {
  if (stream.handle != nullptr) cudaStreamDestroy(to_cuda(stream));
}
Expected<void> synchronize(Stream stream) {
  return checked("hopper: synchronize", cudaStreamSynchronize(to_cuda(stream)));
}

/// Handles that free themselves.
struct EventDeleter {
  void operator()(CUevent_st* event) const noexcept { cudaEventDestroy(event); }
};
using Event = std::unique_ptr<CUevent_st, EventDeleter>;
struct GraphDeleter {
  void operator()(CUgraphExec_st* graph) const noexcept { cudaGraphExecDestroy(graph); }
};
using ExecutableGraph = std::unique_ptr<CUgraphExec_st, GraphDeleter>;
struct StreamDeleter {
  void operator()(CUstream_st* stream) const noexcept { cudaStreamDestroy(stream); }
};
using OwnedStream = std::unique_ptr<CUstream_st, StreamDeleter>;

Expected<Event> create_event() {
  cudaEvent_t event = nullptr;
  if (auto created = checked("hopper: event", cudaEventCreate(&event)); !created) return fail(std::move(created));
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
  cudaStream_t created = nullptr;
  if (auto got = checked("hopper: stream", cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking)); !got) {
    return fail(std::move(got));
  }
  const OwnedStream stream(created);
  if (auto got = checked("hopper: graph", cudaStreamBeginCapture(created, cudaStreamCaptureModeThreadLocal)); !got) {
    return fail(std::move(got));
  }
  auto issued = issue(launches, Stream{created});
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(created, &graph);
  cudaGraphExec_t executable = nullptr;
  cudaError_t instantiated = ended;
  if (issued && ended == cudaSuccess) instantiated = cudaGraphInstantiate(&executable, graph, 0);
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (!issued) return fail(std::move(issued));
  if (auto got = checked("hopper: graph", instantiated); !got) return fail(std::move(got));
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
    const cudaStream_t on = to_cuda(stream);
    if (auto got = checked("hopper: timing", cudaEventRecord(batch->start.get(), on)); !got)
      return fail(std::move(got));
    if (batch->graph != nullptr) {
      if (auto got = checked("hopper: graph", cudaGraphLaunch(batch->graph.get(), on)); !got)
        return fail(std::move(got));
    } else if (auto issued = issue(batch->launches, stream); !issued) {
      return fail(std::move(issued));
    }
    if (auto got = checked("hopper: timing", cudaEventRecord(batch->stop.get(), on)); !got) return fail(std::move(got));
    if (auto got = checked("hopper: timing", cudaEventSynchronize(batch->stop.get())); !got)
      return fail(std::move(got));
    float milliseconds = 0.0F;
    if (auto got =
            checked("hopper: timing", cudaEventElapsedTime(&milliseconds, batch->start.get(), batch->stop.get()));
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
  constexpr Index cache_footprint = 24 * megabyte;
  constexpr Index matrix_steps = 4096;
  auto data = allocate(memory_footprint);
  auto sink = allocate(256);
  if (!data) return fail(std::move(data));
  if (!sink) return fail(std::move(sink));
  auto* const to = static_cast<float*>(sink->data());
  const auto read_rate = [&](Index bytes) -> Expected<double> {
    const auto time = median_seconds_of(
        [&](Stream stream) { return checked("hopper: read", launch_read(data->data(), bytes, to, to_cuda(stream))); },
        seconds / 3);
    if (!time) return time;
    return static_cast<double>(bytes) / *time;
  };
  auto from_memory = read_rate(memory_footprint);
  if (!from_memory) return fail(std::move(from_memory));
  auto from_cache = read_rate(cache_footprint);
  if (!from_cache) return fail(std::move(from_cache));
  double operations = 0.0;
  auto matrix = median_seconds_of(
      [&](Stream stream) {
        return checked("hopper: matrix peak", launch_matrix_peak(matrix_steps, to, to_cuda(stream), &operations));
      },
      seconds / 3);
  if (!matrix) return fail(std::move(matrix));
  Ceilings ceilings;
  ceilings.read_bytes_per_second = *from_memory;
  ceilings.fma_flops_per_second = operations / *matrix;
  ceilings.read_by_level = {{cache_footprint, *from_cache}, {memory_footprint, *from_memory}};
  ceilings.source = "measured in this run: read kernel over 4 GiB, f16 mma.m16n8k16 in registers with f32 sums";
  return ceilings;
}

// Best first: prepared weights before row-major ones.
constexpr std::array gemm_kernels{describe<GemmWgmmaBlockScale>(), describe<GemmWgmmaF16>(),
                                  describe<GemmMmaBlockScale<StripWeights>>(),
                                  describe<GemmMmaBlockScale<RowMajorWeights>>()};
constexpr std::array grouped_kernels{describe<GroupedGemmWgmmaBlockScale>(),
                                     describe<GroupedGemmMmaBlockScale<StripWeights>>(),
                                     describe<GroupedGemmMmaBlockScale<RowMajorWeights>>()};

}  // namespace

Backend backend() noexcept {
  Backend b{};
  b.name = "hopper";
  b.description = "hand-written CUDA kernels for sm_90a";
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
  b.gemm_kernels = gemm_kernels;
  b.grouped_kernels = grouped_kernels;
  b.tuned_table = tuned_csv;
  return b;
}

}  // namespace millet::hopper
