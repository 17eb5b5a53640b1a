// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "millet/error/expected.hpp"

namespace millet {

/// Insertions, deletions, replacements and swaps of neighbours that turn `from` into `to`.
[[nodiscard]] int edit_distance(std::string_view from, std::string_view to);

/// Up to `most` of `names` that somebody who wrote `name` may have meant, nearest first: those within a third of its
/// length (at least 1 edit), and those that contain it or are contained in it.
[[nodiscard]] std::vector<std::string> near_names(std::string_view name, std::span<const std::string> names,
                                                  std::size_t most = 3);

/// The error for a name that does not exist: "no preset 'seed-dens'; did you mean seed-dense? There are: m3, ...".
[[nodiscard]] Error unknown_name(std::string_view kind, std::string_view name, std::span<const std::string> names);

}  // namespace millet
