// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include "millet/error/expected.hpp"
#include "millet/layout/fragment_order.hpp"
#include "millet/layout/mx_matrix.hpp"

namespace millet {

namespace detail {

/// Copies every logical element from one unique mapping to another of the same extents; padding is left as it is.
template <class T, Mapping2D From, Mapping2D To>
void copy_between_layouts(const T* source, const From& from, T* target, const To& to) {
  for (Index row = 0; row < from.rows(); ++row) {
    for (Index col = 0; col < from.cols(); ++col) target[to(row, col)] = source[from(row, col)];
  }
}

}  // namespace detail

/// Rewrites an MX matrix in another pair of layouts: the only way to preshuffle, and back.
///
/// The bytes are copied, never converted. Padding of the target is zero: code 0x00 under scale 2^-127, which adds
/// nothing to a product.
/// \tparam ToV, ToS  target layouts, constructed from the extents of `from`
template <Mapping2D ToV, Mapping2D ToS, Mapping2D FromV, Mapping2D FromS>
[[nodiscard]] MxMatrix<ToV, ToS> relayout(const MxMatrixView<FromV, FromS>& from) {
  const Index rows = from.rows();
  const Index cols = from.cols();
  MxMatrix<ToV, ToS> result(ToV(rows, cols), ToS{typename ToS::BlockMapping(rows, MxBlock::count(cols))});
  detail::copy_between_layouts(from.values, from.value_layout, result.values().data(), result.value_layout());
  detail::copy_between_layouts(from.scales, from.scale_layout.blocks, result.scales().data(),
                               result.scale_layout().blocks);
  return result;
}

template <Mapping2D ToV, Mapping2D ToS, Mapping2D FromV, Mapping2D FromS>
[[nodiscard]] MxMatrix<ToV, ToS> relayout(const MxMatrix<FromV, FromS>& from) {
  return relayout<ToV, ToS>(from.view());
}

/// The weights of a gated up projection as Epilogue::swiglu takes them: rows of `gate` and of `up` by turns.
///
/// Checkpoints have the two [rows, cols] matrices apart, or one behind the other.
/// Errors: invalid_layout when the shapes differ.
[[nodiscard]] Expected<MxMatrix<>> interleave_gate_up(const MxMatrixView<>& gate, const MxMatrixView<>& up);

}  // namespace millet
