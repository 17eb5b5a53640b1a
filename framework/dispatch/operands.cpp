// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/operands.hpp"

#include <array>
#include <limits>

namespace millet {

namespace {

// Memory that a call reads or writes.
struct Range {
  std::string_view name;
  const void* data;
  Index bytes;
  Index alignment;
};

bool overlap(const Range& x, const Range& y) {
  if (x.bytes == 0 || y.bytes == 0) return false;
  const auto x_begin = reinterpret_cast<std::uintptr_t>(x.data);
  const auto y_begin = reinterpret_cast<std::uintptr_t>(y.data);
  return x_begin <= y_begin ? y_begin - x_begin < static_cast<std::uintptr_t>(x.bytes)
                            : x_begin - y_begin < static_cast<std::uintptr_t>(y.bytes);
}

// x * y + z, at most the largest Index: strides come from the caller and may be anything.
Index saturated(Index x, Index y, Index z) {
  Index result = 0;
  const bool overflows = __builtin_mul_overflow(x, y, &result) || __builtin_add_overflow(result, z, &result);
  return overflows ? std::numeric_limits<Index>::max() : result;
}

// Bytes from the first element of `rows` rows to the last.
Index bytes_of_rows(Index rows, Index stride, Index row_elements, Index element_bytes) {
  return saturated(saturated(rows - 1, stride, row_elements), element_bytes, 0);
}

// What the dense and the grouped check have in common, after the problem is reduced to its extents.
struct Extents {
  Index a_rows;
  Index c_rows;
  Index c_cols;
  Index n;
  Index k;
  Index experts;
  OutputType output;
  ActivationFormat activation;
};

// Token ids, expert ids, their number in use and slot weights; empty for a dense product.
using RoutingRanges = std::array<Range, 4>;

Index activation_element_bytes(ActivationFormat format) {
  return format == ActivationFormat::mx ? 1 : format == ActivationFormat::bf16 ? 2 : 4;
}

Expected<void> check(std::string_view kernel, const Extents& e, const Activations& a, const WeightsRef& b,
                     const Output& c, const RoutingRanges& routing, const LayoutDescriptor& layout, Index alignment,
                     Workspace workspace, Index workspace_needed) {
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
    return fail(ErrorCode::invalid_layout,
                "{}: activation strides must be at least {} (values) and {} (scales), got {} and {}", kernel, e.k,
                mx ? blocks : 0, a.value_stride, a.scale_stride);
  }
  if (c.row_stride < e.c_cols) {
    return fail(ErrorCode::invalid_layout, "{}: the output's row stride must be at least {} (its columns), got {}",
                kernel, e.c_cols, c.row_stride);
  }
  const Index values_needed = saturated(e.experts, layout.value_count(e.n, e.k), 0);
  const Index scales_needed = saturated(e.experts, layout.scale_count(e.n, e.k), 0);
  if (b.value_count < values_needed || b.scale_count < scales_needed) {
    return fail(
        ErrorCode::invalid_layout,
        "{}: weight buffers hold {} values and {} scales, layout '{}' needs {} and {} for {} expert(s) of [{}, {}]",
        kernel, b.value_count, b.scale_count, layout.name(), values_needed, scales_needed, e.experts, e.n, e.k);
  }

  if (workspace_needed > 0 && (workspace.data == nullptr || workspace.bytes < workspace_needed)) {
    return fail(ErrorCode::invalid_argument, "{}: needs a workspace of {} bytes, got {}", kernel, workspace_needed,
                workspace.data == nullptr ? 0 : workspace.bytes);
  }

