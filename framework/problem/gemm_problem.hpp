// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "millet/error/expected.hpp"
#include "millet/layout/scale_block.hpp"

namespace millet {

/// Element type of C.
enum class OutputType { bf16, f32 };

/// What a kernel is given as A.
enum class ActivationFormat {
  mx,    ///< e4m3 values [m, k] and e8m0 scales [m, k / 32]
  bf16,  ///< bf16 [m, k], quantized by the kernel's prologue with the bits of quantize_mx (RCEIL)
  f32,   ///< f32 [m, k], likewise
};

[[nodiscard]] constexpr std::string_view to_string(OutputType type) noexcept {
  return type == OutputType::bf16 ? "bf16" : "f32";
}
[[nodiscard]] constexpr std::string_view to_string(ActivationFormat format) noexcept {
  switch (format) {
    case ActivationFormat::mx:
      return "mx";
    case ActivationFormat::bf16:
      return "bf16";
    case ActivationFormat::f32:
      return "f32";
  }
  return "unknown_activation_format";
}
[[nodiscard]] std::optional<OutputType> parse_output_type(std::string_view name) noexcept;
[[nodiscard]] std::optional<ActivationFormat> parse_activation_format(std::string_view name) noexcept;

/// Bytes of one element of C.
[[nodiscard]] MILLET_HD constexpr Index bytes_per_element(OutputType type) noexcept {
  return type == OutputType::bf16 ? 2 : 4;
}

/// Bytes of a [rows, k] activation matrix, scales included.
[[nodiscard]] constexpr double activation_bytes(ActivationFormat format, Index rows, Index k) noexcept {
  const double elements = static_cast<double>(rows) * static_cast<double>(k);
  switch (format) {
    case ActivationFormat::mx:
      return elements * 33.0 / 32.0;
    case ActivationFormat::bf16:
      return elements * 2.0;
    case ActivationFormat::f32:
      return elements * 4.0;
  }
  return 0.0;
}

/// One product C[m,n] = A[m,k] * B[n,k]^T over MX operands. Build it with make_gemm_problem; kernels trust it.
struct GemmProblem {
  Index m = 0;
  Index n = 0;
  Index k = 0;
  ActivationFormat activation = ActivationFormat::mx;
  OutputType output = OutputType::bf16;

  friend constexpr bool operator==(const GemmProblem&, const GemmProblem&) = default;

  /// Floating-point operations, 2 m n k: multiplications and additions; scaling and conversions are not counted.
  [[nodiscard]] constexpr double flops() const noexcept {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
  /// Bytes of B with its scales, 33/32 a weight.
  [[nodiscard]] constexpr double weight_bytes() const noexcept {
    return static_cast<double>(n) * static_cast<double>(k) * 33.0 / 32.0;
  }
  /// Compulsory traffic: A, B, their scales and C, each once.
  [[nodiscard]] constexpr double bytes() const noexcept {
    return weight_bytes() + activation_bytes(activation, m, k) +
           static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(bytes_per_element(output));
  }
};

/// For example "m=4 n=2304 k=6144".
[[nodiscard]] std::string to_string(const GemmProblem& problem);

/// The one place where the extents of a dense product are checked.
///
/// Shapes:  A [m, k], B [n, k], C [m, n]; extents in elements.
/// Errors:  invalid_problem when an extent is < 1, k is not a multiple of 32, or an operand would pass 2^62 bytes.
///          Nothing is padded silently.
/// Source:  OCP Microscaling Formats (MX) Specification v1.0 for the block of 32.
[[nodiscard]] Expected<GemmProblem> make_gemm_problem(Index m, Index n, Index k,
                                                      ActivationFormat activation = ActivationFormat::mx,
                                                      OutputType output = OutputType::bf16);

}  // namespace millet
