// SPDX-License-Identifier: Apache-2.0
#include "millet/problem/shape_file.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

#include "error/fails_with.hpp"

// From embedded_oddities.txt: what a text must survive on its way through CMake and the compiler.
extern const std::string_view embedded_oddities;

namespace millet {

extern const std::string_view dense_csv;
extern const std::string_view moe_csv;
extern const std::string_view published_csv;

namespace {

template <class T>
T value_of(Expected<T> result) {
  EXPECT_TRUE(result) << result.error().message;
  return result ? *std::move(result) : T{};
}

std::vector<DenseShape> dense() { return value_of(parse_dense_shapes(dense_csv, "dense.csv")); }
std::vector<MoeShape> moe() { return value_of(parse_moe_shapes(moe_csv, "moe.csv")); }
std::vector<PublishedCell> published() { return value_of(parse_published(published_csv, "published.csv")); }

template <class Shape>
std::size_t cells_of(const std::vector<Shape>& shapes, std::string_view preset) {
  std::size_t cells = 0;
  for (const Shape& shape : shapes_of_preset(shapes, preset)) cells += shape.m.size();
  return cells;
}

TEST(EmbeddedText, IsTheFileByteForByte) {
  std::ifstream file(MILLET_TEST_DATA "/report/embedded_oddities.txt", std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  ASSERT_GT(text.str().size(), 80U);
  EXPECT_EQ(embedded_oddities, text.str());
}

TEST(DenseShapes, PresetsHaveTheirNumberOfCells) {
  const auto shapes = dense();
  EXPECT_EQ(shapes_of_preset(shapes, "seed-dense").size(), 4U);
  EXPECT_EQ(cells_of(shapes, "seed-dense"), 28U);
  EXPECT_EQ(shapes_of_preset(shapes, "tp").size(), 15U);
  EXPECT_EQ(cells_of(shapes, "tp"), 105U);
  EXPECT_EQ(shapes_of_preset(shapes, "m3").size(), 6U);
  EXPECT_EQ(cells_of(shapes, "m3"), 72U);
  EXPECT_TRUE(shapes_of_preset(shapes, "seed").empty());
  std::set<std::string> presets;
  for (const DenseShape& shape : shapes) presets.insert(shape.presets.begin(), shape.presets.end());
  EXPECT_EQ(presets, (std::set<std::string>{"m3", "seed-dense", "tp"}));
}

TEST(DenseShapes, OnePresetMeasuresNoShapeTwice) {
  for (const char* preset : {"seed-dense", "tp", "m3"}) {
    std::set<std::pair<Index, Index>> extents;
    for (const DenseShape& shape : shapes_of_preset(dense(), preset)) {
      EXPECT_TRUE(extents.emplace(shape.k, shape.n).second) << preset << " " << shape.label << " " << shape.tp;
    }
  }
}

TEST(DenseShapes, TensorParallelismDividesOneExtent) {
  // The full extents of each projection, from the model's configuration: 64 + 2 * 4 heads of 128; hidden size 6144.
  for (const DenseShape& shape : shapes_of_preset(dense(), "tp")) {
    if (shape.label == "qkv") {
      EXPECT_EQ(shape.n * shape.tp, (64 + 2 * 4) * 128);
      EXPECT_EQ(shape.k, 6144);
    } else if (shape.label == "o_proj") {
      EXPECT_EQ(shape.k * shape.tp, 64 * 128);
      EXPECT_EQ(shape.n, 6144);
    } else if (shape.label == "gate_up") {
      EXPECT_EQ(shape.n * shape.tp, 2 * 3072);
      EXPECT_EQ(shape.k, 6144);
    } else {
      EXPECT_EQ(shape.label, "mlp_down");
      EXPECT_EQ(shape.k * shape.tp, 6144);
      EXPECT_EQ(shape.n, 6144);
    }
    EXPECT_EQ(shape.m, (std::vector<Index>{1, 2, 4, 8, 16, 32, 64}));
    EXPECT_EQ(shape.source, "ROCm/aiter pull request 3783");
  }
}

TEST(MoeShapes, PresetsHaveTheirNumberOfCells) {
  const auto shapes = moe();
  EXPECT_EQ(cells_of(shapes, "seed-moe"), 7U);
  EXPECT_EQ(shapes_of_preset(shapes, "m3").size(), 6U);
  EXPECT_EQ(cells_of(shapes, "m3"), 42U);
  EXPECT_EQ(cells_of(shapes, "m3-fused"), 28U);
  for (const MoeShape& shape : shapes) {
    // An up projection shares a row of A among a token's slots, a down projection weights its slots.
    const bool up = shape.label == "moe_gemm1";
    EXPECT_EQ(shape.k == 6144, up) << shape.line;
    EXPECT_EQ(shape.a_div, up ? shape.top_k : 1) << shape.line;
  }
}

TEST(Published, HoldsTheTableAndItsMeans) {
  const auto cells = published();
  ASSERT_EQ(cells.size(), 28U);
  double sum = 0;
  for (const PublishedCell& cell : cells) sum += std::log(cell.speedup);
  EXPECT_NEAR(std::exp(sum / 28), 2.27, 0.005);  // as published
  int with_times = 0;
  for (const PublishedCell& cell : cells) {
    EXPECT_EQ(cell.device, "MI355X");
    EXPECT_EQ(cell.source, "ROCm/aiter pull request 3783");
    EXPECT_EQ(cell.us > 0, cell.baseline_us > 0);
    if (cell.us == 0) continue;
    ++with_times;
    EXPECT_NEAR(cell.baseline_us / cell.us, cell.speedup, 0.006) << cell.label << " " << cell.m;
  }
  EXPECT_EQ(with_times, 4);
}

TEST(Published, CoversThePresetSeedDense) {
  const auto cells = published();
  for (const DenseShape& shape : shapes_of_preset(dense(), "seed-dense")) {
    for (const Index m : shape.m) {
      const PublishedCell* cell = find_published(cells, m, shape.n, shape.k);
      ASSERT_NE(cell, nullptr) << shape.label << " " << m;
      EXPECT_EQ(cell->label, shape.label);
    }
  }
  const PublishedCell* tie = find_published(cells, 64, 6144, 2048);
  ASSERT_NE(tie, nullptr);
  EXPECT_EQ(tie->speedup, 1.0);
  EXPECT_NE(tie->note.find("tie"), std::string::npos);
  EXPECT_EQ(find_published(cells, 3, 6144, 2048), nullptr);
  EXPECT_EQ(find_published(cells, 64, 2048, 6144), nullptr);
}

constexpr std::string_view dense_start = "# millet-dense-shapes 1\nlabel,tp,k,n,m,presets,source\n";
constexpr std::string_view moe_start =
    "# millet-moe-shapes 2\nlabel,tp,ep,experts,n,k,top_k,a_div,weighted,block_m,epilogue,m,presets,source\n";
constexpr std::string_view published_start =
    "# millet-published 1\nlabel,k,n,m,speedup,us,baseline_us,device,baseline,source,note\n";

TEST(ShapeFile, CommentsBlanksAndCarriageReturnsDoNotMatter) {
  const auto shapes = parse_dense_shapes(
      "\n# millet-dense-shapes 1\r\n# comment, with commas\n\nlabel,tp,k,n,m,presets,source\n"
      "  qkv , 4 ,64, 7 ,  1   8 , a  b ,a source\r\n#end",
      "f");
  ASSERT_TRUE(shapes) << shapes.error().message;
  ASSERT_EQ(shapes->size(), 1U);
  const DenseShape& shape = shapes->front();
  EXPECT_EQ(shape.label, "qkv");
  EXPECT_EQ(shape.tp, 4);
  EXPECT_EQ(shape.k, 64);
  EXPECT_EQ(shape.n, 7);
  EXPECT_EQ(shape.m, (std::vector<Index>{1, 8}));
  EXPECT_EQ(shape.presets, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(shape.source, "a source");
  EXPECT_EQ(shape.line, 6);
}

struct Fault {
  std::string text;
  std::string message;
};

TEST(ShapeFile, DenseMistakesAreNamedWithTheirLine) {
  const std::string start(dense_start);
  const std::vector<Fault> faults{
      {"", "f: no rows; wanted the lines '# millet-dense-shapes 1' and 'label,tp,k,n,m,presets,source'"},
      {"# millet-dense-shapes 1\n", "f: no rows"},
      {"# millet-dense-shapes 2\n", "f:1: the first line must be '# millet-dense-shapes 1'"},
      {"label,tp,k,n,m,presets,source\n", "f:1: the first line must be"},
      {std::string(moe_start), "f:1: the first line must be"},
      {"# millet-dense-shapes 1\nlabel,tp,n,k,m,presets,source\n",
       "f:2: the columns must be 'label,tp,k,n,m,presets,source'"},
      {"# millet-dense-shapes 1\nlabel,tp,k,n,m,presets\n", "f:2: the columns must be"},
      {start + "qkv,4,64,7,1,a\n", "f:3: 6 fields, 7 wanted"},
      {start + "qkv,4,64,7,1,a,b,c\n", "f:3: 8 fields, 7 wanted"},
      {start + ",4,64,7,1,a,b\n", "f:3: column label: is empty"},
      {start + "qkv,0,64,7,1,a,b\n", "f:3: column tp: '0' is no integer of at least 1"},
      {start + "qkv,four,64,7,1,a,b\n", "f:3: column tp: 'four' is no integer"},
      {start + "qkv,4,,7,1,a,b\n", "f:3: column k: '' is no integer"},
      {start + "qkv,4,64.0,7,1,a,b\n", "f:3: column k: '64.0' is no integer"},
      {start + "qkv,4,33,7,1,a,b\n", "f:3: column k: 33 is no multiple of 32"},
      {start + "qkv,4,64,-7,1,a,b\n", "f:3: column n: '-7' is no integer"},
      {start + "qkv,4,64,99999999999999999999,1,a,b\n", "f:3: column n: '99999999999999999999' is no integer"},
      {start + "qkv,4,64,7,,a,b\n", "f:3: column m: is empty"},
      {start + "qkv,4,64,7,1;2,a,b\n", "f:3: column m: '1;2' is no integer"},
      {start + "qkv,4,64,7,1 4 2,a,b\n", "f:3: column m: 2 does not ascend after 4"},
      {start + "qkv,4,64,7,1 1,a,b\n", "f:3: column m: 1 does not ascend after 1"},
      {start + "qkv,4,64,7,1,,b\n", "f:3: column presets: is empty"},
      {start + "qkv,4,64,7,1,a a,b\n", "f:3: column presets: has 'a' twice"},
      {start + "qkv,4,64,7,1,a,\n", "f:3: column source: is empty"},
      {start + "qkv,4,64,7,1,a,b\n\n#\nqkv,4,64,7,2,c,d\n", "f:6: repeats line 3"},
  };
  for (const Fault& fault : faults) {
    EXPECT_TRUE(fails_with(parse_dense_shapes(fault.text, "f"), ErrorCode::parse_error, {fault.message})) << fault.text;
  }
}

TEST(ShapeFile, MoeMistakesAreNamedWithTheirLine) {
  const std::string start(moe_start);
  const std::string row = "g,4,1,8,16,64,4,4,yes,16,none,1 2,a,b\n";
  ASSERT_TRUE(parse_moe_shapes(start + row, "f"));
  const std::vector<Fault> faults{
      {start + "g,4,1,8,16,64,3,2,yes,16,none,1 2,a,b\n", "f:3: column a_div: 2 is neither 1 nor top_k=3"},
      {start + "g,4,1,8,16,64,9,9,yes,16,none,1 2,a,b\n", "f:3: column top_k: 9 is above 8 experts"},
      {start + "g,4,1,8,16,64,4,4,maybe,16,none,1 2,a,b\n", "f:3: column weighted: 'maybe' is neither yes nor no"},
      {start + "g,4,1,8,16,48,4,4,yes,16,none,1 2,a,b\n", "f:3: column k: 48 is no multiple of 32"},
      {start + "g,4,1,8,16,64,4,4,yes,0,none,1 2,a,b\n", "f:3: column block_m: '0' is no integer"},
      {start + "g,4,1,8,16,64,4,4,yes,16,gelu,1 2,a,b\n",
       "f:3: column epilogue: 'gelu' is none of none, swiglu, swiglu_oai, topk_sum"},
      {start + "g,4,1,8,17,64,4,4,yes,16,swiglu_oai,1 2,a,b\n",
       "f:3: column epilogue: swiglu_oai pairs gate and up rows, but n=17 is odd"},
      {"# millet-moe-shapes 1\n", "f:1: the first line must be '# millet-moe-shapes 2'"},
      {start + row + row, "f:4: repeats line 3"},
  };
  for (const Fault& fault : faults) {
    EXPECT_TRUE(fails_with(parse_moe_shapes(fault.text, "f"), ErrorCode::parse_error, {fault.message})) << fault.text;
  }
}

TEST(ShapeFile, PublishedMistakesAreNamedWithTheirLine) {
  const std::string start(published_start);
  const std::string row = "g,64,7,1,2.5,,,device,baseline,source,\n";
  ASSERT_TRUE(parse_published(start + row, "f"));
  const std::vector<Fault> faults{
      {start + "g,64,7,1,0,,,device,baseline,source,\n", "f:3: column speedup: '0' is no positive number"},
      {start + "g,64,7,1,nan,,,device,baseline,source,\n", "f:3: column speedup: 'nan' is no positive number"},
      {start + "g,64,7,1,inf,,,device,baseline,source,\n", "f:3: column speedup: 'inf' is no positive number"},
      {start + "g,64,7,1,~1,,,device,baseline,source,\n", "f:3: column speedup: '~1' is no positive number"},
      {start + "g,64,7,1,,,,device,baseline,source,\n", "f:3: column speedup: '' is no positive number"},
      {start + "g,64,7,1,2,-1,,device,baseline,source,\n", "f:3: column us: '-1' is no positive number"},
      {start + "g,64,7,1,2,,x,device,baseline,source,\n", "f:3: column baseline_us: 'x' is no positive number"},
      {start + "g,64,7,1,2,,,device,,source,\n", "f:3: column baseline: is empty"},
      {start + "g,64,7,1,2,,,device,baseline,,\n", "f:3: column source: is empty"},
      {start + row + row, "f:4: repeats line 3"},
  };
  for (const Fault& fault : faults) {
    EXPECT_TRUE(fails_with(parse_published(fault.text, "f"), ErrorCode::parse_error, {fault.message})) << fault.text;
  }
}

}  // namespace
}  // namespace millet
