// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/hopper/tiles/launch.hpp"

#include "millet/backends/hopper/tiles/strip_product.hpp"

namespace millet::hopper {

namespace {

Index padded(Index tokens) noexcept { return Index{token_tiles_for(tokens)} * tokens_per_tile; }

/// Codes and scales of one group of a token.
constexpr Index staged_bytes_a_group = blocks_per_group * (MxBlock::k + 1);

}  // namespace

int round_groups_for(Index tokens, Index k, const WorkSplit& split) noexcept {
  constexpr Index most_bytes = 96 * 1024;
  const Index groups = tiles_to_cover(k, blocks_per_group * MxBlock::k);
  const Index share = tiles_to_cover(groups, split.cluster);
  const Index fitting = most_bytes / (padded(tokens) * staged_bytes_a_group);
  return static_cast<int>(share < fitting ? share : fitting);
}

Index shared_bytes(Index tokens, int round_groups, const WorkSplit& split) noexcept {
  const int blocks = round_groups * blocks_per_group;
  const Index staged = padded(tokens) * (shared_token_stride(blocks) + blocks);
  const Index sums = split.k_warps * padded(tokens) * sums_stride(split.row_warps) * Index{sizeof(float)};
  const Index incoming = split.cluster > 1 ? padded(tokens) * split.row_warps * strip_rows * Index{sizeof(float)} : 0;
  return incoming + (staged > sums ? staged : sums);
}

cudaError_t PreparedKernels::prepare(std::span<const void* const> kernels) {
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  if (device < max_devices && done_[device].load(std::memory_order_acquire)) return cudaSuccess;
  for (const void* kernel : kernels) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(max_shared_bytes));
    if (error != cudaSuccess) return error;
  }
  if (device < max_devices) done_[device].store(true, std::memory_order_release);
  return cudaSuccess;
}

namespace {

/// Blocks of 256 threads, eight independent 16-byte loads a thread in flight.
__global__ void __launch_bounds__(256) read_kernel(const uint4* __restrict__ from, Index count, float* sink) {
  constexpr int unroll = 8;
  std::uint32_t all = 0;
  const Index stride = Index{gridDim.x} * blockDim.x;
  Index i = Index{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; i + (unroll - 1) * stride < count; i += unroll * stride) {
    uint4 v[unroll];
#pragma unroll
    for (int j = 0; j < unroll; ++j) v[j] = load_streaming(from + i + j * stride);
#pragma unroll
    for (int j = 0; j < unroll; ++j) all |= v[j].x | v[j].y | v[j].z | v[j].w;
  }
  for (; i < count; i += stride) {
    const uint4 v = load_streaming(from + i);
    all |= v.x | v.y | v.z | v.w;
  }
  // Never true of the zeroed buffer that is read; keeps the loads alive.
  if (all == 0xFFFFFFFFU) *sink = 1.0F;
}

__global__ void __launch_bounds__(256) matrix_peak_kernel(Index steps, float* sink) {
  constexpr int chains = 8;
  float d[chains][4] = {};
  const std::uint32_t x = threadIdx.x;
  for (Index step = 0; step < steps; ++step) {
#pragma unroll
    for (int i = 0; i < chains; ++i) mma_m16n8k16(d[i], x, x + 1, x + 2, x + 3, x + 4, x + 5);
  }
  float sum = 0.0F;
#pragma unroll
  for (int i = 0; i < chains; ++i) sum += d[i][0] + d[i][1] + d[i][2] + d[i][3];
  if (sum == 1.0F) *sink = sum;
}

cudaError_t multiprocessors(int* count) {
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  return cudaDeviceGetAttribute(count, cudaDevAttrMultiProcessorCount, device);
}

}  // namespace

cudaError_t launch_read(const void* from, Index bytes, float* sink, cudaStream_t stream) {
  int sms = 0;
  if (const cudaError_t error = multiprocessors(&sms); error != cudaSuccess) return error;
  read_kernel<<<static_cast<unsigned>(sms * 8), 256, 0, stream>>>(static_cast<const uint4*>(from), bytes / 16, sink);
  return cudaGetLastError();
}

cudaError_t launch_matrix_peak(Index steps, float* sink, cudaStream_t stream, double* operations) {
  int sms = 0;
  if (const cudaError_t error = multiprocessors(&sms); error != cudaSuccess) return error;
  const int blocks = sms * 2;
  matrix_peak_kernel<<<static_cast<unsigned>(blocks), 256, 0, stream>>>(steps, sink);
  *operations = static_cast<double>(blocks) * 8 * 8 * static_cast<double>(steps) * 2 * 16 * 8 * 16;
  return cudaGetLastError();
}

}  // namespace millet::hopper
