// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/cpu/tiles/threads.hpp"

#include <fmt/format.h>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "millet/device/floating_point_mode.hpp"

namespace millet::cpu {

#if defined(_OPENMP)
Index thread_count() noexcept { return omp_get_max_threads(); }

std::string threads_name() {
  // The macro is the month of a version of the standard.
  constexpr int month = _OPENMP;
  return fmt::format("OpenMP {}", month >= 202011   ? "5.1"
                                  : month >= 201811 ? "5.0"
                                  : month >= 201511 ? "4.5"
                                                    : "before 4.5");
}
#else
Index thread_count() noexcept { return 1; }
std::string threads_name() { return "one thread"; }
#endif

void share_out(Index items, const std::function<void(Index, Index)>& work) {
  const Index threads = thread_count() < items ? thread_count() : items;
  if (threads <= 1) {
    const DefaultFloatingPointMode mode;
    if (items > 0) work(0, items);
    return;
  }
#if defined(_OPENMP)
#pragma omp parallel num_threads(static_cast <int>(threads))
  {
    const DefaultFloatingPointMode mode;
    // As many as there are, which may be fewer than asked for.
    const Index team = omp_get_num_threads();
    const Index rank = omp_get_thread_num();
    const Index first = items * rank / team;
    const Index last = items * (rank + 1) / team;
    if (first < last) work(first, last);
  }
#endif
}

void hand_out(Index items, const std::function<void(Index)>& work) {
  if (thread_count() <= 1 || items <= 1) {
    const DefaultFloatingPointMode mode;
    for (Index item = 0; item < items; ++item) work(item);
    return;
  }
#if defined(_OPENMP)
#pragma omp parallel
  {
    const DefaultFloatingPointMode mode;
#pragma omp for schedule(dynamic)
    for (Index item = 0; item < items; ++item) work(item);
  }
#endif
}

}  // namespace millet::cpu
