// SPDX-License-Identifier: Apache-2.0
// The cpu backend's products, instruction set by instruction set: both kernels, every way to decode, against one plain
// loop in the order of additions that strip_product.hpp states. Bits, not tolerances: every product is exact.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "backends/strip_operands.hpp"
#include "millet/backends/cpu/instruction_set.hpp"
#include "millet/backends/cpu/tiles/kernel_arguments.hpp"
#include "millet/quantize/quantize_block.hpp"

namespace millet::cpu {

#if defined(MILLET_TEST_AVX512_BY_SIMDE)
const StripKernels& avx512_kernels_by_simde() noexcept;
const StripKernels& avx512_vbmi_kernels_by_simde() noexcept;
#endif

namespace {

using conformance::Codes;
using conformance::make_strip_operands;
using conformance::multiply_in_strip_order;
using conformance::same_bits_or_both_nan;
using conformance::StripOperands;

/// Those that this machine can run, and the AVX-512 ones as SIMDe carries them out, where that is installed.
std::vector<const InstructionSet*> runnable_sets() {
  std::vector<const InstructionSet*> sets;
  for (const InstructionSet& set : instruction_sets()) {
    if (set.runs_here()) sets.push_back(&set);
  }
#if defined(MILLET_TEST_AVX512_BY_SIMDE)
  static constexpr InstructionSet by_simde[] = {
      {"avx512 by SIMDe", "", []() noexcept { return true; }, avx512_kernels_by_simde},
      {"avx512_vbmi by SIMDe", "", []() noexcept { return true; }, avx512_vbmi_kernels_by_simde}};
  for (const InstructionSet& set : by_simde) sets.push_back(&set);
#endif
  return sets;
}

TEST(CpuDecoding, EveryCodeByEveryWayIsExact) {
  constexpr int order[] = {0, 2, 1, 3};
  for (const InstructionSet* set : runnable_sets()) {
    const StripKernels& kernels = set->kernels();
    for (const StripKernels::Decoding* way : {&kernels.normal, &kernels.exact}) {
      for (int first = 0; first < 256; first += 64) {
        std::uint8_t codes[64];
        for (int i = 0; i < 64; ++i) codes[i] = static_cast<std::uint8_t>(first + i);
        float values[4][strip_rows];
        way->decode(codes, values[0]);
        for (int row = 0; row < strip_rows; ++row) {
          for (int i = 0; i < 4; ++i) {
            const E4M3 code{codes[4 * row + order[i]]};
            if (code.is_nan()) continue;  // the products look for it
            const float got = values[i][row] * way->factor;
            EXPECT_TRUE(same_bits_or_both_nan(got, code.value()))
                << set->name << (way == &kernels.exact ? ", exact" : ", normal") << ", code " << int{code.bits} << ": "
                << got << " instead of " << code.value();
            // The promise that makes this way assist-free.
            EXPECT_FALSE(way->subnormals && std::fpclassify(values[i][row]) == FP_SUBNORMAL) << int{code.bits};
          }
        }
      }
    }
  }
}

TEST(CpuDecoding, ActivationsContainThePlainScales) {
  for (const InstructionSet* set : runnable_sets()) {
    for (int scale = 0; scale < 256; ++scale) {
      for (int first = 0; first < 256; first += block_k) {
        std::uint8_t codes[block_k];
        for (int i = 0; i < block_k; ++i) codes[i] = static_cast<std::uint8_t>(first + i);
        const auto code = static_cast<std::uint8_t>(scale);
        float values[block_k];
        std::uint8_t kept = 0;
        const DecodedActivations decoded{values, &kept, 1, true};
        const bool plain = set->kernels().decode_activations(codes, &code, 1, decoded, 0);
        EXPECT_EQ(plain, scale >= smallest_plain_scale && scale <= largest_plain_scale);
        EXPECT_EQ(kept, plain ? 127 : scale);
        for (int i = 0; i < block_k; ++i) {
          const int k = i % 4 == 1 ? i + 1 : i % 4 == 2 ? i - 1 : i;
          const float expected =
              std::ldexp(E4M3{codes[k]}.value(), activation_exponent + (plain ? scale - E8M0::bias : 0));
          ASSERT_TRUE(same_bits_or_both_nan(values[i], expected)) << set->name << ", scale " << scale << ", " << i;
        }
      }
    }
  }
}

/// Blocks of f32 bits where a quantizer changes its mind: maxima around 1, 1.75, 1.8125 and 2 times every power of two,
/// subnormals included, next to ties of every code, zeros of both signs, tiny values, NaN and infinity.
std::vector<std::uint32_t> blocks_to_quantize() {
  std::mt19937 random(1);
  const auto bits_of = [](float x) { return __builtin_bit_cast(std::uint32_t, x); };
  std::vector<std::uint32_t> words;
  const auto add_block = [&](std::uint32_t largest, auto&& other) {
    for (int i = 0; i < block_k; ++i) {
      const auto sign = static_cast<std::uint32_t>(random() % 2 << 31);
      words.push_back(sign | (i == static_cast<int>(largest % block_k) ? largest : other(i)));
    }
  };
  for (int exponent = -149; exponent <= 127; ++exponent) {
    for (const float significand : {1.0F, 1.75F, 1.8125F, 1.99F}) {
      const float largest = std::ldexp(significand, exponent);
      for (int ulps = -2; ulps <= 2; ++ulps) {
        // Ties and their neighbours: an odd number of half places below the largest's power.
        add_block(bits_of(largest) + static_cast<std::uint32_t>(ulps), [&](int i) {
          const float tie = std::ldexp(static_cast<float>(2 * (random() % 16) + 1), exponent - 5 - i % 20);
          return std::min(bits_of(tie), bits_of(largest)) - static_cast<std::uint32_t>(random() % 2);
        });
      }
      add_block(bits_of(largest), [&](int) { return static_cast<std::uint32_t>(random()) % (bits_of(largest) + 1); });
    }
  }
  for (std::uint32_t amax = 0x045FFFF0U; amax < 0x04600010U; ++amax) add_block(amax, [&](int) { return amax - 1; });
  const std::uint32_t specials[] = {0, 1, 0x007FFFFFU, 0x7F7FFFFFU, 0x7F800000U, 0x7F800001U, 0x7FC00000U};
  for (const std::uint32_t special : specials) {
    add_block(special, [](int) { return 0U; });
    add_block(special, [&](int) { return static_cast<std::uint32_t>(random()) % 0x7F800000U; });
    add_block(special, [&](int) { return static_cast<std::uint32_t>(random()) & 0x7FFFFFFFU; });
  }
  return words;
}

/// Quantizes a row of several blocks as row 1 of 3 and compares with what decoding its quantization gives.
template <class T>
void check_quantizer(const InstructionSet& set, const std::vector<T>& values) {
  constexpr bool bf16 = sizeof(T) == 2;
  const auto blocks = static_cast<Index>(values.size()) / block_k;
  constexpr Index rows = 3;
  std::vector<float> got(static_cast<std::size_t>(rows * blocks * block_k), -7.0F);
  std::vector<float> expected = got;
  std::vector<std::uint8_t> got_scales(static_cast<std::size_t>(rows * blocks), 1);
  std::vector<std::uint8_t> expected_scales = got_scales;
  std::vector<E4M3> codes(values.size());
  std::vector<E8M0> scales(static_cast<std::size_t>(blocks));
  for (Index block = 0; block < blocks; ++block) {
    float widened[block_k];
    for (int i = 0; i < block_k; ++i) {
      const auto word = static_cast<std::uint32_t>(values[static_cast<std::size_t>(block * block_k + i)]);
      widened[i] = __builtin_bit_cast(float, bf16 ? word << 16 : word);
    }
    scales[static_cast<std::size_t>(block)] =
        quantize_block(widened, 1, ScaleMode::rceil, &codes[static_cast<std::size_t>(block * block_k)]);
  }
  const StripKernels& kernels = set.kernels();
  const bool plain = kernels.decode_activations(&codes.front().bits, &scales.front().bits, blocks,
                                                {expected.data(), expected_scales.data(), rows, true}, 1);
  EXPECT_EQ(kernels.quantize_activations(values.data(), bf16, blocks, {got.data(), got_scales.data(), rows, true}, 1),
            plain)
      << set.name;
  EXPECT_EQ(got_scales, expected_scales) << set.name;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::memcmp(&got[i], &expected[i], sizeof(float)), 0)  // the bits of NaN too
        << set.name << (bf16 ? ", bf16" : ", f32") << ", block " << i / block_k / rows << ", value " << i % block_k
        << ": " << got[i] << " instead of " << expected[i];
  }
}

