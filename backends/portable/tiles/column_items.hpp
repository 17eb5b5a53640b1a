// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Kokkos_Core.hpp>

#include "millet/backends/portable/tiles/host_bodies.hpp"
#include "millet/device/floating_point_mode.hpp"

namespace millet::portable {

/// Whether the default execution space runs on the host: then an item is a few strips of 16 columns of C on vectors,
/// else one column on a thread.
inline constexpr bool on_host = std::is_same_v<Kokkos::DefaultExecutionSpace::memory_space, Kokkos::HostSpace>;

/// A device's thread: one column.
struct ThreadShape {
  static constexpr int W = 1;
  static constexpr int V = 1;
  static constexpr int tile = 4;
  static constexpr int strips_at_once(int) noexcept { return 1; }

  template <int M, class View, class Rows>
  MILLET_HD static void add_block_alone(const Product<View>& p, const Rows& b, Index block, Index a_block,
                                        const RowPair* rows, bool first, const PrefetchDistance& ahead,
                                        float (*total)[M]) {
    portable::add_block_alone<ThreadShape, M>(p, b, block, a_block, rows, first, ahead, total);
  }
};

/// What codes the fast decode takes: where the CPU is as fast at subnormals as at other numbers, those too.
[[nodiscard]] inline unsigned needed_properties() noexcept {
  return no_nans | (on_host && subnormals_are_fast() ? 0U : no_subnormals);
}

/// The columns of C as items of work, and the products of rows with one of them: by the bodies for this machine, chosen
/// once a launch, or by the device's thread.
template <class View>
class ColumnItems {
 public:
  /// \param times  how many other items there are for each of the columns
  ColumnItems(Index n, Index times) noexcept : n_(n) {
    if constexpr (on_host) {
      bodies_ = &host_bodies<View>(host_isa());
      // Four strips at once are the fastest, but some items for each thread come first.
      constexpr Index items_per_thread = 4;
      const auto threads = static_cast<Index>(Kokkos::DefaultExecutionSpace().concurrency());
      width_ = 4 * strip_rows;
      while (threads > 1 && width_ > strip_rows && count() * times < items_per_thread * threads) width_ /= 2;
    }
  }

  [[nodiscard]] MILLET_HD Index count() const noexcept { return tiles_to_cover(n_, width_); }

  /// Few rows straight from the codes. \param count  1 to most_direct_rows
  MILLET_HD void multiply_directly(const Product<View>& p, const RowPair* rows, int count, Index item) const {
    if constexpr (on_host) {
      call(bodies_->direct[count - 1], p, rows, count, item);
    } else {
      static_assert(most_direct_rows == 4);
      if (count == 1) return portable::multiply_directly<ThreadShape, 1>(p, rows, item, item + 1);
      if (count == 2) return portable::multiply_directly<ThreadShape, 2>(p, rows, item, item + 1);
      if (count == 3) return portable::multiply_directly<ThreadShape, 3>(p, rows, item, item + 1);
      portable::multiply_directly<ThreadShape, 4>(p, rows, item, item + 1);
    }
  }

  /// Any number of rows, by way of decoded weights. \param count  1 to rows_per_pass
  MILLET_HD void multiply_buffered(const Product<View>& p, const RowPair* rows, int count, Index item) const {
    if constexpr (on_host) {
      call(bodies_->buffered, p, rows, count, item);
    } else {
      portable::multiply_buffered<ThreadShape>(p, rows, count, item, item + 1);
    }
  }

 private:
  void call(typename HostBodies<View>::Body body, const Product<View>& p, const RowPair* rows, int count,
            Index item) const {
    // The host program's threads may flush subnormals or round otherwise.
    const DefaultFloatingPointMode mode;
    const Index first = item * width_;
    body(p, rows, count, first, first + width_ < n_ ? first + width_ : n_);
  }

  Index n_;
  Index width_ = 1;
  const HostBodies<View>* bodies_ = nullptr;
};

/// Puts `items` items of `work` on the default execution space.
template <class Work>
void launch_items(const char* name, const Work& work, Index items) {
  using Range = Kokkos::RangePolicy<Kokkos::DefaultExecutionSpace, Kokkos::IndexType<Index>>;
  Kokkos::parallel_for(name, Range(Kokkos::DefaultExecutionSpace(), 0, items), work);
}

}  // namespace millet::portable
