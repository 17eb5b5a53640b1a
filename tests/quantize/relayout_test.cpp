// SPDX-License-Identifier: Apache-2.0
#include "millet/quantize/relayout.hpp"

#include <gtest/gtest.h>

#include <cctype>
#include <random>
#include <string>
#include <vector>

#include "error/fails_with.hpp"
#include "layout/example_layouts.hpp"

namespace millet {
namespace {

using namespace examples;

/// Row-major with gaps between the rows; no code is zero, so that what relayout must not copy or must clear shows.
struct PaddedSource {
  std::vector<E4M3> values;
  std::vector<E8M0> scales;
  MxMatrixView<> view;

  PaddedSource(Index rows, Index cols, Index value_gap, Index scale_gap) {
    const RowMajor value_layout(rows, cols, cols + value_gap);
    const RowMajor block_layout(rows, cols / 32, cols / 32 + scale_gap);
    std::mt19937 random(8);
    values.resize(static_cast<std::size_t>(value_layout.required_span_size()));
    scales.resize(static_cast<std::size_t>(block_layout.required_span_size()));
    for (E4M3& code : values) code.bits = static_cast<std::uint8_t>(1 + random() % 255);
    for (E8M0& code : scales) code.bits = static_cast<std::uint8_t>(1 + random() % 255);
    view = {values.data(), scales.data(), value_layout, RowMajorScales{block_layout}};
  }
};

/// Elements of the buffer that no (row, col) of the extents reaches must be zero.
template <class Layout, class Code>
void expect_zero_padding(const Layout& layout, const std::vector<Code>& codes) {
  ASSERT_EQ(static_cast<Index>(codes.size()), layout.required_span_size());
  std::vector<bool> used(codes.size(), false);
  for (Index row = 0; row < layout.rows(); ++row) {
    for (Index col = 0; col < layout.cols(); ++col) used[layout(row, col)] = true;
  }
  Index padding = 0;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    if (used[i]) continue;
    ++padding;
    EXPECT_EQ(codes[i].bits, 0) << "offset " << i;
  }
  EXPECT_EQ(padding, layout.required_span_size() - layout.rows() * layout.cols());
}

template <class V, class S>
struct Pair {
  using Values = V;
  using Blocks = S;
};

template <class P>
class Relayout : public testing::Test {};

using Pairs = testing::Types<Pair<RowMajor, RowMajor>, Pair<SimdStrip, ScaleStrip>, Pair<MfmaHalfOperand, ScaleDwords>,
                             Pair<MmaM16N8K32A, ScaleRowPairs>, Pair<Transposed, Transposed>,
                             Pair<OddRadices, OddRadices>, Pair<OneRow, RowMajor>>;

struct PairNames {
  template <class P>
  static std::string GetName(int) {
    std::string name = P::Values::name() + "_" + P::Blocks::name();
    for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
    return name;
  }
};
TYPED_TEST_SUITE(Relayout, Pairs, PairNames);

TYPED_TEST(Relayout, KeepsEveryElementAndClearsThePadding) {
  using ToV = typename TypeParam::Values;
  using ToS = ScaleMapping<typename TypeParam::Blocks>;
  std::mt19937 random(9);
  for (int i = 0; i < 12; ++i) {
    const Index rows = 1 + static_cast<Index>(random() % 70);
    const Index cols = 32 * (1 + static_cast<Index>(random() % 7));
    SCOPED_TRACE(fmt::format("{} x {}", rows, cols));
    const PaddedSource source(rows, cols, static_cast<Index>(random() % 3), static_cast<Index>(random() % 3));

    const MxMatrix<ToV, ToS> there = relayout<ToV, ToS>(source.view);
    ASSERT_EQ(there.rows(), rows);
    ASSERT_EQ(there.cols(), cols);
    ASSERT_EQ(there.scale_layout().cols(), cols);
    const auto view = there.view();
    for (Index row = 0; row < rows; ++row) {
      for (Index k = 0; k < cols; ++k) {
        ASSERT_EQ(view.code(row, k), source.view.code(row, k)) << row << ", " << k;
        ASSERT_EQ(view.scale(row, k), source.view.scale(row, k)) << row << ", " << k;
      }
    }
    expect_zero_padding(there.value_layout(), there.values());
    expect_zero_padding(there.scale_layout().blocks, there.scales());

    const MxMatrix<> back = relayout<RowMajor, RowMajorScales>(there);
    ASSERT_EQ(back.value_layout(), RowMajor(rows, cols));
    for (Index row = 0; row < rows; ++row) {
      for (Index k = 0; k < cols; ++k) ASSERT_EQ(back.values()[row * cols + k], source.view.code(row, k));
      for (Index b = 0; b < cols / 32; ++b)
        ASSERT_EQ(back.scales()[row * (cols / 32) + b], source.view.scale(row, b * 32));
    }
  }
}

TEST(RelayoutBetweenFragments, IsTheSameByAnyRoute) {
  const PaddedSource source(37, 160, 0, 0);
  using ViaV = MfmaHalfOperand;
  using ViaS = ScaleMapping<ScaleDwords>;
  using ToV = MmaM16N8K32A;
  using ToS = ScaleMapping<ScaleRowPairs>;
  const MxMatrix<ToV, ToS> direct = relayout<ToV, ToS>(source.view);
  const MxMatrix<ToV, ToS> indirect = relayout<ToV, ToS>(relayout<ViaV, ViaS>(source.view));
  EXPECT_EQ(direct.values(), indirect.values());
  EXPECT_EQ(direct.scales(), indirect.scales());
}

// One hand-made strip: row 1, k = 4 .. 7 is dword 16 + 1.
TEST(RelayoutToSimdStrip, PutsBytesWhereTheStripWantsThem) {
  MxMatrix<> source(RowMajor(2, 32), row_major_scales(2, 32));
  for (Index k = 4; k < 8; ++k) source.values()[32 + k] = E4M3{static_cast<std::uint8_t>(0x10 + k)};
  source.scales()[1] = E8M0{99};
  const auto strip = relayout<SimdStrip, ScaleMapping<ScaleStrip>>(source);
  ASSERT_EQ(strip.values().size(), 16U * 32);
  for (std::size_t i = 0; i < strip.values().size(); ++i) {
    const bool filled = i >= 17 * 4 && i < 18 * 4;
    EXPECT_EQ(int{strip.values()[i].bits}, filled ? static_cast<int>(0x14 + i - 17 * 4) : 0) << i;
  }
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(int{strip.scales()[i].bits}, i == 1 ? 99 : 0) << i;
}

TEST(InterleaveGateUp, TakesRowsByTurns) {
  const PaddedSource gate(3, 96, 5, 1);
  const PaddedSource up(3, 96, 0, 0);
  const Expected<MxMatrix<>> both = interleave_gate_up(gate.view, up.view);
  ASSERT_TRUE(both) << both.error().message;
  ASSERT_EQ(both->rows(), 6);
  ASSERT_EQ(both->cols(), 96);
  for (Index row = 0; row < 6; ++row) {
    const MxMatrixView<>& from = row % 2 == 0 ? gate.view : up.view;
    for (Index k = 0; k < 96; ++k) {
      EXPECT_EQ(both->view().code(row, k), from.code(row / 2, k));
      EXPECT_EQ(both->view().scale(row, k), from.scale(row / 2, k));
    }
  }
}

TEST(InterleaveGateUp, RefusesMatricesThatAreNotAlike) {
  const PaddedSource gate(3, 96, 0, 0);
  const PaddedSource fewer_rows(2, 96, 0, 0);
  const PaddedSource fewer_columns(3, 64, 0, 0);
  EXPECT_TRUE(fails_with(interleave_gate_up(gate.view, fewer_rows.view), ErrorCode::invalid_layout,
                         {"gate is [3, 96], up [2, 96]"}));
  EXPECT_TRUE(fails_with(interleave_gate_up(gate.view, fewer_columns.view), ErrorCode::invalid_layout, {"up [3, 64]"}));
}

}  // namespace
}  // namespace millet
