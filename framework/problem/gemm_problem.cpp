// SPDX-License-Identifier: Apache-2.0
#include "millet/problem/gemm_problem.hpp"

#include "millet/problem/extent_checks.hpp"

namespace millet {

std::optional<OutputType> parse_output_type(std::string_view name) noexcept {
  for (const OutputType type : {OutputType::bf16, OutputType::f32}) {
    if (to_string(type) == name) return type;
  }
  return std::nullopt;
}

std::optional<ActivationFormat> parse_activation_format(std::string_view name) noexcept {
  for (const ActivationFormat format : {ActivationFormat::mx, ActivationFormat::bf16, ActivationFormat::f32}) {
    if (to_string(format) == name) return format;
  }
  return std::nullopt;
}

std::string to_string(const GemmProblem& problem) {
  std::string text = fmt::format("m={} n={} k={}", problem.m, problem.n, problem.k);
  if (problem.activation != ActivationFormat::mx) text += fmt::format(" a={}", to_string(problem.activation));
  if (problem.output != OutputType::bf16) text += fmt::format(" c={}", to_string(problem.output));
  return text;
}

Expected<GemmProblem> make_gemm_problem(Index m, Index n, Index k, ActivationFormat activation, OutputType output) {
  if (auto checked = check_extents("GemmProblem", {{"m", m}, {"n", n}, {"k", k}}); !checked)
    return fail(std::move(checked));
  if (auto checked = check_scale_blocks("GemmProblem", k); !checked) return fail(std::move(checked));
  // 4 bytes is the widest element of any operand.
  for (const auto& [rows, cols] : {std::pair{m, k}, std::pair{n, k}, std::pair{m, n}}) {
    if (auto checked = check_addressable("GemmProblem", {rows, cols, 4}); !checked) return fail(std::move(checked));
  }
  return GemmProblem{m, n, k, activation, output};
}

}  // namespace millet
