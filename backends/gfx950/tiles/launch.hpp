// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "millet/device/stream.hpp"
#include "millet/error/expected.hpp"

// The seam between the kernels' host side, which knows problems and operands, and what launches them: the HIP module
// API (backends/gfx950) or the emulator (backends/gfx950_emulated).

namespace millet::gfx950 {

/// The code object in which a kernel is.
enum class CodeObject { gemm_mfma_scale, grouped_gemm_mfma_scale, gemv_packed_fma, grouped_gemv_packed_fma, ceilings };
inline constexpr std::string_view code_object_names[] = {"gemm_mfma_scale", "grouped_gemm_mfma_scale",
                                                         "gemv_packed_fma", "grouped_gemv_packed_fma", "ceilings"};

/// One compiled kernel: a template with all its parameters chosen.
struct CompiledKernel {
  std::string_view symbol;
  CodeObject code_object;
  int threads;  ///< of a work-group, a multiple of 64
};

/// All of them; a launch names one by its index here.
[[nodiscard]] std::span<const CompiledKernel> compiled_kernels() noexcept;

/// The index of the kernel of that name; -1 if there is none.
[[nodiscard]] int find_compiled_kernel(std::string_view symbol) noexcept;

/// One launch. A kernel has a single parameter, a struct passed by value.
struct KernelLaunch {
  int kernel;  ///< index into compiled_kernels()
  std::uint32_t groups_x;
  std::uint32_t groups_y;
  const void* arguments;
  std::size_t argument_bytes;
};

/// Asynchronous, no allocation, no synchronization; capturable in a graph. Errors: device_error, with the reason.
using Launcher = Expected<void> (*)(const KernelLaunch&, Stream);

}  // namespace millet::gfx950
