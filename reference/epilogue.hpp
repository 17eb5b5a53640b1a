// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "millet/problem/grouped_problem.hpp"
#include "millet/reference/eigen_gemm.hpp"

namespace millet::reference {

/// What Epilogue::swiglu makes of the sums [slots, n]: a product [slots, n / 2].
///
/// With f(g) = g / (1 + exp(-alpha g)), whose slope is below 1.1, and errors c S_g and c S_u of the two sums, the
/// result f(g) (u + offset) is off by at most c (1.1 |u + offset| S_g + |f| S_u) + c^2 1.1 S_g S_u, and by its own
/// roundings: the argument of the exponential has a relative error of three roundings, hence 3 |alpha g| units of the
/// result; exponential, sum, quotient and products take less than 8; an exponential that overflows loses f, then below
/// |g| 2^-126. A sum that may overflow f32 leaves nothing to say: its elements have an infinite bound.
/// \param slot_weights  multiply the result; empty: none
[[nodiscard]] Product swiglu_of(const Product& sums, const Swiglu& swiglu, std::span<const float> slot_weights);

/// What Epilogue::topk_sum makes of the weighted sums [slots, n]: a product [slots / top_k, n], every row written.
/// Adding and weighting top_k terms in f32 rounds each of them at most top_k times.
[[nodiscard]] Product topk_sum_of(const Product& sums, Index top_k);

}  // namespace millet::reference
