// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millet/error/expected.hpp"
#include "millet/layout/scale_block.hpp"
#include "millet/problem/epilogue.hpp"

namespace millet {

// Shape files are CSV texts of this form; # starts a comment line, fields have no quotes, lists are separated by
// spaces:
//
//   # millet-dense-shapes 1
//   label,tp,k,n,m,presets,source
//   qkv,4,6144,2304,1 2 4 8 16 32 64,seed-dense tp,ROCm/aiter pull request 3783
//
// The first line that is not empty names the kind and its version, the first that is no comment the columns.

/// One layer of a dense model: C[m, n] = A[m, k] * B[n, k]^T for each m.
struct DenseShape {
  std::string label;  ///< projection, such as "qkv"
  Index tp = 1;       ///< tensor-parallel degree
  Index k = 0;
  Index n = 0;
  std::vector<Index> m;              ///< ascending
  std::vector<std::string> presets;  ///< that the row belongs to
  std::string source;
  int line = 0;  ///< in the file
};

/// One expert layer: a GroupedProblem with slots = m * top_k for each m.
struct MoeShape {
  std::string label;
  Index tp = 1;  ///< tensor-parallel degree
  Index ep = 1;  ///< expert-parallel degree; `experts` and `top_k` are what one rank sees
  Index experts = 0;
  Index n = 0;
  Index k = 0;
  Index top_k = 1;        ///< slots of a token
  Index a_div = 1;        ///< slots that share a row of A: top_k or 1
  bool weighted = false;  ///< slot weights multiply the result
  Index block_m = 1;
  std::string epilogue = "none";  ///< or "swiglu", "swiglu_oai" or "topk_sum"
  std::vector<Index> m;           ///< tokens, ascending
  std::vector<std::string> presets;
  std::string source;
  int line = 0;
};

/// An epilogue as shape files and records name it: Epilogue with the parameters of its variant.
struct NamedEpilogue {
  Epilogue epilogue = Epilogue::none;
  Swiglu swiglu{};
};
[[nodiscard]] std::optional<NamedEpilogue> parse_named_epilogue(std::string_view name) noexcept;

/// One figure that somebody published.
struct PublishedCell {
  std::string label;
  Index k = 0;
  Index n = 0;
  Index m = 0;
  double speedup = 0;
  double us = 0;           ///< of a call; 0 where not published
  double baseline_us = 0;  ///< likewise
  std::string device;
  std::string baseline;
  std::string source;
  std::string note;  ///< may be empty
  int line = 0;
};

/// The readers. Errors: parse_error "name:line: reason" for the first mistake: another kind or version, other columns,
/// a number of fields that differs, an empty field, a number that is none or out of range, a k that is no multiple of
/// 32, an m list that is empty or not ascending, an a_div that is neither 1 nor top_k, an unknown epilogue or one
/// that n or a_div does not suit, or a row that repeats an earlier one. \param name  of the file, for messages
[[nodiscard]] Expected<std::vector<DenseShape>> parse_dense_shapes(std::string_view csv, std::string_view name);
[[nodiscard]] Expected<std::vector<MoeShape>> parse_moe_shapes(std::string_view csv, std::string_view name);
[[nodiscard]] Expected<std::vector<PublishedCell>> parse_published(std::string_view csv, std::string_view name);

/// The rows of one preset, in the order of the file.
template <class Shape>
[[nodiscard]] std::vector<Shape> shapes_of_preset(const std::vector<Shape>& shapes, std::string_view preset) {
  std::vector<Shape> members;
  for (const Shape& shape : shapes) {
    for (const std::string& name : shape.presets) {
      if (name == preset) members.push_back(shape);
    }
  }
  return members;
}

/// The published figure for one problem, or null.
[[nodiscard]] const PublishedCell* find_published(const std::vector<PublishedCell>& cells, Index m, Index n,
                                                  Index k) noexcept;

}  // namespace millet
