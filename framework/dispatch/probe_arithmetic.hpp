// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/dispatch/backend.hpp"

namespace millet {

/// Runs the backend's best dense kernel on operands whose result tells which scale each product took, and on NaN and
/// extreme scales: for backends whose matrix instruction this project knows from documents only.
///
/// Every token has a single 1, at a k of its own, the weights are all 1 and each block of each row has another scale
/// over 16 binades; so an element of C is the product of the two scales that the device took for that k.
/// Errors: incorrect_result, naming the k, what came out, and the block whose scales would explain it; those of
/// running.
[[nodiscard]] Expected<void> probe_arithmetic(const Backend& backend);

}  // namespace millet
