// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "millet/backends/gfx950/tiles/launch.hpp"
#include "millet/backends/gfx950_emulated/emulator.hpp"

namespace millet::gfx950_emulated {

/// Runs one launch of a gfx950 kernel to its end. Errors: device_error, naming the kernel and the first fault.
[[nodiscard]] Expected<void> run_kernel(const gfx950::KernelLaunch& x, std::uint64_t order_seed);

/// Launches in the emulator; the place of HIP for the kernels' host side.
struct EmulatorTarget {
  static constexpr std::string_view gemm_id = "gfx950_emulated.gemm_mfma_scale";
  static constexpr std::string_view gemm_row_major_id = "gfx950_emulated.gemm_mfma_scale_row_major";
  static constexpr std::string_view grouped_gemm_id = "gfx950_emulated.grouped_gemm_mfma_scale";
  static constexpr std::string_view grouped_gemm_row_major_id = "gfx950_emulated.grouped_gemm_mfma_scale_row_major";
  static constexpr std::string_view gemv_id = "gfx950_emulated.gemv_packed_fma";
  static constexpr std::string_view gemv_row_major_id = "gfx950_emulated.gemv_packed_fma_row_major";
  static constexpr std::string_view grouped_gemv_id = "gfx950_emulated.grouped_gemv_packed_fma";
  static constexpr std::string_view grouped_gemv_row_major_id = "gfx950_emulated.grouped_gemv_packed_fma_row_major";

  static Expected<void> launch(const gfx950::KernelLaunch& x, Stream) { return run_kernel(x, next_order()); }

 private:
  /// Another order of work-groups and waves for each launch, the same in each process.
  static std::uint64_t next_order() noexcept {
    static std::uint64_t order = 0;
    return order++;
  }
};

}  // namespace millet::gfx950_emulated
