// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>

#include "millet/host_device.hpp"

namespace millet {

/// Every extent, index and offset, in elements unless a name says bytes. 64 bits everywhere: an MoE weight tensor
/// passes 2^31 elements (256 experts x 1536 x 6144).
using Index = std::int64_t;

/// Number of tiles of extent `tile` that cover `extent` elements.
[[nodiscard]] MILLET_HD constexpr Index tiles_to_cover(Index extent, Index tile) noexcept {
  return (extent + tile - 1) / tile;
}

/// `extent` rounded up to a multiple of `tile`.
[[nodiscard]] MILLET_HD constexpr Index round_up_to_tile(Index extent, Index tile) noexcept {
  return tiles_to_cover(extent, tile) * tile;
}

/// A map from (row, column) to an offset in elements of a buffer: the standard's layout mapping, in two dimensions.
///
/// rows() and cols() are the logical extents; required_span_size() counts the elements that the buffer must hold
/// (padding included); is_always_unique() is false where several columns share one element, as an MX scale does.
template <class L>
concept Mapping2D = std::regular<L> && requires(const L& l, Index i) {
  { l.rows() } -> std::same_as<Index>;
  { l.cols() } -> std::same_as<Index>;
  { l(i, i) } -> std::same_as<Index>;
  { l.required_span_size() } -> std::same_as<Index>;
  { L::is_always_unique() } -> std::same_as<bool>;
};

}  // namespace millet
