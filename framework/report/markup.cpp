// SPDX-License-Identifier: Apache-2.0
#include "millet/report/markup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace millet {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

// The length of the well-formed UTF-8 sequence that `text` begins with, and its code point; length 0 if there is none.
// Source: RFC 3629, section 4.
struct CodePoint {
  std::size_t length = 0;
  std::uint32_t value = 0;
};
CodePoint first_code_point(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) return {1, lead};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return {};
  std::uint32_t value = lead & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return {};
    value = value << 6 | (byte(i) & 0x3FU);
  }
  constexpr std::uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  return value < least[length] || value > 0x10FFFF || surrogate ? CodePoint{} : CodePoint{length, value};
}

bool hides_text(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) ||
         c == 0x200E || c == 0x200F || c == 0x061C || c == 0xFFFE || c == 0xFFFF;
}

constexpr std::string_view colours = R"(
:root{color-scheme:light dark;--paper:#ffffff;--panel:#f6f7f9;--ink:#1b1f24;--soft:#5b6470;--line:#d5dae1;--strong:#3c4652;
--warn:#b3261e;--warn-paper:#fdecea;--good:0 125 110;--bad:200 85 0;
--s0:#0b6bcb;--s1:#c2570c;--s2:#0f7b5f;--s3:#a3338f;--s4:#7a5c00;--s5:#4b4bc8;--s6:#b3261e;--s7:#3f6b7a}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--panel:#1c2127;--ink:#e8ebef;--soft:#a2acb8;--line:#343c46;
--strong:#c6ced8;--warn:#ff8a80;--warn-paper:#3a1d1b;--good:40 190 165;--bad:255 145 60;
--s0:#6db3ff;--s1:#ff9d5c;--s2:#4fd1a5;--s3:#ec8bdc;--s4:#e0c04f;--s5:#a5a5ff;--s6:#ff8a80;--s7:#8fc1d4}}
)";

constexpr std::string_view picture_classes = R"(
svg.picture{display:block;width:100%;min-width:640px;height:auto;max-width:1000px;font:13px system-ui,"DejaVu Sans",sans-serif}
.picture text{fill:var(--ink)}.picture .soft{fill:var(--soft)}.picture .frame{fill:var(--panel);stroke:var(--line)}
.picture .paper{fill:var(--paper)}.picture .grid{stroke:var(--line);stroke-width:1}.picture .guide{stroke:var(--line);stroke-dasharray:2 4}
.picture .roof{stroke:var(--strong);stroke-width:2.5;fill:none}.picture .level{stroke:var(--soft);stroke-width:1.5;fill:none}
.picture .mark{stroke:var(--paper);stroke-width:1.2}.picture .flagged{stroke:var(--warn);stroke-width:2.5}
.picture .mean{stroke:var(--ink);stroke-width:2.5}
.series0{fill:var(--s0)}.series1{fill:var(--s1)}.series2{fill:var(--s2)}.series3{fill:var(--s3)}
.series4{fill:var(--s4)}.series5{fill:var(--s5)}.series6{fill:var(--s6)}.series7{fill:var(--s7)}
)";

constexpr std::string_view page_classes = R"(
*{box-sizing:border-box}
body{margin:0 auto;max-width:1100px;padding:2rem 1.25rem 4rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,"DejaVu Sans",sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .3rem}h2{font-size:1.2rem;margin:2.5rem 0 .6rem;padding-top:.8rem;border-top:2px solid var(--line)}
p,li{overflow-wrap:anywhere}.soft,small{color:var(--soft)}a{color:var(--s0)}
ul.facts{list-style:none;margin:.2rem 0 1rem;padding:.7rem 1rem;background:var(--panel);border-radius:8px;font-size:.87rem}
ul.notes{font-size:.87rem;padding-left:1.2rem}li.warning{color:var(--warn)}
.flags{border-left:4px solid var(--warn);background:var(--warn-paper);padding:.6rem 1rem;border-radius:0 8px 8px 0;margin:1rem 0}
.flags p{margin:.2rem 0}.calm{border-left:4px solid rgb(var(--good));background:var(--panel);padding:.6rem 1rem;border-radius:0 8px 8px 0}
figure{margin:1.2rem 0;overflow-x:auto}figcaption,caption{color:var(--soft);font-size:.87rem;text-align:left;padding:0 0 .45rem}
.scroll{overflow-x:auto;margin:1.3rem 0}
table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}
caption b{color:var(--ink);font-size:.95rem}
th,td{padding:.3rem .65rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;border-bottom:2px solid var(--line)}tbody th{font-weight:500;border-bottom:1px solid var(--line)}
th.left,td.left{text-align:left}td.long{white-space:normal;min-width:16rem;overflow-wrap:anywhere}
table.heat td{min-width:4.4rem}table.heat td small{display:block;font-size:.75rem;line-height:1.2}
td.up{background:rgb(var(--good)/calc(var(--h)*.5))}td.down{background:rgb(var(--bad)/calc(var(--h)*.5))}
td.up small,td.down small{color:var(--ink)}
nav ul{padding-left:1.2rem;font-size:.92rem}footer{margin-top:3rem;color:var(--soft);font-size:.85rem}
@media print{body{max-width:none}.scroll{overflow:visible}}
)";

}  // namespace

std::string escape_markup(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  while (!text.empty()) {
    const auto [length, value] = first_code_point(text);
    const std::string_view taken = text.substr(0, length == 0 ? 1 : length);
    text.remove_prefix(taken.size());
    if (value == '\n' || value == '\r' || value == '\t') {
      escaped += ' ';
    } else if (length == 0 || hides_text(value)) {
      escaped += replacement;
    } else if (value == '&') {
      escaped += "&amp;";
    } else if (value == '<') {
      escaped += "&lt;";
    } else if (value == '>') {
      escaped += "&gt;";
    } else if (value == '"') {
      escaped += "&quot;";
    } else if (value == '\'') {
      escaped += "&#39;";
    } else {
      escaped += taken;
    }
  }
  return escaped;
}

std::string shortened(std::string_view text, std::size_t longest) {
  std::size_t characters = 0;
  std::size_t end_of_last = 0;  // where the character before the last that fits ends
  for (std::size_t at = 0; at < text.size(); ++characters) {
    if (characters + 1 == longest) end_of_last = at;
    if (characters == longest) return std::string(text.substr(0, end_of_last)) + "\xE2\x80\xA6";  // U+2026
    at += std::max<std::size_t>(1, first_code_point(text.substr(at)).length);
  }
  return std::string(text);
}

std::string_view picture_style() {
  static const std::string style = fmt::format("{}{}", colours, picture_classes);
  return style;
}

std::string standalone_svg(std::string_view svg) {
  const std::size_t end_of_tag = svg.find('>');
  return fmt::format("{} xmlns=\"http://www.w3.org/2000/svg\"><style>{}</style>{}\n", svg.substr(0, end_of_tag),
                     picture_style(), svg.substr(end_of_tag + 1));
}

std::string html_document(std::string_view title, std::string_view body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src "
      "data:\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<link rel=\"icon\" "
      "href=\"data:,\">\n<title>{}</title>\n<style>{}{}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
      escape_markup(title), picture_style(), page_classes, body);
}

}  // namespace millet
