// SPDX-License-Identifier: Apache-2.0
#include "operands/generate.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>

namespace millet {

namespace {

std::uint64_t next_word(std::uint64_t& state) noexcept {  // splitmix64
  std::uint64_t z = (state += 0x9E3779B97F4A7C15U);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

constexpr int quantile_count = 1 << 16;

// The normal distribution's quantile for 0 < p < 1, by Newton's method on the error function.
double normal_quantile(double p, double guess) {
  double x = guess;
  for (int step = 0; step < 8; ++step) {
    const double difference = 0.5 * std::erfc(-x * std::sqrt(0.5)) - p;
    const double density = std::exp(-0.5 * x * x) * 0.3989422804014327;
    const double move = difference / density;
    x -= move;
    if (std::abs(move) < 1e-9) break;
  }
  return x;
}

const std::array<float, quantile_count>& normal_quantiles() {
  static const auto table = [] {
    auto quantiles = std::make_unique<std::array<float, quantile_count>>();
    double x = 0;
    for (int i = quantile_count / 2; i < quantile_count; ++i) {  // from the middle, each the next one's first guess
      x = normal_quantile((i + 0.5) / quantile_count, x);
      (*quantiles)[i] = static_cast<float>(x);
      (*quantiles)[quantile_count - 1 - i] = static_cast<float>(-x);
    }
    return quantiles;
  }();
  return *table;
}

double next_unit(std::uint64_t& state) noexcept { return static_cast<double>(next_word(state) >> 11) * 0x1p-53; }

}  // namespace

void NormalStream::fill(std::span<float> values, float standard_deviation) noexcept {
  const auto& quantiles = normal_quantiles();
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    word = i % 4 == 0 ? next_word(state_) : word >> 16;
    values[i] = standard_deviation * quantiles[word & 0xFFFF];
  }
}

std::uint64_t mix_seed(std::uint64_t seed, std::initializer_list<std::uint64_t> parts) noexcept {
  std::uint64_t state = seed;
  std::uint64_t mixed = next_word(state);
  for (const std::uint64_t part : parts) {
    state = mixed ^ (part + 0x632BE59BD9B4E019U);
    mixed = next_word(state);
  }
  return mixed;
}

MxMatrix<> random_weights(Index n, Index k, ScaleMode mode, std::uint64_t seed) {
  MxMatrix<> weights(RowMajor(n, k), row_major_scales(n, k));
  NormalStream stream(mix_seed(seed, {1, static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(k)}));
  std::vector<float> row(static_cast<std::size_t>(k));
  for (Index i = 0; i < n; ++i) {
    stream.fill(row, 0.1F);
    for (Index block = 0; block < MxBlock::count(k); ++block) {
      weights.scales()[i * MxBlock::count(k) + block] = quantize_block(
          row.data() + block * MxBlock::k, 1, mode, weights.values().data() + i * k + block * MxBlock::k);
    }
  }
  return weights;
}

std::vector<float> random_activations(Index rows, Index k, std::uint64_t seed) {
  std::vector<float> activations(static_cast<std::size_t>(rows * k));
  NormalStream(mix_seed(seed, {2, static_cast<std::uint64_t>(k)})).fill(activations, 0.5F);
  return activations;
}

std::vector<MxMatrix<>> random_expert_pool(Index experts, Index n, Index k, ScaleMode mode, std::uint64_t seed) {
  constexpr Index pool_size = 4;
  std::vector<MxMatrix<>> pool;
  for (Index i = 0; i < std::min(pool_size, experts); ++i) {
    pool.push_back(random_weights(n, k, mode, mix_seed(seed, {3, static_cast<std::uint64_t>(i)})));
  }
  return pool;
}

MxMatrix<> expert_from_pool(const std::vector<MxMatrix<>>& pool, Index expert) {
  const MxMatrix<>& from = pool[static_cast<std::size_t>(expert) % pool.size()];
  MxMatrix<> matrix = from;
  const Index first_row = (37 * (expert + 1)) % from.rows();
  const Index blocks = MxBlock::count(from.cols());
  std::rotate_copy(from.values().begin(), from.values().begin() + first_row * from.cols(), from.values().end(),
                   matrix.values().begin());
  std::rotate_copy(from.scales().begin(), from.scales().begin() + first_row * blocks, from.scales().end(),
                   matrix.scales().begin());
  return matrix;
}

MxMatrix<> forbidden_expert(Index n, Index k) {
  MxMatrix<> matrix(RowMajor(n, k), row_major_scales(n, k));
  std::fill(matrix.values().begin(), matrix.values().end(), E4M3{E4M3::nan_bits});
  std::fill(matrix.scales().begin(), matrix.scales().end(), E8M0{E8M0::nan_bits});
  return matrix;
}

std::vector<std::int32_t> random_top_k(Index tokens, Index top_k, Index experts, std::uint64_t seed) {
  std::uint64_t state = mix_seed(seed, {4});
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> deck(static_cast<std::size_t>(experts));
  for (Index token = 0; token < tokens; ++token) {
    std::iota(deck.begin(), deck.end(), 0);
    for (Index choice = 0; choice < top_k; ++choice) {  // the first cards of a shuffled deck
      const auto rest = static_cast<std::uint64_t>(experts - choice);
      std::swap(deck[choice], deck[choice + static_cast<Index>(next_word(state) % rest)]);
      ids.push_back(deck[choice]);
    }
  }
  return ids;
}

std::vector<float> random_slot_weights(Index tokens, Index top_k, std::uint64_t seed) {
  std::uint64_t state = mix_seed(seed, {5});
  std::vector<float> weights;
  std::vector<double> parts(static_cast<std::size_t>(top_k));
  for (Index token = 0; token < tokens; ++token) {
    for (double& part : parts) part = 0.25 + next_unit(state);
    const double sum = std::accumulate(parts.begin(), parts.end(), 0.0);
    for (const double part : parts) weights.push_back(static_cast<float>(part / (top_k == 1 ? 1.5 : sum)));
  }
  return weights;
}

void plant_special_codes(MxMatrix<>& weights) {
  const Index n = weights.rows();
  const Index k = weights.cols();
  const Index blocks = MxBlock::count(k);
  weights.scales()[blocks - 1] = E8M0{E8M0::nan_bits};
  if (n > 1) std::fill_n(weights.scales().begin() + blocks, blocks, E8M0{0});
  if (n > 2) weights.values()[3 * k - 1] = E4M3{E4M3::nan_bits};
  if (n > 3) {
    weights.scales()[3 * blocks] = E8M0{254};
    std::fill_n(weights.values().begin() + 3 * k, MxBlock::k, E4M3{0});
    weights.values()[3 * k + 5] = E4M3{1};
  }
}

}  // namespace millet
