// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "millet/device/ceilings.hpp"
#include "millet/device/device_info.hpp"

namespace millet {

/// The x86-64 level that code with run-time dispatch uses on this machine; `baseline` everywhere else.
enum class HostIsa { baseline, avx2, avx512 };

[[nodiscard]] constexpr std::string_view to_string(HostIsa isa) noexcept {
  switch (isa) {
    case HostIsa::baseline:
      return "baseline";
    case HostIsa::avx2:
      return "avx2";
    case HostIsa::avx512:
      return "avx512";
  }
  return "unknown_isa";
}

/// The widest level that this CPU and its operating system support. Asked once.
[[nodiscard]] HostIsa host_isa() noexcept;

/// This machine as seen by a backend that uses `threads` of its threads. What the system does not tell stays 0 or "".
[[nodiscard]] DeviceInfo host_device_info(Index threads, std::string runtime);

/// Asks for 2 MB pages for the part of [data, data + bytes) that they can cover; before the first touch. Returns
/// whether the system accepted the request.
bool advise_huge_pages(void* data, Index bytes) noexcept;

/// Whether subnormal f32 operands and results are treated as numbers by this thread (MXCSR's DAZ and FTZ are clear).
[[nodiscard]] bool subnormals_are_honoured() noexcept;

/// Whether arithmetic with subnormal f32 operands runs about as fast as any other; some CPUs take a microcode assist of
/// over 100 cycles for each instruction that meets one. Measured at the first call, in less than a millisecond.
[[nodiscard]] bool subnormals_are_fast() noexcept;

}  // namespace millet
