// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cases/shard.hpp"
#include "millet/error/expected.hpp"
#include "millet/layout/mapping.hpp"

namespace millet {

/// The items of "a,b,c". Errors: invalid_argument, naming the option, for an empty item.
[[nodiscard]] Expected<std::vector<std::string>> parse_list(std::string_view option, std::string_view text);

/// Extents "1,2,4". Errors: invalid_argument, naming the option and the item, for what is no integer of at least 1.
[[nodiscard]] Expected<std::vector<Index>> parse_extents(std::string_view option, std::string_view text);

/// Seconds of "60s", "500ms", "2m" or "60". Errors: invalid_argument for anything else, and for 0 or less.
[[nodiscard]] Expected<double> parse_duration(std::string_view option, std::string_view text);

/// The shard of "2/8". Errors: invalid_argument for anything else, and for a number outside [1, count].
[[nodiscard]] Expected<Shard> parse_shard(std::string_view option, std::string_view text);

/// The fraction 0.03 of "3%". Errors: invalid_argument for a text without a percent sign, and for what is not at least
/// 0 and below 100 %.
[[nodiscard]] Expected<double> parse_percent(std::string_view option, std::string_view text);

/// `text` as one word of a shell command: in single quotes where it needs them.
[[nodiscard]] std::string shell_word(std::string_view text);
[[nodiscard]] std::string shell_line(std::span<const char* const> words);

}  // namespace millet
