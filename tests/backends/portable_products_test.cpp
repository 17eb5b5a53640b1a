// SPDX-License-Identifier: Apache-2.0
// The portable backend's products, body by body: every width, with and without native subnormals, against one plain
// loop in the order of additions that strip_product.hpp states. Bits, not tolerances: every product is exact.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "millet/backends/portable/kernels/gemv_range.hpp"
#include "numeric/floating_point_mode.hpp"

namespace millet::portable {
namespace {

enum class Codes { normal, few_subnormals, any_but_nan, any };

struct Operands {
  Index n;
  Index k;
  int m;
  std::vector<E4M3> values;
  std::vector<E8M0> scales;
  std::vector<E4M3> strip_values;
  std::vector<E8M0> strip_scales;
  std::vector<E4M3> a;
  std::vector<float> a_values;
  std::vector<std::int32_t> a_scales;

  [[nodiscard]] RowMajorWeights::View row_major() const {
    return {values.data(), scales.data(), RowMajor(n, k), row_major_scales(n, k)};
  }
  [[nodiscard]] StripWeights::View strips() const {
    return {strip_values.data(), strip_scales.data(), StripOrder(n, k),
            ScaleMapping<StripOrder>{StripOrder(n, MxBlock::count(k))}};
  }
  [[nodiscard]] DecodedActivations activations() { return {a_values.data(), a_scales.data(), m}; }
};

Operands make_operands(int m, Index n, Index k, Codes codes, int smallest_scale, int largest_scale) {
  std::mt19937 random(static_cast<unsigned>(m * 1000 + n * 10 + k));
  const auto between = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  const auto code = [&] {
    const int sign = between(0, 1) * 0x80;
    if (codes == Codes::any) return sign + between(0, 0x7F);
    if (codes == Codes::any_but_nan) return sign + between(0, 0x7E);
    if (codes == Codes::few_subnormals && between(0, 99) == 0) return sign + between(0, 7);
    return sign + between(8, 0x7E);
  };
  Operands x{n, k, m, {}, {}, {}, {}, {}, {}, {}};
  for (Index i = 0; i < n * k; ++i) x.values.push_back(E4M3{static_cast<std::uint8_t>(code())});
  const Index blocks = MxBlock::count(k);
  for (Index i = 0; i < n * blocks; ++i) {
    x.scales.push_back(E8M0{static_cast<std::uint8_t>(between(smallest_scale, largest_scale))});
  }
  const LayoutDescriptor& strips = layout_descriptor<StripWeights>;
  x.strip_values.resize(static_cast<std::size_t>(strips.value_count(n, k)));
  x.strip_scales.resize(static_cast<std::size_t>(strips.scale_count(n, k)));
  strips.pack(x.row_major(), x.strip_values.data(), x.strip_scales.data());
  // [blocks][rows][32], the order of DecodedActivations.
  for (Index i = 0; i < m * k; ++i) {
    x.a.push_back(E4M3{static_cast<std::uint8_t>(between(0, 1) * 0x80 + between(0, 0x7E))});
    x.a_values.push_back(x.a.back().value() * 0x1p60F);
  }
  // Together with the weights' they keep C far from overflow, where a fused and an unfused addition differ.
  for (Index i = 0; i < m * blocks; ++i)
    x.a_scales.push_back(between(std::max(0, 254 - largest_scale), 254 - smallest_scale));
  return x;
}

/// The stated order, in the plainest form: [m, n].
std::vector<float> plain_loop(const Operands& x) {
  std::vector<float> c;
  const Index blocks = MxBlock::count(x.k);
  for (int m = 0; m < x.m; ++m) {
    for (Index n = 0; n < x.n; ++n) {
      float total = 0.0F;
      for (Index block = 0; block < blocks; ++block) {
        float sum = 0.0F;
        for (Index i = 0; i < MxBlock::k; ++i) {
          const float w = x.values[static_cast<std::size_t>(n * x.k + block * MxBlock::k + i)].value();
          sum += w * x.a[static_cast<std::size_t>((block * x.m + m) * MxBlock::k + i)].value();
        }
        const E8M0 b_scale = x.scales[static_cast<std::size_t>(n * blocks + block)];
        const int a_scale = x.a_scales[static_cast<std::size_t>(block * x.m + m)];
        total += b_scale.is_nan() || a_scale == E8M0::nan_bits
                     ? std::nanf("")
                     : std::ldexp(sum, b_scale.bits + a_scale - 2 * E8M0::bias);
      }
      c.push_back(total);
    }
  }
  return c;
}

/// M = 0 stands for the buffered product, whose row count is a run-time value.
template <class Shape, int M, class View>
MILLET_INLINE void multiply(const View& b, const DecodedActivations& a, const OutputColumns& out) {
  RowPair rows[M == 0 ? rows_per_pass : M];
  for (int m = 0; m < a.rows; ++m) rows[m] = {m, m, 1.0F};
  for (Index column = 0; column < out.n; column += Shape::W * Shape::V) {
    if constexpr (M == 0) {
      buffered_product<Shape>(b, a, rows, static_cast<int>(a.rows), column, false, out);
    } else {
      direct_product<Shape, M>(b, a, rows, column, false, out);
    }
  }
}

template <int M, class View>
void multiply_on_threads(const View& b, const DecodedActivations& a, const OutputColumns& out) {
  multiply<ThreadShape, M>(b, a, out);
}
template <int M, class View>
void multiply_baseline(const View& b, const DecodedActivations& a, const OutputColumns& out) {
  multiply<BaselineShape, M>(b, a, out);
}
#if MILLET_X86_TIERS
template <bool Native, int M, class View>
MILLET_TARGET_AVX2 void multiply_avx2(const View& b, const DecodedActivations& a, const OutputColumns& out) {
  multiply<Avx2Shape<Native>, M>(b, a, out);
}
template <bool Native, int M, class View>
MILLET_TARGET_AVX512 void multiply_avx512(const View& b, const DecodedActivations& a, const OutputColumns& out) {
  multiply<Avx512Shape<Native>, M>(b, a, out);
}
#endif

template <class View>
struct Body {
  const char* name;
  void (*run)(const View&, const DecodedActivations&, const OutputColumns&);
};

/// Those that this machine can run.
template <int M, class View>
std::vector<Body<View>> bodies() {
  std::vector<Body<View>> all{{"threads", multiply_on_threads<M, View>}, {"baseline", multiply_baseline<M, View>}};
#if MILLET_X86_TIERS
  if (host_isa() >= HostIsa::avx2) {
    all.push_back({"avx2", multiply_avx2<false, M, View>});
    all.push_back({"avx2, native", multiply_avx2<true, M, View>});
  }
  if (host_isa() >= HostIsa::avx512) {
    all.push_back({"avx512", multiply_avx512<false, M, View>});
    all.push_back({"avx512, native", multiply_avx512<true, M, View>});
  }
#endif
  return all;
}

template <int M, class View>
void expect_plain_loops_bits(Operands& x, const View& b, const std::vector<float>& expected) {
  for (const Body<View>& body : bodies<M, View>()) {
    std::vector<float> c(expected.size(), -7.0F);
    body.run(b, x.activations(), {{c.data(), x.n}, OutputType::f32, x.n});
    for (std::size_t i = 0; i < c.size(); ++i) {
      const bool both_nan = std::isnan(c[i]) && std::isnan(expected[i]);
      ASSERT_TRUE(both_nan || std::memcmp(&c[i], &expected[i], sizeof(float)) == 0)
          << body.name << (M == 0 ? ", buffered" : ", direct") << ", m " << x.m << ", n " << x.n << ", k " << x.k
          << ", element " << i << ": " << c[i] << " instead of " << expected[i];
    }
  }
}

/// \tparam M  the direct product's; the buffered one gets as many rows
template <int M>
void check(Codes codes, int smallest_scale, int largest_scale) {
  for (const Index k : {32, 64, 96, 128, 160, 416}) {
    Operands x = make_operands(M, 35, k, codes, smallest_scale, largest_scale);
    const std::vector<float> expected = plain_loop(x);
    expect_plain_loops_bits<M>(x, x.strips(), expected);
    expect_plain_loops_bits<0>(x, x.strips(), expected);
    if constexpr (M == 1) {
      expect_plain_loops_bits<M>(x, x.row_major(), expected);
      expect_plain_loops_bits<0>(x, x.row_major(), expected);
    }
    if (testing::Test::HasFatalFailure()) return;
  }
}

void check_every_m(Codes codes, int smallest_scale, int largest_scale) {
  check<1>(codes, smallest_scale, largest_scale);
  check<4>(codes, smallest_scale, largest_scale);
}

TEST(PortableProducts, NormalCodes) { check_every_m(Codes::normal, 120, 134); }
TEST(PortableProducts, FewSubnormalsAndZeros) { check_every_m(Codes::few_subnormals, 120, 134); }
TEST(PortableProducts, EveryCodeButNan) { check_every_m(Codes::any_but_nan, 120, 134); }
TEST(PortableProducts, NanPropagates) { check_every_m(Codes::any, 120, 134); }
TEST(PortableProducts, ScalesAtBothEndsOfThePlainRange) {
  check_every_m(Codes::few_subnormals, smallest_plain_scale - 2, smallest_plain_scale + 2);
  check_every_m(Codes::few_subnormals, largest_plain_scale - 2, largest_plain_scale + 2);
}
TEST(PortableProducts, ScaleOfNan) { check_every_m(Codes::normal, 252, 255); }

// A host program may have set DAZ and FTZ (any library built with -ffast-math does), or another rounding.
TEST(PortableProducts, TheHostProgramsFloatingPointModeDoesNotMatter) {
  if (!can_set_floating_point_mode) GTEST_SKIP() << "this processor's modes are not ours to set";
  Operands x = make_operands(1, 35, 416, Codes::any_but_nan, 40, 90);
  const std::vector<float> expected = plain_loop(x);
  std::vector<float> c(expected.size());
  using Work = GemvRange<StripWeights>::Work<1>;
  const ItemFunctor<Work> functor(Work{x.strips(), x.activations(), {{c.data(), x.n}, OutputType::f32, x.n}});
  for (const FloatingPointMode& mode : hostile_modes) {
    std::fill(c.begin(), c.end(), -7.0F);
    in_mode(mode, [&] {
      for (Index item = 0; item < column_items(x.n); ++item) functor(item);
    });
    EXPECT_EQ(std::memcmp(c.data(), expected.data(), c.size() * sizeof(float)), 0) << mode.name;
  }
}

}  // namespace
}  // namespace millet::portable
