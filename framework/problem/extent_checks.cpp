// SPDX-License-Identifier: Apache-2.0
#include "millet/problem/extent_checks.hpp"

namespace millet {

Expected<void> check_extents(std::string_view where, std::initializer_list<NamedExtent> extents) {
  for (const auto& [name, value] : extents) {
    if (value < 1) {
      return fail(ErrorCode::invalid_problem, "{}: {} must be at least 1, got {}={}", where, name, name, value);
    }
  }
  return {};
}

Expected<void> check_scale_blocks(std::string_view where, Index k) {
  if (k % MxBlock::k == 0) return {};
  // k may be within 31 of the largest Index, where the padded extent does not exist.
  if (k > (Index{1} << 62)) {
    return fail(ErrorCode::invalid_problem, "{}: k must be a multiple of the {}-element scale block, got k={}", where,
                MxBlock::k, k);
  }
  return fail(ErrorCode::invalid_problem,
              "{}: k must be a multiple of the {}-element scale block, got k={}; zero-pad A and B to k={}", where,
              MxBlock::k, k, round_up_to_tile(k, MxBlock::k));
}

Expected<void> check_addressable(std::string_view where, std::initializer_list<Index> factors) {
  constexpr Index limit = Index{1} << 62;
  Index product = 1;
  for (const Index factor : factors) {
    if (factor > limit / product) {
      std::string text;
      for (const Index f : factors) text += (text.empty() ? "" : " x ") + std::to_string(f);
      return fail(ErrorCode::invalid_problem,
                  "{}: an operand of {} bytes passes the limit of 2^62; use smaller extents", where, text);
    }
    product *= factor;
  }
  return {};
}

}  // namespace millet
