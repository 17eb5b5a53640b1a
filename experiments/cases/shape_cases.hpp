// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "millet/layout/mx_matrix.hpp"
#include "millet/problem/shape_file.hpp"
#include "millet/quantize/quantize_mx.hpp"

namespace millet {

/// Weights [n, k] of a dense shape, and what is to be told about them in the tags of their records.
struct LoadedWeights {
  MxMatrix<> matrix;
  std::map<std::string, std::string> tags;
};

/// Where the weights of a dense shape come from, when they are not random: read and quantized when their turn comes.
struct WeightSource {
  std::function<Expected<LoadedWeights>(ScaleMode)> load;
  std::function<Expected<std::vector<float>>()> original;  ///< [n, k] before quantization; empty where there is none
  std::function<std::string()> fingerprint;  ///< changes with the name and every byte of them; empty: random by a seed
  bool stored_mx = false;                    ///< they are MX-FP8 already: no scale mode applies
  std::map<std::string, std::string> tags;   ///< what is known about them before they are loaded

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(load); }
};

/// One weight matrix, or one set of experts, with every m that is run on it: what a run prepares once.
struct ShapeCases {
  std::string preset;    ///< "seed-dense", or the name of the shape file
  std::string selector;  ///< the options that select it again: "--preset seed-dense"
  std::variant<DenseShape, MoeShape> shape;
  WeightSource weights;  ///< empty: random

  [[nodiscard]] const std::vector<Index>& m() const;
  [[nodiscard]] std::vector<Index>& m();
};

/// What --filter matches: "qkv/tp4/n2304/k6144/m1", or
/// "moe_gemm2/tp4/ep1/e128/top4/div1/block16/weighted/n6144/k768/m4".
[[nodiscard]] std::string case_name(const ShapeCases& cases, Index m);

/// The presets that the built-in shape files name, sorted.
[[nodiscard]] Expected<std::vector<std::string>> preset_names();

/// Errors: unknown_name with near names.
[[nodiscard]] Expected<std::vector<ShapeCases>> cases_of_preset(std::string_view preset);

/// The rows of a shape file of the user's, dense or MoE by its first line.
/// Errors: io_error; parse_error "file:line: reason".
[[nodiscard]] Expected<std::vector<ShapeCases>> cases_of_file(const std::filesystem::path& path);

/// Keeps the cases whose name matches the regular expression `filter`; an empty one keeps all.
/// Errors: invalid_argument for a malformed expression; unknown_name, with near names, when nothing is left.
[[nodiscard]] Expected<std::vector<ShapeCases>> filtered(std::vector<ShapeCases> cases, const std::string& filter);

/// The built-in table of published figures. Errors: those of its reader.
[[nodiscard]] Expected<std::vector<PublishedCell>> published_cells();

}  // namespace millet
