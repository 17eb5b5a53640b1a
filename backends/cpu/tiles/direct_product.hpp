// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>

#include "millet/backends/cpu/tiles/packed_strips.hpp"

// Few rows: straight from the codes.

namespace millet::cpu {

/// Adds one block of S strips to M rows. \param x  the block's activations of each row
/// \tparam Scanned  whether NaN is looked for
template <class L, int M, int S, Route R, bool Scanned>
MILLET_INLINE void add_block(const std::uint8_t* const (&values)[S], const std::uint8_t* const (&scales)[S],
                             const float* const (&x)[M], const std::uint8_t* general_a_scales, const RowPair* rows,
                             const PrefetchDistance& ahead, typename L::Float (*total)[M]) noexcept {
  using Float = typename L::Float;
  constexpr int V = strip_rows / L::W;
  // As many vectors at once as leave registers for their accumulators, a power of two.
  constexpr int fitting = L::accumulators / M;
  constexpr int wanted = fitting >= 8 ? 8 : fitting >= 4 ? 4 : fitting >= 2 ? 2 : 1;
  constexpr int G = wanted < S * V ? wanted : S * V;
#pragma GCC unroll 16
  for (int first = 0; first < S * V; first += G) {
    Float sums[G][M];
#pragma GCC unroll 8
    for (int i = 0; i < G; ++i) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) sums[i][m] = L::zero();
    }
#pragma GCC unroll 1
    for (int q = 0; q < block_k / 4; ++q) {
#pragma GCC unroll 8
      for (int i = 0; i < G; ++i) {
        if ((first + i) % V == 0) prefetch_codes(values[(first + i) / V] + 64 * q, ahead);
      }
      const auto add_pair = [&]<int Pair>(std::integral_constant<int, Pair>) __attribute__((always_inline)) {
        const auto decode = [&](int i, Float(&w)[2]) __attribute__((always_inline)) {
          const auto codes = L::load_codes(values[(first + i) / V] + 64 * q + (first + i) % V * 4 * L::W);
          decode_pair<L, R, Pair>(codes, w);
        };
        // Whatever is fewer stays in registers: the vectors' weights or the rows' activations.
        if constexpr (G <= M) {
          Float w[G][2];
#pragma GCC unroll 8
          for (int i = 0; i < G; ++i) decode(i, w[i]);
#pragma GCC unroll 2
          for (int j = 0; j < 2; ++j) {
#pragma GCC unroll 8
            for (int m = 0; m < M; ++m) {
              const Float activation = L::broadcast(x[m] + 4 * q + 2 * Pair + j);
#pragma GCC unroll 8
              for (int i = 0; i < G; ++i) sums[i][m] = L::multiply_add(w[i][j], activation, sums[i][m]);
            }
          }
        } else {
#pragma GCC unroll 8
          for (int i = 0; i < G; ++i) {
            Float w[2];
            decode(i, w);
#pragma GCC unroll 2
            for (int j = 0; j < 2; ++j) {
#pragma GCC unroll 8
              for (int m = 0; m < M; ++m) {
                sums[i][m] = L::multiply_add(w[j], L::broadcast(x[m] + 4 * q + 2 * Pair + j), sums[i][m]);
              }
            }
          }
        }
      };
      add_pair(std::integral_constant<int, 0>{});
      add_pair(std::integral_constant<int, 1>{});
    }
#pragma GCC unroll 8
    for (int i = 0; i < G; ++i) {
      const std::uint8_t* const codes = scales[(first + i) / V] + (first + i) % V * L::W;
      if constexpr (Scanned) {
        // By now in L1; in the loop above the scan would take registers from the sums.
        typename L::NanScan scan;
#pragma GCC unroll 8
        for (int q = 0; q < block_k / 4; ++q) {
          scan.add(L::load_codes(values[(first + i) / V] + 64 * q + (first + i) % V * 4 * L::W));
        }
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) sums[i][m] = scan.poison(sums[i][m]);
      }
      if (general_a_scales == nullptr) [[likely]] {
        constexpr int offset = R == Route::exact ? exact_weight_exponent - weight_exponent : 0;
        const Float factor = L::scale_factor(codes, -product_exponent - offset);
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) total[first + i][m] = L::multiply_add(sums[i][m], factor, total[first + i][m]);
      } else {
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          float lanes[L::W];
          L::store(lanes, sums[i][m]);
          for (int lane = 0; lane < L::W; ++lane) {
            const float sum = R == Route::exact ? lanes[lane] * exact_unit : lanes[lane];
            lanes[lane] = scale_block_sum(sum, codes[lane], general_a_scales[rows[m].a]);
          }
          total[first + i][m] = L::multiply_add(L::load(lanes), L::broadcast(&one), total[first + i][m]);
        }
      }
    }
  }
}

/// One block of S strips with any codes and plain scales. \param properties  of all of them
template <class L, int M, int S>
[[gnu::noinline]] void add_exceptional_block(const StripProduct& p, const std::uint8_t* const (&values)[S],
                                             const std::uint8_t* const (&scales)[S], const float* const (&x)[M],
                                             unsigned properties, const PrefetchDistance& ahead,
                                             typename L::Float (*total)[M]) noexcept {
  if (p.native_subnormals) {
    add_block<L, M, S, Route::normal, true>(values, scales, x, nullptr, p.rows, ahead, total);
  } else if ((properties & no_nans) != 0) {
    add_block<L, M, S, Route::exact, false>(values, scales, x, nullptr, p.rows, ahead, total);
  } else {
    add_block<L, M, S, Route::exact, true>(values, scales, x, nullptr, p.rows, ahead, total);
  }
}

