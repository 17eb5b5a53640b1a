// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Kokkos_Core.hpp>

#include "millet/backends/portable/tiles/weights.hpp"
#include "millet/device/floating_point_mode.hpp"
#include "millet/device/host_info.hpp"

namespace millet::portable {

/// Whether the default execution space runs on the host: then an item is a strip of 16 columns of C on vectors, else
/// one column on a thread.
inline constexpr bool on_host = std::is_same_v<Kokkos::DefaultExecutionSpace::memory_space, Kokkos::HostSpace>;
inline constexpr Index columns_per_item = on_host ? strip_rows : 1;

[[nodiscard]] constexpr Index column_items(Index n) noexcept { return tiles_to_cover(n, columns_per_item); }

/// The shape of an item's vectors: V vectors of W columns, and the rows of a register tile. With Native, e4m3's
/// subnormals pass through the multiply-adds as f32 subnormals.
template <int Lanes_, int Vectors, int Rows, bool Native>
struct ItemShape {
  static constexpr int W = Lanes_;
  static constexpr int V = Vectors;
  static constexpr int tile = Rows;
  static constexpr bool native_subnormals = Native;
};
// A tile of `tile` x V accumulators covers the latency of two FMA pipes (8) and leaves registers for weights and A.
template <bool Native>
using Avx512Shape = ItemShape<16, 1, 12, Native>;
template <bool Native>
using Avx2Shape = ItemShape<8, 2, 4, Native>;
using BaselineShape = ItemShape<4, 4, 2, false>;
using ThreadShape = ItemShape<1, 1, 4, false>;

#if MILLET_X86_TIERS
template <bool Native, class Work>
MILLET_TARGET_AVX512 void run_avx512(const Work& work, Index item) {
  work.template run<Avx512Shape<Native>>(item);
}
template <bool Native, class Work>
MILLET_TARGET_AVX2 void run_avx2(const Work& work, Index item) {
  work.template run<Avx2Shape<Native>>(item);
}
#endif
template <class Work>
void run_baseline(const Work& work, Index item) {
  work.template run<BaselineShape>(item);
}

/// The body of `work` for this machine, and whether its subnormals cost nothing: then looking for them would.
template <class Work>
[[nodiscard]] auto choose_body() noexcept -> void (*)(const Work&, Index) {
#if MILLET_X86_TIERS
  const bool native = subnormals_are_fast();
  if (host_isa() == HostIsa::avx512) return native ? run_avx512<true, Work> : run_avx512<false, Work>;
  if (host_isa() == HostIsa::avx2) return native ? run_avx2<true, Work> : run_avx2<false, Work>;
#endif
  return run_baseline<Work>;
}

/// Calls work.run<Shape>(item) compiled for this machine: chosen once a launch on a host, the one body on a device.
template <class Work>
class ItemFunctor {
 public:
  explicit ItemFunctor(const Work& work) noexcept : work_(work) {
    if constexpr (on_host) run_ = choose_body<Work>();
  }

  MILLET_HD void operator()(Index item) const {
    if constexpr (on_host) {
      // The host program's threads may flush subnormals or round otherwise.
      const DefaultFloatingPointMode mode;
      run_(work_, item);
    } else {
      work_.template run<ThreadShape>(item);
    }
  }

 private:
  Work work_;
  void (*run_)(const Work&, Index) = nullptr;
};

/// Puts `items` items of `work` on the default execution space.
template <class Work>
void launch_items(const char* name, const Work& work, Index items) {
  using Range = Kokkos::RangePolicy<Kokkos::DefaultExecutionSpace, Kokkos::IndexType<Index>>;
  Kokkos::parallel_for(name, Range(Kokkos::DefaultExecutionSpace(), 0, items), ItemFunctor<Work>(work));
}

}  // namespace millet::portable