TEST(CpuQuantizer, HasTheBitsOfTheFrameworks) {
  const std::vector<std::uint32_t> words = blocks_to_quantize();
  std::vector<std::uint16_t> halves;
  for (const std::uint32_t word : words) halves.push_back(static_cast<std::uint16_t>(word >> 16));
  for (const InstructionSet* set : runnable_sets()) {
    check_quantizer(*set, words);
    check_quantizer(*set, halves);
    // Block by block, for what a row says about all of its scales.
    for (std::size_t block = 0; block < words.size(); block += 29 * block_k) {
      const auto first = words.begin() + static_cast<std::ptrdiff_t>(block);
      check_quantizer(*set, std::vector<std::uint32_t>(first, first + block_k));
    }
  }
}

/// All rows, by one kernel; -7 where nothing was written.
std::vector<float> multiply(const StripKernels& kernels, const StripOperands& x, const WeightsArguments& b, bool direct,
                            bool native_subnormals, int strips_at_once) {
  const Index blocks = MxBlock::count(x.k);
  std::vector<float> a(static_cast<std::size_t>(x.m * x.k));
  std::vector<std::uint8_t> a_scales(static_cast<std::size_t>(x.m * blocks));
  DecodedActivations decoded{a.data(), a_scales.data(), x.m, true};
  for (Index row = 0; row < x.m; ++row) {
    const bool plain =
        kernels.decode_activations(&x.a_values[static_cast<std::size_t>(row * x.k)].bits,
                                   &x.a_scales[static_cast<std::size_t>(row * blocks)].bits, blocks, decoded, row);
    decoded.plain = decoded.plain && plain;
  }
  std::vector<RowPair> rows;
  for (Index m = 0; m < x.m; ++m) rows.push_back({m, m, 1.0F});
  std::vector<float> c(static_cast<std::size_t>(x.m * x.n), -7.0F);
  const StripProduct product{b,
                             decoded,
                             {c.data(), x.n, x.n, false, false},
                             rows.data(),
                             static_cast<int>(x.m),
                             native_subnormals,
                             strips_at_once};
  (direct ? kernels.direct : kernels.buffered)(product, 0, tiles_to_cover(x.n, strip_rows));
  return c;
}

