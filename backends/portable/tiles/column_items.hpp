// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Kokkos_Core.hpp>

#include "millet/backends/portable/tiles/weights.hpp"
#include "millet/device/host_info.hpp"

namespace millet::portable {

/// Whether the default execution space runs on the host: then an item is a strip of 16 columns of C on vectors, else
/// one column on a thread.
inline constexpr bool on_host = std::is_same_v<Kokkos::DefaultExecutionSpace::memory_space, Kokkos::HostSpace>;
inline constexpr Index columns_per_item = on_host ? strip_rows : 1;

[[nodiscard]] constexpr Index column_items(Index n) noexcept { return tiles_to_cover(n, columns_per_item); }

/// The shape of an item's vectors: V vectors of W columns, and the rows of a register tile.
template <int Lanes_, int Vectors, int Rows>
struct ItemShape {
  static constexpr int W = Lanes_;
  static constexpr int V = Vectors;
  static constexpr int tile = Rows;
};
// A tile of `tile` x V accumulators covers the latency of two FMA pipes (8) and leaves registers for weights and A.
using Avx512Shape = ItemShape<16, 1, 12>;
using Avx2Shape = ItemShape<8, 2, 4>;
using BaselineShape = ItemShape<4, 4, 2>;
using ThreadShape = ItemShape<1, 1, 4>;

#if MILLET_X86_TIERS
template <class Work>
MILLET_TARGET_AVX512 void run_avx512(const Work& work, Index item) {
  work.template run<Avx512Shape>(item);
}
template <class Work>
MILLET_TARGET_AVX2 void run_avx2(const Work& work, Index item) {
  work.template run<Avx2Shape>(item);
}
#endif
template <class Work>
void run_baseline(const Work& work, Index item) {
  work.template run<BaselineShape>(item);
}

/// Calls work.run<Shape>(item) compiled for this machine: chosen once a launch on a host, the one body on a device.
template <class Work>
class ItemFunctor {
 public:
  explicit ItemFunctor(const Work& work) noexcept : work_(work) {
#if MILLET_X86_TIERS
    if (host_isa() == HostIsa::avx2) run_ = run_avx2<Work>;
    if (host_isa() == HostIsa::avx512) run_ = run_avx512<Work>;
#endif
  }

  MILLET_HD void operator()(Index item) const {
    if constexpr (on_host) {
      run_(work_, item);
    } else {
      work_.template run<ThreadShape>(item);
    }
  }

 private:
  Work work_;
  void (*run_)(const Work&, Index) = run_baseline<Work>;
};

/// Puts `items` items of `work` on the default execution space.
template <class Work>
void launch_items(const char* name, const Work& work, Index items) {
  using Range = Kokkos::RangePolicy<Kokkos::DefaultExecutionSpace, Kokkos::IndexType<Index>>;
  Kokkos::parallel_for(name, Range(Kokkos::DefaultExecutionSpace(), 0, items), ItemFunctor<Work>(work));
}

}  // namespace millet::portable
