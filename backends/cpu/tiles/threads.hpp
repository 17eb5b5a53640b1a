// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "millet/layout/mapping.hpp"

namespace millet::cpu {

/// Threads that a call uses: those of OpenMP (OMP_NUM_THREADS, the affinity of the process), or 1 without it.
[[nodiscard]] Index thread_count() noexcept;

/// "OpenMP 4.5", or "one thread".
[[nodiscard]] std::string threads_name();

/// Calls work(first, last) on every thread for its equal share of [0, items); in this thread alone, without waking a
/// pool, where one thread or one item is all. Each call runs in the default floating-point mode.
void share_out(Index items, const std::function<void(Index first, Index last)>& work);

/// Calls work(item) for every item, whichever thread is free next. Each call runs in the default floating-point mode.
void hand_out(Index items, const std::function<void(Index item)>& work);

}  // namespace millet::cpu
