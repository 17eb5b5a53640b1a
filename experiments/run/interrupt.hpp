// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace millet {

/// While it lives, the first SIGINT (Ctrl-C) only sets a flag, so that the case at hand can be finished and recorded; a
/// second one ends the program as usual.
class InterruptGuard {
 public:
  InterruptGuard() noexcept;
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  [[nodiscard]] static bool requested() noexcept;
};

}  // namespace millet
