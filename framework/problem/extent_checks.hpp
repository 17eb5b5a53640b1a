// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string_view>

#include "millet/error/expected.hpp"
#include "millet/layout/scale_block.hpp"

namespace millet {

struct NamedExtent {
  std::string_view name;
  Index value;
};

/// Errors: invalid_problem, naming the extent, when one is < 1. \param where  the type that is being validated
[[nodiscard]] Expected<void> check_extents(std::string_view where, std::initializer_list<NamedExtent> extents);

/// Errors: invalid_problem when k is not a multiple of the scale block.
[[nodiscard]] Expected<void> check_scale_blocks(std::string_view where, Index k);

/// Errors: invalid_problem when the product of `factors` (each at least 1) passes 2^62 bytes, where offsets would wrap.
[[nodiscard]] Expected<void> check_addressable(std::string_view where, std::initializer_list<Index> factors);

}  // namespace millet
