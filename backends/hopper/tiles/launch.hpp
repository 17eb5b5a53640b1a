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

/// Dynamic shared memory that a thread block may have: the SM's 227 KB less three for a kernel's static variables.
inline constexpr Index max_shared_bytes = 224 * 1024;

/// Tokens of one expert that the grouped kernel takes through the weights at once.
inline constexpr int grouped_tokens = 16;

/// Asynchronous; no allocation, no synchronization. The launch's own error.
[[nodiscard]] cudaError_t launch_gemm_mma(const GemmArguments& x, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_gemm_wgmma(const GemmArguments& x, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_gemm_wgmma_f16(const GemmArguments& x, cudaStream_t stream);
[[nodiscard]] cudaError_t launch_grouped_gemm(const GroupedArguments& x, cudaStream_t stream);

/// Groups of four blocks of k for which a thread block stages the codes and scales of its tokens at once: all of its
/// share where they take at most 96 KB, so that two blocks fit on an SM.
[[nodiscard]] int round_groups_for(Index tokens, Index k, const WorkSplit& split) noexcept;

/// Dynamic shared memory that a launch needs, in bytes. \param tokens  of a pass: m, or grouped_tokens
[[nodiscard]] Index shared_bytes(Index tokens, int round_groups, const WorkSplit& split) noexcept;

/// Warps of the kernels on wgmma that share the weights of a strip, each with a part of the tokens: 32 at most, since
/// the sums of more leave registers for too few warps.
[[nodiscard]] constexpr int token_halves(Index tokens) noexcept { return tokens > 32 ? 2 : 1; }

/// How a thread block of the kernels on wgmma uses its shared memory: all of its weights and tokens if 110 KB hold
/// them, so that the next kernel's fit beside them; else as many as the SM has room for.
[[nodiscard]] WarpgroupPlan warpgroup_plan(Index tokens, Index k, const WorkSplit& split) noexcept;
[[nodiscard]] Index warpgroup_shared_bytes(Index tokens, const WorkSplit& split, const WarpgroupPlan& plan) noexcept;

/// Warps of a thread block of the kernel with folded scales at most: 168 registers for each thread.
inline constexpr int folded_max_warps = 12;
/// Where its tokens' values may start, in bytes.
inline constexpr int folded_alignment = 1024;
/// Stages of its rings of weights at most.
inline constexpr int folded_max_stages = 5;
/// k of one accumulation in its matrix unit at most, in groups.
inline constexpr int folded_max_round = 16;

/// Like warpgroup_plan, for the kernel with folded scales: all of its tokens if they leave room for two groups of
/// weights a warp.
[[nodiscard]] WarpgroupPlan folded_plan(Index tokens, Index k, const WorkSplit& split) noexcept;
[[nodiscard]] Index folded_shared_bytes(Index tokens, const WorkSplit& split, const WarpgroupPlan& plan) noexcept;

/// The launch of a dense kernel: grid, cluster and early start as its split says.
struct DenseLaunch {
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute attributes[2]{};

  /// \param warps_a_strip  that take the same share of its k, each for other tokens
  DenseLaunch(const GemmArguments& x, int warps_a_strip, Index shared_bytes, cudaStream_t stream) noexcept;
  DenseLaunch(const DenseLaunch&) = delete;  // config points into it
  DenseLaunch& operator=(const DenseLaunch&) = delete;
};

/// Lets kernels have all the dynamic shared memory there is: once a device, since each call costs the host
/// microseconds.
class PreparedKernels {
 public:
  [[nodiscard]] cudaError_t prepare(std::span<const void* const> kernels);

 private:
  static constexpr int max_devices = 64;
  std::atomic<bool> done_[max_devices] = {};
};

/// SMs of the current device.
[[nodiscard]] cudaError_t multiprocessors(int* count);

/// Reads `bytes` of `from` once with every SM. \param sink  4 bytes, written only if the data were to sum to NaN
[[nodiscard]] cudaError_t launch_read(const void* from, Index bytes, float* sink, cudaStream_t stream);

/// Runs `steps` rounds of independent f16 matrix instructions on every SM; their operations, 2 a product.
[[nodiscard]] cudaError_t launch_matrix_peak(Index steps, float* sink, cudaStream_t stream, double* operations);

}  // namespace millet::hopper
