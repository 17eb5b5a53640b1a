// SPDX-License-Identifier: Apache-2.0
#include "millet/layout/fragment_order.hpp"

#include <gtest/gtest.h>

#include <cctype>
#include <random>
#include <string>
#include <vector>

#include "layout/example_layouts.hpp"
#include "millet/layout/row_major.hpp"

namespace millet {
namespace {

using namespace examples;

/// Every offset of the span belongs to exactly one element of the padded matrix, and coordinates() names that element.
template <class Layout>
bool is_bijection(const Layout& layout) {
  const Index padded_rows = layout.row_tiles() * Layout::row_tile;
  const Index padded_cols = layout.col_tiles() * Layout::col_tile;
  if (padded_rows < layout.rows() || padded_rows - layout.rows() >= Layout::row_tile) return false;
  if (padded_cols < layout.cols() || padded_cols - layout.cols() >= Layout::col_tile) return false;
  if (layout.required_span_size() != padded_rows * padded_cols) return false;
  std::vector<bool> hit(static_cast<std::size_t>(layout.required_span_size()), false);
  for (Index row = 0; row < padded_rows; ++row) {
    for (Index col = 0; col < padded_cols; ++col) {
      const Index offset = layout(row, col);
      if (offset < 0 || offset >= layout.required_span_size() || hit[offset]) return false;
      hit[offset] = true;
      if (layout.coordinates(offset) != typename Layout::Coordinates{row, col}) return false;
    }
  }
  return true;  // as many distinct offsets as there are elements
}

/// The same during compilation, without memory: offset after offset.
template <class Layout>
constexpr bool inverts(const Layout& layout) {
  for (Index offset = 0; offset < layout.required_span_size(); ++offset) {
    const auto [row, col] = layout.coordinates(offset);
    if (row < 0 || col < 0 || layout(row, col) != offset) return false;
  }
  return true;
}

template <class Layout>
class FragmentOrderExamples : public testing::Test {};

using Examples = testing::Types<SimdStrip, MfmaHalfOperand, MmaM16N8K32A, Transposed, OddRadices, OneRow, ScaleStrip,
                                ScaleDwords, ScaleRowPairs>;

struct ExampleNames {
  template <class Layout>
  static std::string GetName(int) {
    std::string name = Layout::name();  // CTest names: letters, digits and underscores only
    for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
    return name;
  }
};
TYPED_TEST_SUITE(FragmentOrderExamples, Examples, ExampleNames);

TYPED_TEST(FragmentOrderExamples, IsABijectionAndCoordinatesInvertsIt) {
  static_assert(Mapping2D<TypeParam>);
  static_assert(TypeParam::is_always_unique());
  static_assert(inverts(TypeParam(TypeParam::row_tile + 1, TypeParam::col_tile)));
  std::mt19937 random(1);
  for (int i = 0; i < 20; ++i) {
    const Index rows = 1 + static_cast<Index>(random() % (3 * TypeParam::row_tile));
    const Index cols = 1 + static_cast<Index>(random() % (4 * TypeParam::col_tile));
    EXPECT_TRUE(is_bijection(TypeParam(rows, cols))) << rows << " x " << cols;
  }
}

TYPED_TEST(FragmentOrderExamples, TilesFollowEachOtherAlongTheColumns) {
  const TypeParam layout(3 * TypeParam::row_tile, 5 * TypeParam::col_tile);
  Index next = 0;
  for (Index row_tile = 0; row_tile < 3; ++row_tile) {
    for (Index col_tile = 0; col_tile < 5; ++col_tile) {
      EXPECT_EQ(layout.tile_offset(row_tile, col_tile), next);
      EXPECT_EQ(layout(row_tile * TypeParam::row_tile, col_tile * TypeParam::col_tile), next);
      next += TypeParam::tile_size;
    }
  }
  EXPECT_EQ(next, layout.required_span_size());
}

// 2^21 rows of 2^12 columns and more: beyond what 32-bit offsets name, signed or not.
TYPED_TEST(FragmentOrderExamples, OffsetsPass32Bits) {
  const Index rows = (Index{1} << 21) + 1;
  const Index cols = (Index{1} << 13) - 3;
  const TypeParam layout(rows, cols);
  const Index col_tiles = (cols + TypeParam::col_tile - 1) / TypeParam::col_tile;
  const Index row = rows - 1;
  const Index col = cols - 1;
  const Index expected = (row / TypeParam::row_tile * col_tiles + col / TypeParam::col_tile) * TypeParam::tile_size +
                         TypeParam::offset_in_tile(row % TypeParam::row_tile, col % TypeParam::col_tile);
  EXPECT_GT(expected, Index{1} << 33);
  EXPECT_EQ(layout(row, col), expected);
  EXPECT_EQ(layout.coordinates(expected), (typename TypeParam::Coordinates{row, col}));
  EXPECT_GT(layout.required_span_size(), expected);
}

TEST(FragmentOrder, NothingInsideMeansNoMemory) {
  EXPECT_EQ(SimdStrip().required_span_size(), 0);
  EXPECT_EQ(SimdStrip(0, 64).required_span_size(), 0);
  EXPECT_EQ(SimdStrip(64, 0).required_span_size(), 0);
}

TEST(FragmentOrder, LayoutsOfOtherExtentsDiffer) {
  EXPECT_EQ(SimdStrip(16, 32), SimdStrip(16, 32));
  EXPECT_NE(SimdStrip(16, 32), SimdStrip(15, 32));  // the same span
  EXPECT_NE(SimdStrip(16, 32), SimdStrip(16, 31));
}

TEST(FragmentOrder, NamesItsDigits) {
  EXPECT_EQ(SimdStrip::name(), "fragment(r16,c4)");
  EXPECT_EQ(MfmaHalfOperand::name(), "fragment(c4/16,r16,c16)");
  EXPECT_EQ(MmaM16N8K32A::name(), "fragment(r8,c4/4,c2/16,r2/8,c4)");
  EXPECT_EQ(RowMajor::name(), "row_major");
}

// 16 rows x 4 k: one dword a row, 16 rows next to each other.
TEST(FragmentOrder, SimdStripIsOneDwordARow) {
  static_assert(SimdStrip::row_tile == 16 && SimdStrip::col_tile == 4 && SimdStrip::tile_size == 64);
  const SimdStrip layout(32, 64);
  for (Index row = 0; row < 32; ++row) {
    for (Index k = 0; k < 64; ++k) {
      const Index strip = row / 16;
      const Index dword = strip * 16 * (64 / 4) + k / 4 * 16 + row % 16;
      EXPECT_EQ(layout(row, k), dword * 4 + k % 4);
    }
  }
}

// MFMA 16x16x128 on fp8: lane l = 16 g + row; bytes 0-15 of the lane are K[16 g ..], bytes 16-31 K[64 + 16 g ..], so
// the operand is two of these tiles, each loaded with 16 bytes a lane.
TEST(FragmentOrder, MfmaTileGivesEveryLaneSixteenConsecutiveK) {
  static_assert(MfmaHalfOperand::row_tile == 16 && MfmaHalfOperand::col_tile == 64);
  const MfmaHalfOperand layout(16, 128);
  for (Index half = 0; half < 2; ++half) {
    for (Index lane = 0; lane < 64; ++lane) {
      const Index row = lane % 16;
      const Index g = lane / 16;
      for (Index byte = 0; byte < 16; ++byte) {
        EXPECT_EQ(layout(row, 64 * half + 16 * g + byte), 1024 * half + 16 * lane + byte);
      }
    }
  }
}

// PTX mma.m16n8k32 with 8-bit elements, first operand: groupID = lane / 4, tig = lane % 4; register a0 holds row
// groupID and k = 4 tig .. 4 tig + 3, a1 is 8 rows further, a2 is 16 k further, a3 both.
TEST(FragmentOrder, MmaTileGivesEveryLaneItsFourRegisters) {
  static_assert(MmaM16N8K32A::row_tile == 16 && MmaM16N8K32A::col_tile == 32);
  const MmaM16N8K32A layout(16, 32);
  constexpr Index row_of_register[] = {0, 8, 0, 8};
  constexpr Index k_of_register[] = {0, 0, 16, 16};
  for (Index lane = 0; lane < 32; ++lane) {
    const Index group = lane / 4;
    const Index tig = lane % 4;
    for (Index a = 0; a < 4; ++a) {
      for (Index byte = 0; byte < 4; ++byte) {
        EXPECT_EQ(layout(group + row_of_register[a], 4 * tig + k_of_register[a] + byte), 16 * lane + 4 * a + byte);
      }
    }
  }
}

}  // namespace
}  // namespace millet
