// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "millet/layout/block_properties.hpp"

// The seam between the host side, which knows problems and operands, and the files that are compiled for one
// instruction set each: plain values, and no function that a linker could take from the wrong one of these files.

namespace millet::cpu {

inline constexpr int block_k = 32;          ///< k of a block, which shares a scale
inline constexpr int strip_block = 512;     ///< bytes of one block of a strip
inline constexpr int most_direct_rows = 8;  ///< rows of C that the direct product takes
inline constexpr int most_rows = 128;       ///< rows of C that the buffered product takes in one pass over the weights

// Weights decode to w * 2^weight_exponent, activations to a * 2^activation_exponent (times their scale, where it is
// plain): so every value of the inner loop is a normal f32 or zero, but for weights that are subnormal.
inline constexpr int weight_exponent = -120;
inline constexpr int activation_exponent = 100;
inline constexpr int product_exponent = weight_exponent + activation_exponent;

/// B [n, k] of one expert.
struct WeightsArguments {
  const std::uint8_t* values;
  const std::uint8_t* scales;
  Index n;
  Index k;
  bool row_major;      ///< else strips: StripOrder and StripScaleOrder
  Index scale_stride;  ///< bytes from a strip's scales to the next one's; of row-major weights, from row to row
};

/// A, decoded: block after block, and in a block row after row, so that the rows of one block are contiguous.
struct DecodedActivations {
  float* values;         ///< [blocks][rows][32]; of each 4 k the middle two have changed places
  std::uint8_t* scales;  ///< [blocks][rows], e8m0 codes; of 2^0 where `values` contains the scale
  Index rows;
  bool plain;  ///< whether `values` contains every scale
};

struct OutputArguments {
  void* values;
  Index row_stride;  ///< in elements
  Index n;
  bool bf16;      ///< else f32
  bool weighted;  ///< whether rows have a factor
};

/// A row of the product: which row of A, which of C, and a factor.
struct RowPair {
  Index a;
  Index c;
  float weight;
};

/// `count` rows times the strips [first_strip, last_strip).
struct StripProduct {
  WeightsArguments b;
  DecodedActivations a;
  OutputArguments c;
  const RowPair* rows;
  int count;
  bool native_subnormals;  ///< f32 subnormals cost nothing on this machine
  int strips_at_once;      ///< 1, 2 or 4; of the direct product
};

/// The kernels that one file was compiled to. All of them add in the same order, so they give the same bits.
struct StripKernels {
  /// 1 to most_direct_rows rows straight from the codes: decoding in registers.
  void (*direct)(const StripProduct&, Index first_strip, Index last_strip) noexcept;
  /// 1 to most_rows rows: a part of some strips is decoded into L1 and multiplied with all rows.
  void (*buffered)(const StripProduct&, Index first_strip, Index last_strip) noexcept;
  /// Decodes a row of A, given as `blocks` blocks of e4m3 and their e8m0 codes, into row `row` of `a`.
  /// \return whether all their scales were plain
  bool (*decode_activations)(const std::uint8_t* codes, const std::uint8_t* scales, Index blocks,
                             const DecodedActivations& a, Index row) noexcept;
  /// The same for a row of bf16 or f32: what decoding its MX quantization (RCEIL) would give. Needs rounding to nearest
  /// and f32 subnormals.
  bool (*quantize_activations)(const void* values, bool bf16, Index blocks, const DecodedActivations& a,
                               Index row) noexcept;
  /// The ways to decode weights, for tests: 64 codes, 16 rows of 4 k, to f32 [4][16], k = 0 2 1 3, and what
  /// brings them to the value.
  struct Decoding {
    void (*decode)(const std::uint8_t* codes, float* values) noexcept;
    float factor;
    bool subnormals;  ///< takes nonzero subnormals without making f32 subnormals of them
  };
  Decoding normal;
  Decoding exact;
};

const StripKernels& baseline_kernels() noexcept;
const StripKernels& avx2_kernels() noexcept;
const StripKernels& avx512_kernels() noexcept;
const StripKernels& avx512_vbmi_kernels() noexcept;

}  // namespace millet::cpu