void check(int m, Index n, Index k, Codes codes, int smallest_scale, int largest_scale) {
  const StripOperands x = make_strip_operands(m, n, k, codes, smallest_scale, largest_scale);
  const std::vector<float> expected = multiply_in_strip_order(x);
  for (const InstructionSet* set : runnable_sets()) {
    for (int variant = 0; variant < 16; ++variant) {
      const bool direct = variant % 2 == 0;
      const bool native = variant / 2 % 2 == 0;
      const bool row_major = variant / 4 % 2 == 0;
      const bool alone = variant / 8 % 2 == 0;
      if (direct ? m > most_direct_rows : alone) continue;
      const auto c =
          multiply(set->kernels(), x, row_major ? weights_arguments(x.row_major()) : weights_arguments(x.strips()),
                   direct, native, alone ? 1 : 4);
      for (std::size_t i = 0; i < c.size(); ++i) {
        ASSERT_TRUE(same_bits_or_both_nan(c[i], expected[i]))
            << set->name << (direct ? ", direct" : ", buffered") << (native ? ", native" : "")
            << (row_major ? ", row-major" : "") << (alone ? ", one strip" : "") << ", m " << m << ", n " << n << ", k "
            << k << ", element " << i << ": " << c[i] << " instead of " << expected[i];
      }
    }
  }
}

/// Every number of rows that has a body of its own, strips alone and together, k of one part and several.
void check_shapes(Codes codes, int smallest_scale, int largest_scale) {
  for (const int m : {1, 2, 3, 4, 5, 6, 7, 8}) check(m, 115, 96, codes, smallest_scale, largest_scale);
  for (const int m : {1, 9, 13, 24, 77}) check(m, 35, 416, codes, smallest_scale, largest_scale);
  for (const Index k : {32, 256, 288}) check(2, 7, k, codes, smallest_scale, largest_scale);
}

