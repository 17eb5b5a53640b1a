// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "millet/layout/mx_matrix.hpp"
#include "millet/problem/grouped_problem.hpp"
#include "millet/quantize/quantize_mx.hpp"

namespace millet {

/// A reproducible stream of normal deviates: 16 bits of a counter-based generator (splitmix64) look up one of 65536
/// quantiles of the normal distribution. Magnitudes end at 4.3 standard deviations; about 1 ns a value.
class NormalStream {
 public:
  explicit NormalStream(std::uint64_t seed) noexcept : state_(seed) {}

  void fill(std::span<float> values, float standard_deviation) noexcept;

 private:
  std::uint64_t state_;
};

/// One number from several: seeds of streams that must not depend on the order in which operands are made.
[[nodiscard]] std::uint64_t mix_seed(std::uint64_t seed, std::initializer_list<std::uint64_t> parts) noexcept;

/// Weights [n, k], 0.1 N(0, 1), quantized row by row, so that no f32 matrix is held.
[[nodiscard]] MxMatrix<> random_weights(Index n, Index k, ScaleMode mode, std::uint64_t seed);

/// Activations [rows, k], 0.5 N(0, 1).
[[nodiscard]] std::vector<float> random_activations(Index rows, Index k, std::uint64_t seed);

/// The matrices that the experts of a grouped problem are made from: up to four, since quantizing is slow.
[[nodiscard]] std::vector<MxMatrix<>> random_expert_pool(Index experts, Index n, Index k, ScaleMode mode,
                                                         std::uint64_t seed);

/// One expert: the rows of one matrix of the pool, rotated by a number of rows of its own. Every expert is another
/// matrix, at the cost of a copy.
[[nodiscard]] MxMatrix<> expert_from_pool(const std::vector<MxMatrix<>>& pool, Index expert);

/// An expert that nobody may read: NaN in every value and scale, so that a kernel that does fails its verification.
[[nodiscard]] MxMatrix<> forbidden_expert(Index n, Index k);

/// `top_k` distinct experts for each of `tokens` tokens, uniformly at random: [tokens * top_k].
[[nodiscard]] std::vector<std::int32_t> random_top_k(Index tokens, Index top_k, Index experts, std::uint64_t seed);

/// Slot weights in (0, 1), each token's `top_k` adding up to 1.
[[nodiscard]] std::vector<float> random_slot_weights(Index tokens, Index top_k, std::uint64_t seed);

/// Overwrites parts of `weights` with what a kernel may get wrong, as far as there are columns of C for it:
/// column 0: a NaN scale in the last block; 1: scales of code 0 (2^-127) throughout; 2: a NaN value in the last
/// element; 3: scale code 254 over values that are 0 but one, which is the smallest subnormal.
void plant_special_codes(MxMatrix<>& weights);

}  // namespace millet
