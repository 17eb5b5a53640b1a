// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/portable/tiles/host_bodies.hpp"

namespace millet::portable {

// The shapes of vectors: V vectors of W columns make a strip; `tile` rows times V sums cover the latency of two FMA
// pipes (8) and leave registers for weights and A, and so do strips_at_once(m) strips times m rows.
struct Avx512Shape {
  static constexpr int W = 16;
  static constexpr int V = 1;
  static constexpr int tile = 12;
  static constexpr int strips_at_once(int m) noexcept { return m <= 2 ? 4 : 2; }

  template <int M, class View, class Rows>
  MILLET_TARGET_AVX512 [[gnu::noinline]] static void add_block_alone(const Product<View>& p, const Rows& b, Index block,
                                                                     Index a_block, const RowPair* rows, bool first,
                                                                     const PrefetchDistance& ahead,
                                                                     Lanes<W>::Float (*total)[M]) {
    portable::add_block_alone<Avx512Shape, M>(p, b, block, a_block, rows, first, ahead, total);
  }
};
struct Avx2Shape {
  static constexpr int W = 8;
  static constexpr int V = 2;
  static constexpr int tile = 4;
  static constexpr int strips_at_once(int m) noexcept { return m == 1 ? 4 : m == 2 ? 2 : 1; }

  template <int M, class View, class Rows>
  MILLET_TARGET_AVX2 [[gnu::noinline]] static void add_block_alone(const Product<View>& p, const Rows& b, Index block,
                                                                   Index a_block, const RowPair* rows, bool first,
                                                                   const PrefetchDistance& ahead,
                                                                   Lanes<W>::Float (*total)[M]) {
    portable::add_block_alone<Avx2Shape, M>(p, b, block, a_block, rows, first, ahead, total);
  }
};
struct BaselineShape {
  static constexpr int W = 4;
  static constexpr int V = 4;
  static constexpr int tile = 2;
  static constexpr int strips_at_once(int m) noexcept { return m == 1 ? 2 : 1; }

  template <int M, class View, class Rows>
  [[gnu::noinline]] static void add_block_alone(const Product<View>& p, const Rows& b, Index block, Index a_block,
                                                const RowPair* rows, bool first, const PrefetchDistance& ahead,
                                                Lanes<W>::Float (*total)[M]) {
    portable::add_block_alone<BaselineShape, M>(p, b, block, a_block, rows, first, ahead, total);
  }
};

#if MILLET_X86_TIERS
template <int M, class View>
MILLET_TARGET_AVX512 void direct_avx512(const Product<View>& p, const RowPair* rows, int, Index first, Index last) {
  multiply_directly<Avx512Shape, M>(p, rows, first, last);
}
template <class View>
MILLET_TARGET_AVX512 void buffered_avx512(const Product<View>& p, const RowPair* rows, int count, Index first,
                                          Index last) {
  multiply_buffered<Avx512Shape>(p, rows, count, first, last);
}
template <int M, class View>
MILLET_TARGET_AVX2 void direct_avx2(const Product<View>& p, const RowPair* rows, int, Index first, Index last) {
  multiply_directly<Avx2Shape, M>(p, rows, first, last);
}
template <class View>
MILLET_TARGET_AVX2 void buffered_avx2(const Product<View>& p, const RowPair* rows, int count, Index first, Index last) {
  multiply_buffered<Avx2Shape>(p, rows, count, first, last);
}
#endif
template <int M, class View>
void direct_baseline(const Product<View>& p, const RowPair* rows, int, Index first, Index last) {
  multiply_directly<BaselineShape, M>(p, rows, first, last);
}
template <class View>
void buffered_baseline(const Product<View>& p, const RowPair* rows, int count, Index first, Index last) {
  multiply_buffered<BaselineShape>(p, rows, count, first, last);
}

template <class View>
const HostBodies<View>& host_bodies(HostIsa isa) noexcept {
  static_assert(most_direct_rows == 4);
#if MILLET_X86_TIERS
  static constexpr HostBodies<View> avx512{
      {direct_avx512<1, View>, direct_avx512<2, View>, direct_avx512<3, View>, direct_avx512<4, View>},
      buffered_avx512<View>};
  if (isa == HostIsa::avx512) return avx512;
  static constexpr HostBodies<View> avx2{
      {direct_avx2<1, View>, direct_avx2<2, View>, direct_avx2<3, View>, direct_avx2<4, View>}, buffered_avx2<View>};
  if (isa == HostIsa::avx2) return avx2;
#endif
  static constexpr HostBodies<View> baseline{
      {direct_baseline<1, View>, direct_baseline<2, View>, direct_baseline<3, View>, direct_baseline<4, View>},
      buffered_baseline<View>};
  static_cast<void>(isa);
  return baseline;
}

}  // namespace millet::portable
