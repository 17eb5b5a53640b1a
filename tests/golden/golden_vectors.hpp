// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millet/numeric/bf16.hpp"
#include "millet/numeric/e4m3.hpp"
#include "millet/numeric/e8m0.hpp"
#include "millet/quantize/quantize_mx.hpp"

/// The typed form of golden_vectors.json; README.md beside it says what the sections contain and how to compare.
namespace millet::golden {

struct E4M3Decode {
  E4M3 code;
  float value;
};

struct E8M0Decode {
  E8M0 code;
  float value;
  BF16 bf16;
  std::optional<int> exponent;  ///< empty for NaN
};

struct E4M3Rounding {
  float input;
  E4M3 saturated;
  E4M3 or_nan;  ///< with Overflow::to_nan
  std::string note;
};

struct E8M0Rounding {
  float input;
  E8M0 up_saturated;
  E8M0 up_or_nan;
  E8M0 toward_zero_saturated;
  E8M0 toward_zero_or_nan;
  std::string note;
};

/// What quantizing a block must give; the codes are unspecified where the scale is NaN.
struct EncodedBlock {
  E8M0 scale;
  std::array<E4M3, 32> codes;
};

struct Block {
  std::string id;
  std::string note;
  std::array<float, 32> input;
  EncodedBlock floor;
  EncodedBlock ceil;
  EncodedBlock even;  ///< the exact rule: a finite block never becomes NaN
  EncodedBlock rceil;

  [[nodiscard]] const EncodedBlock& encoded(ScaleMode mode) const;
};

struct Dequantization {
  E8M0 scale;
  E4M3 code;
  float value;
  BF16 bf16;
  std::string note;
};

/// sum_k a[k] * b[k] over MX operands, with one scale per 32 elements.
struct Dot {
  std::string id;
  std::string note;
  Index k;
  std::vector<E4M3> a;
  std::vector<E8M0> a_scales;
  std::vector<E4M3> b;
  std::vector<E8M0> b_scales;
  float value;                              ///< the exact sum, rounded once
  BF16 bf16;                                ///< the exact sum, rounded once
  std::optional<double> sum_of_magnitudes;  ///< sum_k |a[k]| |b[k]|; empty where the result is NaN
};

struct NegativeCase {
  std::string id;
  std::string misuse;
  std::string expect;
};

struct Vectors {
  std::vector<E4M3Decode> e4m3_decode;
  std::vector<E8M0Decode> e8m0_decode;
  std::vector<E4M3Rounding> f32_to_e4m3;
  std::vector<E8M0Rounding> f32_to_e8m0;
  std::vector<Block> blocks;
  std::vector<Dequantization> dequant;
  std::vector<Dot> dot;
  std::vector<NegativeCase> negative_api;
};

/// Errors: parse_error, naming section, record and key, for anything missing, empty or malformed.
[[nodiscard]] Expected<Vectors> parse(std::string_view json);

/// The project's vectors, read once. A broken or missing file throws std::runtime_error, so no test can pass without
/// them.
[[nodiscard]] const Vectors& vectors();

}  // namespace millet::golden
