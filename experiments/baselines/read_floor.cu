// SPDX-License-Identifier: Apache-2.0
// The read floor of the seed's four dense shapes on this GPU: the least time of any of some hundred launches that only
// read as many bytes as the shape's weights and scales have, and do nothing with them.
//
// The protocol is that of `millet run --protocol cold`: calls rotate over more than 400 MB and are replayed as one
// graph; median of 15 replays. One JSON line a shape and way to launch: "early" launches may start, and read, before
// the one before has ended, as kernels whose weights come early do.

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "millet/backends/hopper/instructions.hpp"

namespace {

using millet::hopper::copy_bulk;
using millet::hopper::expect_bytes;
using millet::hopper::initialize_barrier;
using millet::hopper::let_next_kernel_start;
using millet::hopper::load_streaming;
using millet::hopper::publish_barriers;
using millet::hopper::shared_address;
using millet::hopper::wait_for_phase;
using millet::hopper::wait_for_preceding_kernel;

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "read_floor: %s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

template <int Unroll>
__global__ void read_by_loads(const uint4* from, std::int64_t count, float* sink) {
  let_next_kernel_start();
  std::uint32_t all = 0;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; i + (Unroll - 1) * stride < count; i += Unroll * stride) {
    uint4 v[Unroll];
#pragma unroll
    for (int j = 0; j < Unroll; ++j) v[j] = load_streaming(from + i + j * stride);
#pragma unroll
    for (int j = 0; j < Unroll; ++j) all |= v[j].x | v[j].y | v[j].z | v[j].w;
  }
  for (; i < count; i += stride) all |= load_streaming(from + i).x;
  wait_for_preceding_kernel();
  if (all == 0xFFFFFFFFU) *sink = 1.0F;  // never true of the zeroed buffer; keeps the loads alive
}

constexpr int max_stages = 48;

/// Each block reads a run of `chunk` bytes at a time into a ring in shared memory.
__global__ void read_by_copies(const char* from, std::int64_t bytes, int chunk, int stages, float* sink) {
  extern __shared__ __align__(128) char ring[];
  __shared__ std::uint64_t barriers[max_stages];
  let_next_kernel_start();
  const std::int64_t chunks = bytes / chunk;
  const std::int64_t first = chunks * blockIdx.x / gridDim.x;
  const int count = static_cast<int>(chunks * (blockIdx.x + 1) / gridDim.x - first);
  if (threadIdx.x == 0) {
    const auto request = [&](int i) {
      const std::uint32_t barrier = shared_address(barriers + i % stages);
      expect_bytes(barrier, chunk);
      copy_bulk(shared_address(ring) + i % stages * chunk, from + (first + i) * chunk, chunk, barrier);
    };
    for (int i = 0; i < stages; ++i) initialize_barrier(shared_address(barriers + i), 1);
    publish_barriers();
    for (int i = 0; i < stages && i < count; ++i) request(i);
    for (int i = 0; i < count; ++i) {
      wait_for_phase(shared_address(barriers + i % stages), i / stages % 2);
      if (i + stages < count) request(i + stages);
    }
  }
  wait_for_preceding_kernel();
  __syncthreads();
  if (ring[threadIdx.x] == 1) *sink = 1.0F;
}

struct Floor {
  double us = 1e9;
  std::string launch;
};

double median_us(cudaStream_t stream, int calls, const std::function<void(int)>& launch) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  for (int i = 0; i < calls; ++i) launch(i);
  check(cudaStreamEndCapture(stream, &graph), "capture");
  check(cudaGraphInstantiate(&executable, graph, 0), "graph");
  cudaEvent_t start = nullptr;
  cudaEvent_t stop = nullptr;
  check(cudaEventCreate(&start), "event");
  check(cudaEventCreate(&stop), "event");
  std::vector<float> times;
  for (int replay = 0; replay < 17; ++replay) {
    check(cudaEventRecord(start, stream), "event");
    check(cudaGraphLaunch(executable, stream), "graph");
    check(cudaEventRecord(stop, stream), "event");
    check(cudaEventSynchronize(stop), "replay");
    float milliseconds = 0.0F;
    check(cudaEventElapsedTime(&milliseconds, start, stop), "event");
    if (replay >= 2) times.push_back(milliseconds * 1e3F / static_cast<float>(calls));
  }
  check(cudaEventDestroy(start), "event");
  check(cudaEventDestroy(stop), "event");
  check(cudaGraphExecDestroy(executable), "graph");
  check(cudaGraphDestroy(graph), "graph");
  std::nth_element(times.begin(), times.begin() + 7, times.end());
  return times[7];
}

}  // namespace

