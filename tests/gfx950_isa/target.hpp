// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "machine.hpp"
#include "millet/backends/gfx950/tiles/launch.hpp"
#include "millet/dispatch/backend.hpp"

// The gfx950 kernels' host side over the interpreter: the compiled code objects as a backend of its own, for tests.

namespace millet::gfx950_isa {

/// Executes compiled_kernels()[x.kernel] of the code objects in MILLET_GFX950_CODE_OBJECT_FOLDER. Errors: those of
/// Program::read and run; unknown_name for a kernel that the code object does not have.
[[nodiscard]] Expected<void> run_kernel(const gfx950::KernelLaunch& x, std::uint64_t seed);

/// One of the code objects; read once. Errors: those of Program::read.
[[nodiscard]] const Expected<Program>& program(gfx950::CodeObject code_object);

/// The kernel of the last launch, and every kernel that was launched, by index.
[[nodiscard]] int last_kernel() noexcept;
[[nodiscard]] const std::vector<bool>& launched_kernels();

struct InterpreterTarget {
  static constexpr std::string_view gemm_id = "gfx950_isa.gemm_mfma_scale";
  static constexpr std::string_view gemm_row_major_id = "gfx950_isa.gemm_mfma_scale_row_major";
  static constexpr std::string_view grouped_gemm_id = "gfx950_isa.grouped_gemm_mfma_scale";
  static constexpr std::string_view grouped_gemm_row_major_id = "gfx950_isa.grouped_gemm_mfma_scale_row_major";
  static constexpr std::string_view gemv_id = "gfx950_isa.gemv_packed_fma";
  static constexpr std::string_view gemv_row_major_id = "gfx950_isa.gemv_packed_fma_row_major";
  static constexpr std::string_view grouped_gemv_id = "gfx950_isa.grouped_gemv_packed_fma";
  static constexpr std::string_view grouped_gemv_row_major_id = "gfx950_isa.grouped_gemv_packed_fma_row_major";

  static Expected<void> launch(const gfx950::KernelLaunch& x, Stream) {
    static std::uint64_t seed = 0;
    return run_kernel(x, seed++);
  }
};

[[nodiscard]] Backend backend() noexcept;

}  // namespace millet::gfx950_isa
