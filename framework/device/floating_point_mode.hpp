// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/host_device.hpp"

namespace millet {

/// While it lives, this thread rounds to nearest and treats subnormals as numbers, whatever the host program chose
/// (a library built with -ffast-math sets DAZ and FTZ for the whole program); then the thread's mode is back.
///
/// The arithmetic must be in a function that the compiler does not inline next to this object: it does not know that
/// they have to do with each other. Does nothing but on x86-64, where the mode is MXCSR.
class DefaultFloatingPointMode {
 public:
#if MILLET_HAS_MXCSR
  DefaultFloatingPointMode() noexcept : saved_(__builtin_ia32_stmxcsr()) {
    if (differs()) __builtin_ia32_ldmxcsr(power_on);
  }
  ~DefaultFloatingPointMode() {
    if (differs()) __builtin_ia32_ldmxcsr(saved_);
  }
#else
  DefaultFloatingPointMode() noexcept {}
  ~DefaultFloatingPointMode() {}
#endif
  DefaultFloatingPointMode(const DefaultFloatingPointMode&) = delete;
  DefaultFloatingPointMode& operator=(const DefaultFloatingPointMode&) = delete;

#if MILLET_HAS_MXCSR
 private:
  /// Every exception masked, no flag raised, to nearest, subnormals honoured.
  static constexpr unsigned power_on = 0x1F80;
  static constexpr unsigned flags = 0x3F;  ///< raised by almost any arithmetic, without effect
  [[nodiscard]] bool differs() const noexcept { return (saved_ & ~flags) != power_on; }

  unsigned saved_;
#endif
};

}  // namespace millet
