// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <cstring>

#include "millet/dispatch/backend.hpp"

/// Kernels that compute nothing and a backend in host memory, for tests of what happens around a kernel.
namespace millet::fake {

/// Accepts everything.
template <class P>
Verdict everything(const P&) noexcept {
  return {};
}

/// A kernel for tests that never run it.
template <class P>
[[nodiscard]] KernelFor<P> kernel(std::string_view id, Verdict (*supports)(const P&) noexcept = everything<P>,
                                  int policy_count = 1,
                                  double (*estimate)(const P&, int, const DeviceInfo&) noexcept = nullptr) {
  KernelFor<P> result{};
  result.id = id;
  result.supports = supports;
  result.policy_count = policy_count;
  result.estimate_seconds = estimate;
  return result;
}

/// A backend of such kernels, which must outlive it.
[[nodiscard]] inline Backend backend_of(std::span<const GemmKernel> gemm, std::span<const GroupedKernel> grouped = {}) {
  Backend backend{};
  backend.name = "toy";
  backend.gemm_kernels = gemm;
  backend.grouped_kernels = grouped;
  return backend;
}

/// Buffers of host_backend() that are alive.
inline Index live_buffers = 0;
/// Allocations that host_backend() grants before it has no memory left; negative: any number.
inline Index allocations_left = -1;

/// Memory and copies as the contract of Backend has them, synchronous.
[[nodiscard]] inline Backend host_backend() {
  Backend backend{};
  backend.name = "toy";
  backend.allocate = [](Index bytes) -> Expected<DeviceBuffer> {
    if (allocations_left == 0) return fail(ErrorCode::unavailable, "toy: no memory for {} bytes", bytes);
    --allocations_left;
    ++live_buffers;
    constexpr std::size_t alignment = 256;
    const std::size_t size = (static_cast<std::size_t>(bytes) / alignment + 1) * alignment;
    void* const data = std::aligned_alloc(alignment, size);
    std::memset(data, 0, size);
    return DeviceBuffer(data, bytes, [](void* memory) noexcept {
      --live_buffers;
      std::free(memory);
    });
  };
  backend.copy_to_device = [](void* to, const void* from, Index bytes, Stream) -> Expected<void> {
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
    return {};
  };
  backend.copy_to_host = backend.copy_to_device;
  backend.synchronize = [](Stream) -> Expected<void> { return {}; };
  return backend;
}

}  // namespace millet::fake
