// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/hopper/empty_kernel.hpp"

#include <cuda_runtime.h>

#include "millet/backends/hopper/tiles/strip_arguments.hpp"

namespace millet {

namespace {
__global__ void __launch_bounds__(1024) empty_kernel(const __grid_constant__ hopper::WarpgroupGemmArguments) {}
}  // namespace

cudaError_t launch_empty(const cudaLaunchConfig_t& config) {
  return cudaLaunchKernelEx(&config, empty_kernel, hopper::WarpgroupGemmArguments{});
}

cudaError_t allow_shared_bytes_of_empty(int bytes) {
  return cudaFuncSetAttribute(empty_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

}  // namespace millet
