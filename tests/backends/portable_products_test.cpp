// SPDX-License-Identifier: Apache-2.0
// The portable backend's products, body by body: every width, with and without native subnormals, against one plain
// loop in the order of additions that strip_product.hpp states. Bits, not tolerances: every product is exact.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "backends/strip_operands.hpp"
#include "millet/backends/portable/tiles/column_items.hpp"
#include "millet/backends/portable/tiles/decode_activations.hpp"
#include "numeric/floating_point_mode.hpp"

namespace millet::portable {
namespace {

using conformance::Codes;
using conformance::make_strip_operands;
using conformance::multiply_in_strip_order;
using conformance::same_bits_or_both_nan;
using conformance::StripOperands;

constexpr unsigned native_subnormals = no_nans;
constexpr unsigned no_native_subnormals = no_nans | no_subnormals;

/// A, decoded.
struct Decoded {
  std::vector<float> values;
  std::vector<std::int32_t> scales;
  DecodedActivations view;
};

Decoded decoded_activations(const StripOperands& x) {
  Decoded a;
  a.values.resize(x.a_values.size());
  a.scales.resize(x.a_scales.size());
  a.view = {a.values.data(), a.scales.data(), x.m};
  const Activations source{ActivationFormat::mx, x.a_values.data(), x.a_scales.data(), x.k, MxBlock::count(x.k)};
  for (Index item = 0; item < static_cast<Index>(x.a_scales.size()); ++item) DecodeActivations{source, a.view}(item);
  return a;
}

template <class View>
struct NamedBodies {
  const char* name;
  HostBodies<View> bodies;
};

/// The vectors of AVX-512 on any CPU.
struct WideShape {
  static constexpr int W = 16;
  static constexpr int V = 1;
  static constexpr int tile = 12;
  static constexpr int strips_at_once(int m) noexcept { return m <= 2 ? 4 : 2; }

