// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cases/shape_cases.hpp"
#include "weights/safetensors.hpp"

namespace millet {

/// Which layers of a model are to be run.
struct WeightRequest {
  std::filesystem::path file;   ///< a .safetensors file, or the .json index of a sharded one
  std::string tensor;           ///< regular expression that names of tensors must match somewhere; empty: all
  MxPairSuffixes suffixes;      ///< of MX-FP8 pairs
  std::vector<Index> m{1, 16};  ///< rows of A for every layer
};

/// A tensor that is no layer, and why. All texts are printable.
struct SkippedTensor {
  std::string name;
  std::string type;   ///< such as "F32"
  std::string shape;  ///< such as "[384]"
  std::string reason;
};

/// The tensors that a request selects: each is a layer or skipped, but scales stand with their values.
struct WeightCases {
  std::vector<ShapeCases> layers;      ///< sorted by name
  std::vector<SkippedTensor> skipped;  ///< likewise
};

/// Tags of a layer's records. Those of errors are absent for MX-FP8 pairs, which have no original to compare with.
namespace weight_tag {
inline constexpr const char* file = "weights_file";
inline constexpr const char* tensor = "tensor";
inline constexpr const char* type = "weights_type";
inline constexpr const char* nan_blocks = "nan_blocks";  ///< blocks with a NaN or an infinity; absent without one

// Of the quantization in one mode, as in QuantizationError.
[[nodiscard]] std::string relative_frobenius(ScaleMode mode);
[[nodiscard]] std::string worst_block(ScaleMode mode);
[[nodiscard]] std::string saturated(ScaleMode mode);
}  // namespace weight_tag

/// Finds the layers of a model in its files: matrices [n, k] in F32, F16 or BF16, and MX-FP8 pairs. The shards stay
/// mapped as long as a layer lives, but a layer's weights are read and quantized when its source is asked for them, so
/// that one layer at a time takes memory.
///
/// What is no layer is skipped with a reason: another rank, k no multiple of 32, no elements, another dtype, F8_E4M3
/// without scales, a name of more than 1000 bytes, a tensor that the index does not know.
/// Errors: those of the readers; invalid_argument for a malformed expression; unknown_name, with near names, when it
///         matches no tensor; invalid_layout for a selected pair whose scales are not [n, k/32]; unsupported, with
///         reasons, when every selected tensor is skipped.
[[nodiscard]] Expected<WeightCases> cases_of_weights(const WeightRequest& request);

}  // namespace millet
