// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "millet/device/stream.hpp"
#include "millet/layout/mx_matrix.hpp"
#include "millet/problem/gemm_problem.hpp"
#include "millet/problem/grouped_problem.hpp"
#include "millet/quantize/relayout.hpp"

namespace millet {

/// The pair of layouts in which a kernel wants its weights; a type, so that a mismatch does not compile.
///
/// A type derived from it may define `static void annotate(const View& packed, E8M0* scales)`: it is called when
/// weights have been packed, to fill in what its scale mapping keeps room for beyond the scales (zero until then).
template <Mapping2D V, Mapping2D S>
struct WeightLayout {
  using ValueMapping = V;
  using ScalesMapping = S;
  using View = MxMatrixView<V, S>;
};

/// Weights as checkpoints have them: values [n, k], scales [n, k / 32], row-major.
using RowMajorWeights = WeightLayout<RowMajor, RowMajorScales>;

/// A, row-major, in one of three formats. Strides are in elements of the array that they belong to.
struct Activations {
  ActivationFormat format = ActivationFormat::mx;
  const void* values = nullptr;  ///< E4M3, BF16 or float, [rows, k]
  const E8M0* scales = nullptr;  ///< [rows, k / 32]; null unless format is mx
  Index value_stride = 0;        ///< at least k
  Index scale_stride = 0;        ///< at least k / 32
};

/// C, row-major, of the problem's output type.
struct Output {
  void* values = nullptr;
  Index row_stride = 0;  ///< in elements, at least the columns of C
};

/// Scratch memory of a call: owned by the caller, one for each stream, zeroed once when allocated, aligned to
/// workspace_alignment. Kernels that count in it leave their counters zero.
struct Workspace {
  void* data = nullptr;
  Index bytes = 0;
};

/// Bytes. Less than what Backend::allocate gives, so that callers may cut one allocation into several workspaces.
inline constexpr Index workspace_alignment = 16;

template <class Layout>
struct GemmOperands {
  Activations a;
  typename Layout::View b;
  Output c;
};

/// Operands of a grouped product. `b` describes expert 0; the others follow at the given distances, in elements.
template <class Layout>
struct GroupedOperands {
  Activations a;
  typename Layout::View b;
  Index expert_value_stride = 0;
  Index expert_scale_stride = 0;
  RoutingView routing;
  Output c;
};

/// A pair of weight layouts at run time: what the descriptor of a kernel shows, and how to get there.
struct LayoutDescriptor {
  std::string (*name)();
  Index (*value_count)(Index rows, Index cols) noexcept;
  Index (*scale_count)(Index rows, Index cols) noexcept;
  /// Rewrites a row-major matrix into `values` and `scales`, which hold value_count and scale_count zeroed elements.
  void (*pack)(const MxMatrixView<>& from, E4M3* values, E8M0* scales);
};

namespace detail {

template <class Layout>
struct LayoutFunctions {
  using V = typename Layout::ValueMapping;
  using S = typename Layout::ScalesMapping;

  static V values(Index rows, Index cols) noexcept { return V(rows, cols); }
  static S scales(Index rows, Index cols) noexcept { return S{typename S::BlockMapping(rows, MxBlock::count(cols))}; }
  static std::string name() { return fmt::format("{} scales {}", V::name(), S::BlockMapping::name()); }
  static Index value_count(Index rows, Index cols) noexcept { return values(rows, cols).required_span_size(); }
  static Index scale_count(Index rows, Index cols) noexcept { return scales(rows, cols).required_span_size(); }
  static void pack(const MxMatrixView<>& from, E4M3* to_values, E8M0* to_scales) {
    copy_between_layouts(from.values, from.value_layout, to_values, values(from.rows(), from.cols()));
    copy_between_layouts(from.scales, from.scale_layout.blocks, to_scales, scales(from.rows(), from.cols()).blocks);
    using View = typename Layout::View;
    if constexpr (requires(const View& packed) { Layout::annotate(packed, to_scales); }) {
      Layout::annotate(View{to_values, to_scales, values(from.rows(), from.cols()), scales(from.rows(), from.cols())},
                       to_scales);
    }
  }
};

}  // namespace detail

/// One object a layout pair in the whole program, so descriptors compare by address.
template <class Layout>
inline constexpr LayoutDescriptor layout_descriptor{
    detail::LayoutFunctions<Layout>::name, detail::LayoutFunctions<Layout>::value_count,
    detail::LayoutFunctions<Layout>::scale_count, detail::LayoutFunctions<Layout>::pack};

/// Weights whose layout is known at run time only: what a kernel descriptor's run takes. It checks the layout.
struct WeightsRef {
  const LayoutDescriptor* layout = nullptr;
  const E4M3* values = nullptr;
  const E8M0* scales = nullptr;
  Index value_count = 0;  ///< elements that the buffers hold, all experts together
  Index scale_count = 0;
};

struct GemmOperandsRef {
  Activations a;
  WeightsRef b;
  Output c;
};

struct GroupedOperandsRef {
  Activations a;
  WeightsRef b;
  RoutingView routing;
  Output c;
};

/// Checks pointers, strides, sizes, alignment and the workspace of a call in O(1): everything but the routing ids.
///
/// Errors: invalid_argument for a null or misaligned pointer, an output or workspace that overlaps another operand, or
/// a workspace smaller than `workspace_needed`; invalid_layout for weights in another layout than `layout`, a buffer
/// that is too short, a stride below its row, or one that leads beyond 2^62 bytes. Each names the operand, its value
/// and the requirement. Pointers are compared and never followed. \param alignment  of the weight values, in bytes
[[nodiscard]] Expected<void> check_operands(std::string_view kernel, const GemmProblem& problem,
                                            const GemmOperandsRef& operands, const LayoutDescriptor& layout,
                                            Index alignment, Workspace workspace, Index workspace_needed);
[[nodiscard]] Expected<void> check_operands(std::string_view kernel, const GroupedProblem& problem,
                                            const GroupedOperandsRef& operands, const LayoutDescriptor& layout,
                                            Index alignment, Workspace workspace, Index workspace_needed);

}  // namespace millet