/// One block of one strip with any codes and scales.
template <class L, int M>
[[gnu::noinline]] void add_any_block(const StripProduct& p, const std::uint8_t* values, const std::uint8_t* scales,
                                     unsigned properties, const float* const (&x)[M], Index block,
                                     const PrefetchDistance& ahead, typename L::Float (*total)[M]) noexcept {
  const std::uint8_t* const values_of[1] = {values};
  const std::uint8_t* const scales_of[1] = {scales};
  const bool general = (properties & plain_scales) == 0 || !p.a.plain;
  const bool normal = (properties & no_nans) != 0 && ((properties & no_subnormals) != 0 || p.native_subnormals);
  const std::uint8_t* const general_a_scales = general ? p.a.scales + block * p.a.rows : nullptr;
  if (normal) {
    add_block<L, M, 1, Route::normal, false>(values_of, scales_of, x, general_a_scales, p.rows, ahead, total);
  } else if (!general) {
    add_exceptional_block<L, M, 1>(p, values_of, scales_of, x, properties, ahead, total);
  } else {
    add_block<L, M, 1, Route::exact, true>(values_of, scales_of, x, general_a_scales, p.rows, ahead, total);
  }
}

template <class L, int M, int S>
void multiply_strips_directly(const StripProduct& p, Index first_strip) noexcept {
  using Float = typename L::Float;
  constexpr int V = strip_rows / L::W;
  Float total[S * V][M];
  for (int i = 0; i < S * V; ++i) {
    for (int m = 0; m < M; ++m) total[i][m] = L::zero();
  }
  const unsigned needed = needed_properties(p);
  const Index block_stride = p.a.rows * block_k;
  for_parts_of_strips<L, S>(p.b, first_strip, [&](const Strip(&strips)[S], Index first_block, Index count) {
    for (Index block = 0; block < count; ++block) {
      const std::uint8_t* values[S];
      const std::uint8_t* scales[S];
      unsigned in_all = 0xFF;
      for (int s = 0; s < S; ++s) {
        values[s] = strips[s].values + block * strip_block;
        scales[s] = strips[s].scales + block * strip_rows;
        in_all &= strips[s].properties[block];
      }
      const PrefetchDistance ahead = prefetch_distance<S>(p.b, count - block);
      const float* x[M];
      for (int m = 0; m < M; ++m) x[m] = p.a.values + (first_block + block) * block_stride + p.rows[m].a * block_k;
      if ((in_all & needed) == needed) [[likely]] {
        add_block<L, M, S, Route::normal, false>(values, scales, x, nullptr, p.rows, ahead, total);
      } else if ((in_all & plain_scales) != 0 && p.a.plain) {
        // All strips by the slower decode, not one by one: a strip alone waits for the latency of its sums.
        add_exceptional_block<L, M, S>(p, values, scales, x, in_all, ahead, total);
      } else {
        for (int s = 0; s < S; ++s) {
          add_any_block<L, M>(p, values[s], scales[s], strips[s].properties[block], x, first_block + block, ahead,
                              total + s * V);
        }
      }
    }
  });
  for (int s = 0; s < S; ++s) {
    for (int m = 0; m < M; ++m) {
      alignas(64) float sums[strip_rows];
      for (int v = 0; v < V; ++v) L::store(sums + v * L::W, total[s * V + v][m]);
      store_columns(p.c, p.rows[m], (first_strip + s) * strip_rows, sums);
    }
  }
}

template <class L, int M>
void multiply_rows_directly(const StripProduct& p, Index strip, Index last_strip) noexcept {
  if constexpr (L::strips_at_once(M) >= 4) {
    for (; p.strips_at_once >= 4 && strip + 4 <= last_strip; strip += 4) multiply_strips_directly<L, M, 4>(p, strip);
  }
  if constexpr (L::strips_at_once(M) >= 2) {
    for (; p.strips_at_once >= 2 && strip + 2 <= last_strip; strip += 2) multiply_strips_directly<L, M, 2>(p, strip);
  }
  for (; strip < last_strip; ++strip) multiply_strips_directly<L, M, 1>(p, strip);
}

template <class L>
void multiply_directly(const StripProduct& p, Index first_strip, Index last_strip) noexcept {
  switch (p.count) {
    case 1:
      return multiply_rows_directly<L, 1>(p, first_strip, last_strip);
    case 2:
      return multiply_rows_directly<L, 2>(p, first_strip, last_strip);
    case 3:
      return multiply_rows_directly<L, 3>(p, first_strip, last_strip);
    case 4:
      return multiply_rows_directly<L, 4>(p, first_strip, last_strip);
    case 5:
      return multiply_rows_directly<L, 5>(p, first_strip, last_strip);
    case 6:
      return multiply_rows_directly<L, 6>(p, first_strip, last_strip);
    case 7:
      return multiply_rows_directly<L, 7>(p, first_strip, last_strip);
    default:
      static_assert(most_direct_rows == 8);
      return multiply_rows_directly<L, 8>(p, first_strip, last_strip);
  }
}

}  // namespace millet::cpu
