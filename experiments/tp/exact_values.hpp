// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "millet/layout/mx_matrix.hpp"

namespace millet {

/// A matrix of 0, +-1/2, +-1, +-3/2 and +-2 with scales 1/2, 1 and 2. Products of two such elements are multiples of
/// 2^-4 of at most 16, so that f32 sums of up to 2^16 of them are exact in any order: however a product is shared out,
/// its bits are the same.
[[nodiscard]] MxMatrix<> exact_values(Index rows, Index k, std::uint64_t seed);

}  // namespace millet