int main() {
  struct Shape {
    const char* label;
    std::int64_t k;
    std::int64_t n;
  };
  constexpr Shape shapes[] = {
      {"qkv", 6144, 2304}, {"o_proj", 2048, 6144}, {"gate_up", 6144, 1536}, {"mlp_down", 1536, 6144}};
  constexpr std::int64_t rotated = std::int64_t{420} << 20;
  char* data = nullptr;
  float* sink = nullptr;
  cudaDeviceProp device{};
  cudaStream_t stream = nullptr;
  check(cudaGetDeviceProperties(&device, 0), "device");
  check(cudaMalloc(&data, rotated + (32 << 20)), "memory");
  check(cudaMemset(data, 0, rotated + (32 << 20)), "memory");
  check(cudaMalloc(&sink, sizeof *sink), "memory");
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
  check(cudaFuncSetAttribute(read_by_copies, cudaFuncAttributeMaxDynamicSharedMemorySize, 200 * 1024), "attribute");
  const auto sms = static_cast<unsigned>(device.multiProcessorCount);

  for (const Shape& shape : shapes) {
    const std::int64_t bytes = shape.k * shape.n * 33 / 32 / 16384 * 16384;
    const int copies = static_cast<int>(rotated / bytes) + 1;
    for (const bool early : {false, true}) {
      cudaLaunchAttribute attribute{};
      attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
      attribute.val.programmaticStreamSerializationAllowed = 1;
      Floor floor;
      const auto attempt = [&](cudaLaunchConfig_t config, std::string name, const auto& launch) {
        config.stream = stream;
        config.attrs = &attribute;
        config.numAttrs = early ? 1 : 0;
        const double us = median_us(stream, copies, [&](int i) { check(launch(config, data + i * bytes), "launch"); });
        if (us < floor.us) floor = {us, std::move(name)};
      };
      for (const unsigned a_sm : {1U, 2U, 3U, 4U, 8U}) {
        for (const unsigned threads : {128U, 256U, 512U}) {
          if (a_sm * threads > 2048) continue;
          cudaLaunchConfig_t config{};
          config.gridDim = dim3(sms * a_sm);
          config.blockDim = dim3(threads);
          const auto loads = [&](int unroll, auto* kernel) {
            attempt(config,
                    std::to_string(a_sm) + " x " + std::to_string(threads) + " threads, " + std::to_string(unroll) +
                        " loads",
                    [&](const cudaLaunchConfig_t& c, const char* from) {
                      return cudaLaunchKernelEx(&c, kernel, reinterpret_cast<const uint4*>(from), bytes / 16, sink);
                    });
          };
          loads(2, read_by_loads<2>);
          loads(4, read_by_loads<4>);
          loads(8, read_by_loads<8>);
          loads(16, read_by_loads<16>);
        }
        for (const int chunk : {2048, 4096, 8192, 16384}) {
          for (const int kilobytes : {24, 48, 100, 200}) {
            const int stages = kilobytes * 1024 / chunk;
            if (static_cast<int>(a_sm) * kilobytes > 210 || stages < 1 || stages > max_stages) continue;
            cudaLaunchConfig_t config{};
            config.gridDim = dim3(sms * a_sm);
            config.blockDim = dim3(128);
            config.dynamicSmemBytes = static_cast<std::size_t>(stages) * static_cast<std::size_t>(chunk);
            attempt(config,
                    std::to_string(a_sm) + " x " + std::to_string(stages) + " copies of " + std::to_string(chunk) +
                        " bytes",
                    [&](const cudaLaunchConfig_t& c, const char* from) {
                      return cudaLaunchKernelEx(&c, read_by_copies, from, bytes, chunk, stages, sink);
                    });
          }
        }
      }
      std::printf(
          R"({"label": "%s", "k": %lld, "n": %lld, "bytes": %lld, "early": %s, "median_us": %.3f, "launch": "%s", "device": "%s"})"
          "\n",
          shape.label, static_cast<long long>(shape.k), static_cast<long long>(shape.n), static_cast<long long>(bytes),
          early ? "true" : "false", floor.us, floor.launch.c_str(), device.name);
      std::fflush(stdout);
    }
  }
  return 0;
}