TEST(CpuProducts, NormalCodes) { check_shapes(Codes::normal, 120, 134); }
TEST(CpuProducts, FewSubnormalsAndZeros) { check_shapes(Codes::few_subnormals, 120, 134); }
TEST(CpuProducts, EveryCodeButNan) { check_shapes(Codes::any_but_nan, 120, 134); }
TEST(CpuProducts, FewNans) { check_shapes(Codes::few_nans, 120, 134); }
TEST(CpuProducts, NanPropagates) { check_shapes(Codes::any, 120, 134); }
TEST(CpuProducts, ScalesAtBothEndsOfThePlainRange) {
  check_shapes(Codes::few_subnormals, smallest_plain_scale - 2, smallest_plain_scale + 2);
  check_shapes(Codes::few_subnormals, largest_plain_scale - 2, largest_plain_scale + 2);
}
TEST(CpuProducts, ScalesFarFromOne) {
  check_shapes(Codes::any_but_nan, 3, 6);
  check_shapes(Codes::any_but_nan, 248, 252);
}
TEST(CpuProducts, ScaleOfNan) { check_shapes(Codes::normal, 252, 255); }

TEST(CpuWeights, EachBlockSaysWhatIsInIt) {
  constexpr Index n = 40;
  constexpr Index k = 96;
  StripOperands x = make_strip_operands(1, n, k, Codes::normal, 120, 134);
  const auto properties_with = [&](Index row, Index column, int code, int scale) {
    std::vector<E4M3> values = x.b_values;
    std::vector<E8M0> scales = x.b_scales;
    if (code >= 0) values[static_cast<std::size_t>(row * k + column)].bits = static_cast<std::uint8_t>(code);
    if (scale >= 0) {
      scales[static_cast<std::size_t>(row * MxBlock::count(k) + column / MxBlock::k)].bits =
          static_cast<std::uint8_t>(scale);
    }
    layout_descriptor<StripWeights>.pack({values.data(), scales.data(), RowMajor(n, k), row_major_scales(n, k)},
                                         x.strip_values.data(), x.strip_scales.data());
    const StripScaleOrder order = x.scale_order();
    std::vector<int> properties;
    for (Index strip = 0; strip < 3; ++strip) {
      for (Index block = 0; block < 3; ++block) {
        properties.push_back(x.strip_scales[static_cast<std::size_t>(order.property_offset(strip, block))].bits);
      }
    }
    return properties;
  };
  constexpr int all = no_subnormals | no_nans | plain_scales;
  const auto all_but = [&](int lost) {
    std::vector<int> properties(9, all);
    properties[5] = all & ~lost;  // strip 1, block 2
    return properties;
  };
  EXPECT_EQ(properties_with(17, 70, -1, -1), all_but(0));
  for (const int code : {0x01, 0x07, 0x81, 0x87}) EXPECT_EQ(properties_with(17, 70, code, -1), all_but(no_subnormals));
  for (const int code : {0x7F, 0xFF}) EXPECT_EQ(properties_with(31, 95, code, -1), all_but(no_nans));
  for (const int code : {0x00, 0x80, 0x08, 0x88, 0x7E, 0xFE}) EXPECT_EQ(properties_with(17, 64, code, -1), all_but(0));
  for (const int scale : {0, smallest_plain_scale - 1, largest_plain_scale + 1, 255}) {
    EXPECT_EQ(properties_with(16, 64, -1, scale), all_but(plain_scales));
  }
  // Row 1 is zero: a small scale is no matter, a large one is.
  EXPECT_EQ(properties_with(1, 0, -1, smallest_plain_scale - 1), all_but(0));
  std::vector<int> first(9, all);
  first[0] = all & ~plain_scales;
  EXPECT_EQ(properties_with(1, 0, -1, 255), first);
}

// Weights that something else packed, without what is known about the blocks, are slow and right.
TEST(CpuWeights, NothingKnownIsNothingPromised) {
  for (const int m : {1, 9}) {
    StripOperands x = make_strip_operands(m, 35, 416, Codes::any, 120, 134);
    const std::vector<float> expected = multiply_in_strip_order(x);
    const StripScaleOrder order = x.scale_order();
    for (Index strip = 0; strip < 3; ++strip) {
      for (Index block = 0; block < MxBlock::count(x.k); ++block) {
        x.strip_scales[static_cast<std::size_t>(order.property_offset(strip, block))].bits = 0;
      }
    }
    for (const InstructionSet* set : runnable_sets()) {
      const auto c = multiply(set->kernels(), x, weights_arguments(x.strips()), m == 1, false, 4);
      for (std::size_t i = 0; i < c.size(); ++i) {
        ASSERT_TRUE(same_bits_or_both_nan(c[i], expected[i])) << set->name << ", element " << i;
      }
    }
  }
}

}  // namespace
}  // namespace millet::cpu
