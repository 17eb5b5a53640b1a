// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

// The kernels' bodies, family by family in the order of gfx950::compiled_kernels(). A source file each: all of them
// take minutes to compile.

namespace millet::gfx950_emulated {

/// One compiled kernel as a lane runs it.
struct Body {
  std::size_t argument_bytes;
  void (*run)(const void* arguments);
};

template <class Arguments, void (*kernel)(const Arguments&)>
constexpr Body body_of() {
  return {sizeof(Arguments), [](const void* x) { kernel(*static_cast<const Arguments*>(x)); }};
}

[[nodiscard]] std::span<const Body> gemm_mfma_scale_bodies() noexcept;
[[nodiscard]] std::span<const Body> grouped_gemm_mfma_scale_bodies() noexcept;
[[nodiscard]] std::span<const Body> gemv_packed_fma_bodies() noexcept;
[[nodiscard]] std::span<const Body> grouped_gemv_packed_fma_bodies() noexcept;
[[nodiscard]] std::span<const Body> ceilings_bodies() noexcept;

}  // namespace millet::gfx950_emulated
