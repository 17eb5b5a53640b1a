// SPDX-License-Identifier: Apache-2.0
#include "golden/golden_vectors.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <bitset>
#include <set>

#include "error/fails_with.hpp"

namespace millet::golden {
namespace {

TEST(GoldenVectors, HoldEveryCodeOnceAndTheDocumentedNumberOfRecords) {
  const Vectors& v = vectors();
  std::bitset<256> elements;
  for (const E4M3Decode& record : v.e4m3_decode) elements.set(record.code.bits);
  std::bitset<256> scales;
  for (const E8M0Decode& record : v.e8m0_decode) scales.set(record.code.bits);
  EXPECT_TRUE(elements.all());
  EXPECT_TRUE(scales.all());
  EXPECT_EQ(v.e4m3_decode.size(), 256U);
  EXPECT_EQ(v.e8m0_decode.size(), 256U);
  EXPECT_EQ(v.f32_to_e4m3.size(), 30U);
  EXPECT_EQ(v.f32_to_e8m0.size(), 16U);
  EXPECT_EQ(v.blocks.size(), 24U);
  EXPECT_EQ(v.dequant.size(), 16U);
  EXPECT_EQ(v.dot.size(), 15U);
  EXPECT_EQ(v.negative_api.size(), 20U);
}

TEST(GoldenVectors, IdsAreUnique) {
  std::set<std::string> ids;
  for (const Block& block : vectors().blocks) EXPECT_TRUE(ids.insert(block.id).second) << block.id;
  for (const Dot& dot : vectors().dot) EXPECT_TRUE(ids.insert(dot.id).second) << dot.id;
  for (const NegativeCase& record : vectors().negative_api) EXPECT_TRUE(ids.insert(record.id).second) << record.id;
}

TEST(GoldenVectors, EvenIsTheExactRule) {
  for (const Block& block : vectors().blocks) {
    if (block.id != "B21_fltmax") continue;
    EXPECT_EQ(block.encoded(ScaleMode::even).scale.bits, 247);
    EXPECT_EQ(block.encoded(ScaleMode::floor).scale.bits, 246);
    EXPECT_EQ(block.encoded(ScaleMode::even).codes[0].bits, 0x78);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(block.input[0]), 0x7F7FFFFFU);
    return;
  }
  FAIL() << "no block B21_fltmax";
}

TEST(GoldenVectors, DotsKeepTheOrderOfCodesAndScales) {
  for (const Dot& dot : vectors().dot) {
    if (dot.id != "D19_one_hot_k32") continue;
    ASSERT_EQ(dot.k, 64);
    ASSERT_EQ(dot.a.size(), 64U);
    EXPECT_EQ(dot.a[31].bits, 0x00);
    EXPECT_EQ(dot.a[32].bits, 0x38);
    EXPECT_EQ(dot.b[32].bits, 0x40);
    EXPECT_EQ(dot.a_scales, (std::vector<E8M0>{E8M0{127}, E8M0{129}}));
    EXPECT_EQ(dot.value, 8.0F);
    EXPECT_EQ(dot.bf16.bits, 0x4100);
    EXPECT_EQ(dot.sum_of_magnitudes, 8.0);
    return;
  }
  FAIL() << "no dot D19_one_hot_k32";
}

TEST(GoldenVectors, ParseNamesWhatIsWrong) {
  constexpr ErrorCode code = ErrorCode::parse_error;
  EXPECT_TRUE(fails_with(parse("{"), code, {"golden vectors: ", "parse error"}));
  EXPECT_TRUE(fails_with(parse("{}"), code, {"'e4m3_decode' not found"}));
  EXPECT_TRUE(fails_with(parse(R"({"e4m3_decode": []})"), code, {"section 'e4m3_decode' is empty"}));
  EXPECT_TRUE(fails_with(
      parse(R"({"e4m3_decode": [{"code": "0x00", "f32": "0x00000000"}, {"code": "0x1", "f32": "0x00000000"}]})"), code,
      {"e4m3_decode[1]: code: '0x1' is not 0x and 2 digits"}));
  EXPECT_TRUE(fails_with(parse(R"({"e4m3_decode": [{"code": "0x0g", "f32": "0x00000000"}]})"), code,
                         {"e4m3_decode[0]: '0g' is not a hexadecimal number"}));
}

}  // namespace
}  // namespace millet::golden
