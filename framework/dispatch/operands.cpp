// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/operands.hpp"

#include <array>

namespace millet {

namespace {

struct Range {
  std::string_view name;
  const void* data;
  Index bytes;
};

bool overlap(const Range& x, const Range& y) {
  const auto x_begin = reinterpret_cast<std::uintptr_t>(x.data);
  const auto y_begin = reinterpret_cast<std::uintptr_t>(y.data);
  return x_begin < y_begin + static_cast<std::uintptr_t>(y.bytes) &&
         y_begin < x_begin + static_cast<std::uintptr_t>(x.bytes);
}

// What the dense and the grouped check have in common, after the problem is reduced to its extents.
struct Extents {
  Index a_rows;
  Index c_rows;
  Index n;
  Index k;
  Index experts;
  OutputType output;
  ActivationFormat activation;
};

Index activation_element_bytes(ActivationFormat format) {
  return format == ActivationFormat::mx ? 1 : format == ActivationFormat::bf16 ? 2 : 4;
}

Expected<void> check(std::string_view kernel, const Extents& e, const Activations& a, const WeightsRef& b, const Output& c,
                     const LayoutDescriptor& layout, Index alignment, Workspace workspace, Index workspace_needed) {
  if (a.format != e.activation) {
    return fail(ErrorCode::invalid_argument, "{}: activations are {}, the problem says {}", kernel, to_string(a.format),
                to_string(e.activation));
  }
  if (b.layout != &layout) {
    return fail(ErrorCode::invalid_layout, "{}: weights must be in layout '{}', got '{}'; relayout them", kernel,
                layout.name(), b.layout == nullptr ? "none" : b.layout->name());
  }
  const bool mx = e.activation == ActivationFormat::mx;
  const Index blocks = MxBlock::count(e.k);
  if (a.value_stride < e.k || (mx && a.scale_stride < blocks)) {
    return fail(ErrorCode::invalid_layout, "{}: activation strides must be at least {} (values) and {} (scales), got {} and {}",
                kernel, e.k, mx ? blocks : 0, a.value_stride, a.scale_stride);
  }
  if (c.row_stride < e.n) {
    return fail(ErrorCode::invalid_layout, "{}: the output's row stride must be at least n={}, got {}", kernel, e.n,
                c.row_stride);
  }
  const Index values_needed = e.experts * layout.value_count(e.n, e.k);
  const Index scales_needed = e.experts * layout.scale_count(e.n, e.k);
  if (b.value_count < values_needed || b.scale_count < scales_needed) {
    return fail(ErrorCode::invalid_layout,
                "{}: weight buffers hold {} values and {} scales, layout '{}' needs {} and {} for {} expert(s) of [{}, {}]",
                kernel, b.value_count, b.scale_count, layout.name(), values_needed, scales_needed, e.experts, e.n, e.k);
  }

  const Index element = activation_element_bytes(e.activation);
  const Index output_element = bytes_per_element(e.output);
  const Range output{"output", c.values, ((e.c_rows - 1) * c.row_stride + e.n) * output_element};
  const std::array inputs{
      Range{"activation values", a.values, ((e.a_rows - 1) * a.value_stride + e.k) * element},
      Range{"activation scales", a.scales, mx ? (e.a_rows - 1) * a.scale_stride + blocks : 0},
      Range{"weight values", b.values, values_needed},
      Range{"weight scales", b.scales, scales_needed},
  };
  if (output.data == nullptr) return fail(ErrorCode::invalid_argument, "{}: the output pointer is null", kernel);
  for (const Range& input : inputs) {
    if (input.data == nullptr && input.bytes > 0) {
      return fail(ErrorCode::invalid_argument, "{}: the pointer to the {} is null", kernel, input.name);
    }
    if (input.data != nullptr && overlap(output, input)) {
      return fail(ErrorCode::invalid_argument, "{}: the output overlaps the {}; use separate buffers", kernel, input.name);
    }
  }
  struct Alignment {
    std::string_view name;
    const void* data;
    Index wanted;
  };
  for (const auto& [name, data, wanted] :
       {Alignment{"weight values", b.values, alignment}, Alignment{"activation values", a.values, element},
        Alignment{"output", c.values, output_element}}) {
    if (const auto address = reinterpret_cast<std::uintptr_t>(data); address % static_cast<std::uintptr_t>(wanted) != 0) {
      return fail(ErrorCode::invalid_argument, "{}: the {} must be aligned to {} bytes, got an address {} bytes past that",
                  kernel, name, wanted, address % static_cast<std::uintptr_t>(wanted));
    }
  }
  if (workspace_needed > 0 && (workspace.data == nullptr || workspace.bytes < workspace_needed)) {
    return fail(ErrorCode::invalid_argument, "{}: needs a workspace of {} bytes, got {}", kernel, workspace_needed,
                workspace.data == nullptr ? 0 : workspace.bytes);
  }
  return {};
}

}  // namespace

Expected<void> check_operands(std::string_view kernel, const GemmProblem& p, const GemmOperandsRef& operands,
                              const LayoutDescriptor& layout, Index alignment, Workspace workspace,
                              Index workspace_needed) {
  const Extents extents{p.m, p.m, p.n, p.k, 1, p.output, p.activation};
  return check(kernel, extents, operands.a, operands.b, operands.c, layout, alignment, workspace, workspace_needed);
}

Expected<void> check_operands(std::string_view kernel, const GroupedProblem& p, const GroupedOperandsRef& operands,
                              const LayoutDescriptor& layout, Index alignment, Workspace workspace,
                              Index workspace_needed) {
  const RoutingView& routing = operands.routing;
  if (routing.sorted_token_ids == nullptr || routing.expert_ids == nullptr || routing.num_tokens_post_padded == nullptr) {
    return fail(ErrorCode::invalid_argument, "{}: a routing pointer is null", kernel);
  }
  if (p.weighted != (routing.slot_weights != nullptr)) {
    return fail(ErrorCode::invalid_argument, "{}: slot weights are {} but the problem is {}", kernel,
                routing.slot_weights != nullptr ? "given" : "null", p.weighted ? "weighted" : "not weighted");
  }
  const Extents extents{p.a_rows(), p.slots, p.n, p.k, p.experts, p.output, p.activation};
  return check(kernel, extents, operands.a, operands.b, operands.c, layout, alignment, workspace, workspace_needed);
}

}  // namespace millet
