// SPDX-License-Identifier: Apache-2.0
#include "near_names.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

namespace millet {

int edit_distance(std::string_view from, std::string_view to) {
  // Rows of the table of Damerau's distance (optimal string alignment): this one and the two before it.
  std::vector<int> before(to.size() + 1), last(to.size() + 1), row(to.size() + 1);
  for (std::size_t j = 0; j <= to.size(); ++j) row[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::swap(before, last);
    std::swap(last, row);
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const int replace = last[j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1);
      row[j] = std::min({replace, last[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[to.size()];
}

std::vector<std::string> near_names(std::string_view name, std::span<const std::string> names, std::size_t most) {
  std::vector<std::pair<int, std::string>> near;
  const int limit = std::max(1, (static_cast<int>(name.size()) + 1) / 3);
  for (const std::string& candidate : names) {
    const bool contains = !name.empty() && !candidate.empty() &&
                          (candidate.find(name) != std::string::npos || name.find(candidate) != std::string_view::npos);
    const int distance = edit_distance(name, candidate);
    if (contains || distance <= limit) near.emplace_back(distance, candidate);
  }
  std::sort(near.begin(), near.end());
  std::vector<std::string> result;
  for (const auto& [distance, candidate] : near) {
    if (result.size() < most) result.push_back(candidate);
  }
  return result;
}

Error unknown_name(std::string_view kind, std::string_view name, std::span<const std::string> names) {
  const std::vector<std::string> near = near_names(name, names);
  const std::string suggestion = near.empty() ? "" : fmt::format("; did you mean {}?", fmt::join(near, " or "));
  return {ErrorCode::unknown_name,
          fmt::format("no {} '{}'{} There {}: {}", kind, name, suggestion.empty() ? "." : suggestion,
                      names.size() == 1 ? "is" : "are", fmt::join(names, ", "))};
}

}  // namespace millet
