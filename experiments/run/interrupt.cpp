// SPDX-License-Identifier: Apache-2.0
#include "run/interrupt.hpp"

#include <csignal>

namespace millet {

namespace {

volatile std::sig_atomic_t interrupt_requested = 0;

extern "C" void remember_interrupt(int signal) {
  interrupt_requested = 1;
  std::signal(signal, SIG_DFL);
}

}  // namespace

InterruptGuard::InterruptGuard() noexcept {
  interrupt_requested = 0;
  std::signal(SIGINT, remember_interrupt);
}

InterruptGuard::~InterruptGuard() { std::signal(SIGINT, SIG_DFL); }

bool InterruptGuard::requested() noexcept { return interrupt_requested != 0; }

}  // namespace millet