  template <int M, class View, class Rows>
  static void add_block_alone(const Product<View>& p, const Rows& b, Index block, Index a_block, const RowPair* rows,
                              bool first, const PrefetchDistance& ahead, Lanes<W>::Float (*total)[M]) {
    portable::add_block_alone<WideShape, M>(p, b, block, a_block, rows, first, ahead, total);
  }
};

/// Bodies that host_bodies does not have. With ThreadShape, a device's threads, one after another.
template <class Shape, class View>
constexpr HostBodies<View> bodies_of_shape() {
  const auto direct = []<int M>(std::integral_constant<int, M>) {
    return [](const Product<View>& p, const RowPair* rows, int, Index first, Index last) {
      multiply_directly<Shape, M>(p, rows, first, last);
    };
  };
  return {{direct(std::integral_constant<int, 1>()), direct(std::integral_constant<int, 2>()),
           direct(std::integral_constant<int, 3>()), direct(std::integral_constant<int, 4>())},
          [](const Product<View>& p, const RowPair* rows, int count, Index first, Index last) {
            multiply_buffered<Shape>(p, rows, count, first, last);
          }};
}

/// Those that this machine can run.
template <class View>
std::vector<NamedBodies<View>> all_bodies() {
  std::vector<NamedBodies<View>> all{{"threads", bodies_of_shape<ThreadShape, View>()},
                                     {"wide", bodies_of_shape<WideShape, View>()}};
  for (const HostIsa isa : {HostIsa::baseline, HostIsa::avx2, HostIsa::avx512}) {
    if (isa <= host_isa()) all.push_back({to_string(isa).data(), host_bodies<View>(isa)});
  }
  return all;
}

template <class View>
void expect_bits(const StripOperands& x, const View& b, const std::vector<float>& expected) {
  const Decoded a = decoded_activations(x);
  std::vector<RowPair> rows;
  for (Index m = 0; m < x.m; ++m) rows.push_back({m, m, 1.0F});
  for (const NamedBodies<View>& named : all_bodies<View>()) {
    for (const unsigned needed : {native_subnormals, no_native_subnormals}) {
      for (const bool direct : {true, false}) {
        if (direct && x.m > most_direct_rows) continue;
        std::vector<float> c(expected.size(), -7.0F);
        const Product<View> product{b, a.view, {{c.data(), x.n}, OutputType::f32, x.n}, false, needed};
        const auto body = direct ? named.bodies.direct[x.m - 1] : named.bodies.buffered;
        body(product, rows.data(), static_cast<int>(x.m), 0, x.n);
        for (std::size_t i = 0; i < c.size(); ++i) {
          ASSERT_TRUE(same_bits_or_both_nan(c[i], expected[i]))
              << named.name << (direct ? ", direct" : ", buffered")
              << (needed == native_subnormals ? ", native subnormals" : "") << ", m " << x.m << ", n " << x.n << ", k "
              << x.k << ", element " << i << ": " << c[i] << " instead of " << expected[i];
        }
      }
    }
  }
}

void check(Index m, Index n, Index k, Codes codes, int smallest_scale, int largest_scale) {
  const StripOperands x = make_strip_operands(m, n, k, codes, smallest_scale, largest_scale);
  const std::vector<float> expected = multiply_in_strip_order(x);
  expect_bits(x, x.strips(), expected);
  if (!testing::Test::HasFatalFailure()) expect_bits(x, x.row_major(), expected);
}

/// Every number of rows that has a body of its own, strips alone and together, k of one part and several.
void check_shapes(Codes codes, int smallest_scale, int largest_scale) {
  for (const Index m : {1, 2, 3, 4}) check(m, 115, 96, codes, smallest_scale, largest_scale);
  for (const Index m : {1, 5, 13, 24}) check(m, 83, 288, codes, smallest_scale, largest_scale);
  for (const Index k : {32, 256}) check(2, 7, k, codes, smallest_scale, largest_scale);
}

TEST(PortableProducts, NormalCodes) { check_shapes(Codes::normal, 120, 134); }
TEST(PortableProducts, FewSubnormalsAndZeros) { check_shapes(Codes::few_subnormals, 120, 134); }
TEST(PortableProducts, EveryCodeButNan) { check_shapes(Codes::any_but_nan, 120, 134); }
TEST(PortableProducts, FewNans) { check_shapes(Codes::few_nans, 120, 134); }
TEST(PortableProducts, NanPropagates) { check_shapes(Codes::any, 120, 134); }
TEST(PortableProducts, ScalesAtBothEndsOfThePlainRange) {
  check_shapes(Codes::few_subnormals, smallest_plain_scale - 2, smallest_plain_scale + 2);
  check_shapes(Codes::few_subnormals, largest_plain_scale - 2, largest_plain_scale + 2);
}
TEST(PortableProducts, ScalesFarFromOne) {
  check_shapes(Codes::any_but_nan, 3, 6);
  check_shapes(Codes::any_but_nan, 248, 252);
}
TEST(PortableProducts, ScaleOfNan) { check_shapes(Codes::normal, 252, 255); }

// Weights that something else packed, without what is known about the blocks, are slow and right.
TEST(PortableProducts, NothingKnownIsNothingPromised) {
  StripOperands x = make_strip_operands(2, 115, 96, Codes::any, 120, 134);
  for (Index strip = 0; strip < tiles_to_cover(x.n, strip_rows); ++strip) {
    for (Index block = 0; block < MxBlock::count(x.k); ++block) {
      x.strip_scales[static_cast<std::size_t>(x.scale_order().property_offset(strip, block))].bits = 0;
    }
  }
  expect_bits(x, x.strips(), multiply_in_strip_order(x));
}

// A host program may have set DAZ and FTZ (any library built with -ffast-math does), or another rounding.
TEST(PortableProducts, TheHostProgramsFloatingPointModeDoesNotMatter) {
  if (!can_set_floating_point_mode) GTEST_SKIP() << "this processor's modes are not ours to set";
  const StripOperands x = make_strip_operands(1, 35, 416, Codes::any_but_nan, 90, 130);
  const std::vector<float> expected = multiply_in_strip_order(x);
  const Decoded a = decoded_activations(x);
  std::vector<float> c(expected.size());
  using View = StripWeights::View;
  const ColumnItems<View> columns(x.n, 1);
  const RowPair row{0, 0, 1.0F};
  for (const bool direct : {true, false}) {
    for (const unsigned needed : {native_subnormals, no_native_subnormals}) {
      const Product<View> product{x.strips(), a.view, {{c.data(), x.n}, OutputType::f32, x.n}, false, needed};
      for (const FloatingPointMode& mode : hostile_modes) {
        std::fill(c.begin(), c.end(), -7.0F);
        in_mode(mode, [&] {
          for (Index item = 0; item < columns.count(); ++item) {
            direct ? columns.multiply_directly(product, &row, 1, item)
                   : columns.multiply_buffered(product, &row, 1, item);
          }
        });
        EXPECT_EQ(std::memcmp(c.data(), expected.data(), c.size() * sizeof(float)), 0) << mode.name;
      }
    }
  }
}

}  // namespace
}  // namespace millet::portable
