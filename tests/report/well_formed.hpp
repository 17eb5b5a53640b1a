// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace millet {

/// What is wrong with the markup of `text`, or "": every element is closed where it belongs, every attribute is quoted,
/// no bare '<' or '&' stands in text, no id stands twice, and nothing could run or be fetched.
inline std::string markup_fault(std::string_view text) {
  const std::set<std::string_view> empty_elements{"meta", "link", "br", "!DOCTYPE"};
  std::vector<std::string> open;
  std::set<std::string> ids;
  for (std::size_t at = 0; at < text.size();) {
    if (!open.empty() && open.back() == "style") {  // its content is CSS
      at = text.find("</style>", at);
      if (at == std::string_view::npos) return "style is not closed";
    }
    if (text[at] == '&') {
      const std::size_t end = text.find(';', at);
      if (end == std::string_view::npos || end - at > 7) return "a bare ampersand";
    }
    if (text[at] == '>') return "a bare '>'";
    if (text[at] != '<') {
      ++at;
      continue;
    }
    const bool closes = text.substr(at).starts_with("</");
    const std::size_t name_at = at + (closes ? 2 : 1);
    const std::size_t name_end = text.find_first_of(" />", name_at);
    if (name_end == std::string_view::npos) return "a bare '<'";
    const std::string name(text.substr(name_at, name_end - name_at));
    if (name == "script" || name == "img" || name == "iframe" || name == "foreignObject") return "an element " + name;
    std::size_t i = name_end;
    bool self_closing = false;
    while (i < text.size() && text[i] != '>') {
      if (text[i] == ' ') {
        ++i;
      } else if (text[i] == '/') {
        self_closing = true;
        ++i;
      } else {
        const std::size_t equals = text.find_first_of("= >", i);
        const std::string attribute(text.substr(i, equals - i));
        if (attribute.starts_with("on") || attribute == "src") return "an attribute " + attribute;
        if (text[equals] != '=') {
          if (name != "!DOCTYPE") return "no value for " + attribute;
          i = equals;
          continue;
        }
        if (text[equals + 1] != '"') return "no quotes around " + attribute;
        const std::size_t end = text.find('"', equals + 2);
        if (end == std::string_view::npos) return "an open quote in " + name;
        const std::string value(text.substr(equals + 2, end - equals - 2));
        if (value.find('<') != std::string::npos) return "'<' in " + attribute;
        if (attribute == "id" && !ids.insert(value).second) return "two ids " + value;
        if (attribute == "href" && !value.starts_with("#") && !value.starts_with("data:,")) return "a link to " + value;
        i = end + 1;
      }
    }
    if (i == text.size()) return "an open tag " + name;
    at = i + 1;
    if (closes) {
      if (open.empty() || open.back() != name) return "a stray </" + name + ">";
      open.pop_back();
    } else if (!self_closing && !empty_elements.contains(name)) {
      open.push_back(name);
    }
  }
  return open.empty() ? "" : open.back() + " is not closed";
}

/// How often `part` stands in `text`.
inline std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

}  // namespace millet