  const Index element = activation_element_bytes(e.activation);
  const Index output_element = bytes_per_element(e.output);
  const Range output{"output", c.values, bytes_of_rows(e.c_rows, c.row_stride, e.c_cols, output_element),
                     output_element};
  const Range scratch{"workspace", workspace.data, workspace_needed, workspace_alignment};
  const std::array inputs{
      Range{"activation values", a.values, bytes_of_rows(e.a_rows, a.value_stride, e.k, element), element},
      Range{"activation scales", a.scales, mx ? bytes_of_rows(e.a_rows, a.scale_stride, blocks, 1) : 0, 1},
      Range{"weight values", b.values, values_needed, alignment},
      Range{"weight scales", b.scales, scales_needed, 1},
      routing[0],
      routing[1],
      routing[2],
      routing[3],
  };
  const auto check_range = [&](const Range& range) -> Expected<void> {
    if (range.bytes == 0) return {};
    if (range.data == nullptr) {
      return fail(ErrorCode::invalid_argument, "{}: the pointer to the {} is null", kernel, range.name);
    }
    const auto address = reinterpret_cast<std::uintptr_t>(range.data);
    if (const auto wanted = static_cast<std::uintptr_t>(range.alignment); address % wanted != 0) {
      return fail(ErrorCode::invalid_argument,
                  "{}: the {} must be aligned to {} bytes, got an address {} bytes past that", kernel, range.name,
                  wanted, address % wanted);
    }
    if (range.bytes > (Index{1} << 62)) {
      return fail(ErrorCode::invalid_layout, "{}: the {} would pass 2^62 bytes; check the stride", kernel, range.name);
    }
    return {};
  };
  if (c.values == nullptr) return fail(ErrorCode::invalid_argument, "{}: the output pointer is null", kernel);
  for (const Range& range : {output, scratch}) {
    if (auto done = check_range(range); !done) return done;
  }
  for (const Range& input : inputs) {
    if (auto done = check_range(input); !done) return done;
    for (const Range& written : {output, scratch}) {
      if (overlap(written, input)) {
        return fail(ErrorCode::invalid_argument, "{}: the {} overlaps the {}; use separate buffers", kernel,
                    written.name, input.name);
      }
    }
  }
  if (overlap(output, scratch)) {
    return fail(ErrorCode::invalid_argument, "{}: the output overlaps the workspace; use separate buffers", kernel);
  }
  return {};
}

}  // namespace

Expected<void> check_operands(std::string_view kernel, const GemmProblem& p, const GemmOperandsRef& operands,
                              const LayoutDescriptor& layout, Index alignment, Workspace workspace,
                              Index workspace_needed) {
  const Extents extents{p.m, p.m, p.n, p.n, p.k, 1, p.output, p.activation};
  return check(kernel, extents, operands.a, operands.b, operands.c, {}, layout, alignment, workspace, workspace_needed);
}

Expected<void> check_operands(std::string_view kernel, const GroupedProblem& p, const GroupedOperandsRef& operands,
                              const LayoutDescriptor& layout, Index alignment, Workspace workspace,
                              Index workspace_needed) {
  const RoutingView& routing = operands.routing;
  if (routing.sorted_token_ids == nullptr || routing.expert_ids == nullptr ||
      routing.num_tokens_post_padded == nullptr) {
    return fail(ErrorCode::invalid_argument, "{}: a routing pointer is null", kernel);
  }
  if (p.weighted != (routing.slot_weights != nullptr)) {
    return fail(ErrorCode::invalid_argument, "{}: slot weights are {} but the problem is {}", kernel,
                routing.slot_weights != nullptr ? "given" : "null", p.weighted ? "weighted" : "not weighted");
  }
  const Extents extents{p.a_rows(), p.c_rows(), p.c_cols(), p.n, p.k, p.experts, p.output, p.activation};
  const RoutingRanges ranges{
      Range{"sorted token ids", routing.sorted_token_ids, saturated(p.padded_slots, 4, 0), 4},
      Range{"expert ids", routing.expert_ids, saturated(p.blocks(), 4, 0), 4},
      Range{"number of padded tokens", routing.num_tokens_post_padded, 4, 4},
      Range{"slot weights", routing.slot_weights, p.weighted ? saturated(p.slots, 4, 0) : 0, 4},
  };
  return check(kernel, extents, operands.a, operands.b, operands.c, ranges, layout, alignment, workspace,
               workspace_needed);
}

}  // namespace millet
