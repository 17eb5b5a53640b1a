// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <hip/hip_runtime_api.h>

#include "millet/backends/gfx950/tiles/launch.hpp"

// The kernels of this library on a HIP device: their code objects are in the program, and HIP's module API loads and
// launches them. Only calls that HIP 5.2 and HIP 7 have in common.

namespace millet::gfx950 {

/// HIP's own words: its text and the error's name, once where they are the same.
[[nodiscard]] std::string hip_error_text(hipError_t error);

/// device_error with HIP's words where a call failed.
[[nodiscard]] Expected<void> checked(std::string_view what, hipError_t error);

/// Loads every code object on the calling thread's current device and looks all kernels up; once a device, and at once
/// where that is done. Any thread may call it. A failure is not remembered. Must not be called for the first time while
/// a stream is recorded: loading allocates.
/// Errors: device_error, with HIP's reason; unsupported for the device with number 64 and those above.
[[nodiscard]] Expected<void> load_kernels();

/// Launches on the calling thread's current device.
struct HipTarget {
  static constexpr std::string_view gemm_id = "gfx950.gemm_mfma_scale";
  static constexpr std::string_view gemm_row_major_id = "gfx950.gemm_mfma_scale_row_major";
  static constexpr std::string_view grouped_gemm_id = "gfx950.grouped_gemm_mfma_scale";
  static constexpr std::string_view grouped_gemm_row_major_id = "gfx950.grouped_gemm_mfma_scale_row_major";
  static constexpr std::string_view gemv_id = "gfx950.gemv_packed_fma";
  static constexpr std::string_view gemv_row_major_id = "gfx950.gemv_packed_fma_row_major";
  static constexpr std::string_view grouped_gemv_id = "gfx950.grouped_gemv_packed_fma";
  static constexpr std::string_view grouped_gemv_row_major_id = "gfx950.grouped_gemv_packed_fma_row_major";

  /// A Launcher. Loads the kernels if nobody did before; allocate and create_stream of the backend do.
  [[nodiscard]] static Expected<void> launch(const KernelLaunch& x, Stream stream);
};

}  // namespace millet::gfx950
