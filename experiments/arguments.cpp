// SPDX-License-Identifier: Apache-2.0
#include "arguments.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

namespace millet {

Expected<std::vector<std::string>> parse_list(std::string_view option, std::string_view text) {
  std::vector<std::string> items;
  for (std::string_view rest = text;;) {
    const auto comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    if (item.empty()) {
      return fail(ErrorCode::invalid_argument, "{}: '{}' has an empty item; write a,b,c without spaces", option, text);
    }
    items.emplace_back(item);
    if (comma == std::string_view::npos) return items;
    rest.remove_prefix(comma + 1);
  }
}

Expected<std::vector<Index>> parse_extents(std::string_view option, std::string_view text) {
  auto items = parse_list(option, text);
  if (!items) return fail(std::move(items));
  std::vector<Index> extents;
  for (const std::string& item : *items) {
    Index value = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), value);
    if (error != std::errc() || end != item.data() + item.size() || value < 1) {
      return fail(ErrorCode::invalid_argument, "{}: '{}' is not an integer of at least 1; write for example 1,2,4",
                  option, item);
    }
    if (std::find(extents.begin(), extents.end(), value) == extents.end()) extents.push_back(value);
  }
  return extents;
}

Expected<double> parse_duration(std::string_view option, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const double seconds = unit.empty() || unit == "s" ? value
                         : unit == "ms"              ? value * 1e-3
                         : unit == "m"               ? value * 60
                                                     : NAN;
  if (error != std::errc() || !std::isfinite(seconds) || seconds <= 0) {
    return fail(ErrorCode::invalid_argument, "{}: '{}' is not a time above 0; write for example 60s, 500ms or 2m",
                option, text);
  }
  return seconds;
}

Expected<Shard> parse_shard(std::string_view option, std::string_view text) {
  Shard shard{0, 0};
  const char* const end = text.data() + text.size();
  const auto number = std::from_chars(text.data(), end, shard.number);
  const bool slash = number.ec == std::errc() && number.ptr != end && *number.ptr == '/';
  const auto count = slash ? std::from_chars(number.ptr + 1, end, shard.count) : number;
  if (!slash || count.ec != std::errc() || count.ptr != end || shard.number < 1 || shard.number > shard.count) {
    return fail(ErrorCode::invalid_argument, "{}: '{}' names no part; write 1/8 to 8/8 for eight parts", option, text);
  }
  return shard;
}

Expected<double> parse_percent(std::string_view option, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (error != std::errc() || unit != "%" || !(value >= 0 && value < 100)) {
    return fail(ErrorCode::invalid_argument, "{}: '{}' is not a percentage from 0% to below 100%; write for example 3%",
                option, text);
  }
  return value / 100;
}

std::string shell_word(std::string_view text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("-_./,=:+@%").find(c) != std::string_view::npos;
  });
  if (plain) return std::string(text);
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string shell_line(std::span<const char* const> words) {
  std::string line;
  for (const char* word : words) line += (line.empty() ? "" : " ") + shell_word(word);
  return line;
}

}  // namespace millet
