// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/portable/tiles/strip_product.hpp"
#include "millet/device/host_info.hpp"

namespace millet::portable {

/// Rows that the direct product takes.
inline constexpr int most_direct_rows = 4;

/// The products as compiled for one level of instructions: `count` rows times the columns [first_column, last_column),
/// which begin with a strip.
template <class View>
struct HostBodies {
  using Body = void (*)(const Product<View>&, const RowPair* rows, int count, Index first_column, Index last_column);
  Body direct[most_direct_rows];  ///< for 1 to 4 rows
  Body buffered;                  ///< for 1 to rows_per_pass rows
};

/// Those for `isa`. Compiled in files of their own (host_bodies_*.cpp), so that these compile in parallel.
template <class View>
[[nodiscard]] const HostBodies<View>& host_bodies(HostIsa isa) noexcept;

}  // namespace millet::portable
