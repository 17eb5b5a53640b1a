// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "millet/layout/mapping.hpp"

namespace millet {

/// One digit of a position inside a tile: (coordinate / Stride) % Extent, along the rows or the columns.
template <int Extent, int Stride = 1>
struct RowDigit {
  static_assert(Extent >= 1 && Stride >= 1, "FragmentOrder: a digit's extent and stride are at least 1");
  static constexpr bool is_row = true;
  static constexpr int extent = Extent;
  static constexpr int stride = Stride;
};
template <int Extent, int Stride = 1>
struct ColDigit {
  static_assert(Extent >= 1 && Stride >= 1, "FragmentOrder: a digit's extent and stride are at least 1");
  static constexpr bool is_row = false;
  static constexpr int extent = Extent;
  static constexpr int stride = Stride;
};

/// A preshuffled ("fragment") order: the matrix is cut into tiles, and inside a tile the elements stand in the order in
/// which a matrix instruction's lanes, or a vector's lanes, want them.
///
/// `Digits` name the position inside a tile from slowest to fastest, like the digits of a number with mixed radices.
/// The digits of each axis must count its tile extent completely: their strides are 1, e1, e1*e2, ... in some order.
/// Tiles follow each other along the columns first, so a strip of rows is contiguous. Partial tiles at the edges are
/// padded to whole ones; relayout fills the padding with zero bytes.
///
/// Examples, for values:
///   FragmentOrder<RowDigit<16>, ColDigit<4>>                 16 rows x 4 k in 64 bytes: one dword a row, a vector a
///                                                            load (SIMD strips)
///   FragmentOrder<ColDigit<4, 16>, RowDigit<16>, ColDigit<16>>  16 x 64: 16 bytes for each of 64 lanes, lane = 16 g +
///   row;
///                                                            a wave loads 1 KB (MFMA 16x16x128, half an operand)
///   FragmentOrder<RowDigit<8>, ColDigit<4, 4>, ColDigit<2, 16>, RowDigit<2, 8>, ColDigit<4>>
///                                                            16 x 32: the four registers of mma.m16n8k32's first
///                                                            operand, 16 bytes a lane
template <class... Digits>
struct FragmentOrder {
 private:
  template <bool Row>
  static constexpr int tile_extent() noexcept {
    int extent = 1;
    ((extent *= Digits::is_row == Row ? Digits::extent : 1), ...);
    return extent;
  }

  // The digits of one axis count its extent: each stride is the product of the extents of the less significant digits.
  template <bool Row>
  static constexpr bool digits_are_complete() noexcept {
    int next = 1;
    for (int matched = 1; matched != 0 && next != tile_extent<Row>();) {
      matched = 0;
      int step = 1;
      ((step = Digits::is_row == Row && Digits::stride == next && Digits::extent > 1 ? Digits::extent : step,
        matched += Digits::is_row == Row && Digits::stride == next && Digits::extent > 1 ? 1 : 0),
       ...);
      if (matched != 1) return false;
      next *= step;
    }
    return next == tile_extent<Row>();
  }

 public:
  static constexpr Index row_tile = tile_extent<true>();
  static constexpr Index col_tile = tile_extent<false>();
  static constexpr Index tile_size = row_tile * col_tile;
  static_assert(digits_are_complete<true>(), "FragmentOrder: the row digits do not count the row tile completely");
  static_assert(digits_are_complete<false>(),
                "FragmentOrder: the column digits do not count the column tile completely");

  Index row_count = 0;
  Index col_count = 0;

  constexpr FragmentOrder() = default;
  MILLET_HD constexpr FragmentOrder(Index rows_, Index cols_) noexcept : row_count(rows_), col_count(cols_) {}

  friend constexpr bool operator==(const FragmentOrder&, const FragmentOrder&) = default;

  [[nodiscard]] MILLET_HD static constexpr bool is_always_unique() noexcept { return true; }
  [[nodiscard]] MILLET_HD constexpr Index rows() const noexcept { return row_count; }
  [[nodiscard]] MILLET_HD constexpr Index cols() const noexcept { return col_count; }
  [[nodiscard]] MILLET_HD constexpr Index row_tiles() const noexcept { return tiles_to_cover(row_count, row_tile); }
  [[nodiscard]] MILLET_HD constexpr Index col_tiles() const noexcept { return tiles_to_cover(col_count, col_tile); }
  [[nodiscard]] MILLET_HD constexpr Index required_span_size() const noexcept {
    return row_tiles() * col_tiles() * tile_size;
  }

  /// Offset of the first element of tile (row_tile_index, col_tile_index).
  [[nodiscard]] MILLET_HD constexpr Index tile_offset(Index row_tile_index, Index col_tile_index) const noexcept {
    return (row_tile_index * col_tiles() + col_tile_index) * tile_size;
  }

  [[nodiscard]] MILLET_HD constexpr Index operator()(Index row, Index col) const noexcept {
    return tile_offset(row / row_tile, col / col_tile) + offset_in_tile(row % row_tile, col % col_tile);
  }

  /// Position inside a tile; a bijection from [0, row_tile) x [0, col_tile) to [0, tile_size).
  [[nodiscard]] MILLET_HD static constexpr Index offset_in_tile(Index row, Index col) noexcept {
    Index offset = 0;
    ((offset = offset * Digits::extent + ((Digits::is_row ? row : col) / Digits::stride) % Digits::extent), ...);
    return offset;
  }

  struct Coordinates {
    Index row;
    Index col;
    friend constexpr bool operator==(const Coordinates&, const Coordinates&) = default;
  };

  /// The inverse of operator(); coordinates at or beyond rows() or cols() are padding.
  [[nodiscard]] MILLET_HD constexpr Coordinates coordinates(Index offset) const noexcept {
    const Index tile = offset / tile_size;
    Index rest = offset % tile_size;
    Index weight = tile_size;
    Index row = 0;
    Index col = 0;
    ((weight /= Digits::extent, (Digits::is_row ? row : col) += rest / weight * Digits::stride, rest %= weight), ...);
    return {tile / col_tiles() * row_tile + row, tile % col_tiles() * col_tile + col};
  }

  /// For example "fragment(r16,c4)"; a digit's stride follows behind a slash where it is not 1.
  [[nodiscard]] static std::string name() {
    std::string text = "fragment(";
    ((text.append(Digits::is_row ? "r" : "c").append(std::to_string(Digits::extent)),
      text.append(Digits::stride == 1 ? "" : "/").append(Digits::stride == 1 ? "" : std::to_string(Digits::stride)),
      text.push_back(',')),
     ...);
    text.back() = ')';
    return text;
  }
};

}  // namespace millet
