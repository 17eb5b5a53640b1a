// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <span>

#include "millet/backends/hopper/tiles/strip_arguments.hpp"

// The seam between the host side, which knows problems and operands, and the files that nvcc compiles.

namespace millet::hopper {

/// Tiles of 8 tokens for which there is a kernel: 1, 2, 4 or 8.
[[nodiscard]] constexpr int token_tiles_for(Index tokens) noexcept {
  return tokens <= 8 ? 1 : tokens <= 16 ? 2 : tokens <= 32 ? 4 : 8;
}

/// Dynamic shared memory that a thread block may have: the SM's 227 KB less a kilobyte for a kernel's static variables.
inline constexpr Index max_shared_bytes = 226 * 1024;

/// Tokens of one expert that the grouped kernel takes through the weights at once.
inline constexpr int grouped_tokens = 16;

/// Asynchronous; no allocation, no synchronization. The launch's own error.
[[nodiscard]] cudaError_t launch_gemm(const GemmArguments& x, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_grouped_gemm(const GroupedArguments& x, cudaStream_t stream);

/// Groups of four blocks of k for which a thread block stages the codes and scales of its tokens at once: all of its
/// share where they take at most 96 KB, so that two blocks fit on an SM.
[[nodiscard]] int round_groups_for(Index tokens, Index k, const WorkSplit& split) noexcept;

/// Dynamic shared memory that a launch needs, in bytes. \param tokens  of a pass: m, or grouped_tokens
[[nodiscard]] Index shared_bytes(Index tokens, int round_groups, const WorkSplit& split) noexcept;

/// Lets kernels have all the dynamic shared memory there is: once a device, since each call costs the host
/// microseconds.
class PreparedKernels {
 public:
  [[nodiscard]] cudaError_t prepare(std::span<const void* const> kernels);

 private:
  static constexpr int max_devices = 64;
  std::atomic<bool> done_[max_devices] = {};
};

/// Reads `bytes` of `from` once with every SM. \param sink  4 bytes, written only if the data were to sum to NaN
[[nodiscard]] cudaError_t launch_read(const void* from, Index bytes, float* sink, cudaStream_t stream);

/// Runs `steps` rounds of independent f16 matrix instructions on every SM; their operations, 2 a product.
[[nodiscard]] cudaError_t launch_matrix_peak(Index steps, float* sink, cudaStream_t stream, double* operations);

}  // namespace millet::hopper
