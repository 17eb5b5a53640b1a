// SPDX-License-Identifier: Apache-2.0
// Compile-time facts that kernels rely on: these types are passed to devices byte by byte, and work in constant
// expressions.
#include <array>
#include <concepts>
#include <type_traits>

#include "millet/layout/fragment_order.hpp"
#include "millet/layout/mx_matrix.hpp"
#include "millet/numeric/bf16.hpp"
#include "millet/problem/grouped_problem.hpp"
#include "millet/quantize/quantize_mx.hpp"

namespace millet {
namespace {

template <class T>
concept KernelArgument = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T> &&
    std::is_nothrow_copy_constructible_v<T> && std::is_trivially_destructible_v<T>;

using Mfma = FragmentOrder<ColDigit<4, 16>, RowDigit<16>, ColDigit<16>>;
using ScaleDwords = ScaleMapping<FragmentOrder<RowDigit<16>, ColDigit<4>>>;

static_assert(KernelArgument<E4M3> && sizeof(E4M3) == 1 && alignof(E4M3) == 1);
static_assert(KernelArgument<E8M0> && sizeof(E8M0) == 1 && alignof(E8M0) == 1);
static_assert(KernelArgument<BF16> && sizeof(BF16) == 2 && alignof(BF16) == 2);
static_assert(KernelArgument<RowMajor> && KernelArgument<RowMajorScales>);
static_assert(KernelArgument<Mfma> && KernelArgument<ScaleDwords>);
static_assert(KernelArgument<MxMatrixView<>> && KernelArgument<MxMatrixView<Mfma, ScaleDwords>>);
static_assert(KernelArgument<GemmProblem> && KernelArgument<GroupedProblem> && KernelArgument<RoutingView>);

// An order costs its two extents, nothing for the digits.
static_assert(sizeof(Mfma) == 2 * sizeof(Index) && sizeof(ScaleDwords) == 2 * sizeof(Index));

static_assert(std::is_trivially_default_constructible_v<E4M3>);  // arrays of codes need no initialization
static_assert(std::equality_comparable<E4M3> && std::equality_comparable<E8M0> && std::equality_comparable<BF16>);
static_assert(Mapping2D<RowMajor> && Mapping2D<RowMajorScales> && Mapping2D<Mfma> && Mapping2D<ScaleDwords>);
static_assert(std::same_as<decltype(MxMatrix<Mfma, ScaleDwords>().view()), MxMatrixView<Mfma, ScaleDwords>>);
static_assert(!std::is_convertible_v<MxMatrix<Mfma, ScaleDwords>, MxMatrixView<>>);

// The views decode in constant expressions, through any mapping.
template <class V, class S>
constexpr float decode_last(V value_layout, S scale_layout) {
  std::array<E4M3, 1024> values{};
  std::array<E8M0, 64> scales{};
  values[value_layout(15, 63)] = E4M3::round(-1.5F);
  scales[scale_layout(15, 63)] = E8M0{130};
  return MxMatrixView<V, S>{values.data(), scales.data(), value_layout, scale_layout}(15, 63);
}
static_assert(decode_last(RowMajor(16, 64), row_major_scales(16, 64)) == -12.0F);
static_assert(decode_last(Mfma(16, 64), ScaleDwords{{16, 2}}) == -12.0F);

static_assert(Mfma(16, 64)(3, 17) == 19 * 16 + 1);
static_assert(Mfma(16, 64).coordinates(19 * 16 + 1) == Mfma::Coordinates{3, 17});
static_assert(E8M0::round(0x1p-127F, PowerRounding::up).bits == 0 && BF16::round(-0.0F).bits == 0x8000);
static_assert(GemmProblem{.m = 1, .n = 2, .k = 32}.flops() == 128.0);
static_assert(parse_scale_mode("even") == ScaleMode::even && !parse_scale_mode("EVEN"));

}  // namespace
}  // namespace millet
