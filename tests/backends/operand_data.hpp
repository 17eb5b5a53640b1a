// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <random>
#include <vector>

#include "millet/dispatch/host_operands.hpp"

/// Operands for tests, the same for the same seed.
namespace millet::conformance {

using Random = std::mt19937_64;

/// What a matrix holds.
enum class Data {
  gaussian,      ///< N(0, 1) times 1/2, quantized with RCEIL
  exact_dyadic,  ///< {0, +-1/2, +-1, +-3/2, +-2} with scales 2^-1 .. 2^1: every sum of up to 2^17 products is exact in
                 ///< f32
  wide_scales,   ///< normal codes of both signs, a random scale for each block over 24 binades: shows a scale from
                 ///< elsewhere
  all_codes,     ///< uniform random bytes without NaN, scales around 1: subnormals and zeros in every block
  extreme_scales,  ///< positive normal codes (infinities of both signs would have no defined sum), scales at 0, 1, 120,
                   ///< 127, 134, 253 and 254
};

[[nodiscard]] MxMatrix<> random_matrix(Data data, Index rows, Index cols, Random& random);

/// Activations in the wanted format: Gaussian data for bf16 and f32, `data` for mx.
[[nodiscard]] HostActivations random_activations(ActivationFormat format, Data data, Index rows, Index k,
                                                 Random& random);

/// top_k distinct experts for each token.
[[nodiscard]] std::vector<std::int32_t> random_topk_ids(Index tokens, Index top_k, Index experts, Random& random);

}  // namespace millet::conformance
