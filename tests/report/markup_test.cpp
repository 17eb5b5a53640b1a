// SPDX-License-Identifier: Apache-2.0
#include "millet/report/markup.hpp"

#include <gtest/gtest.h>

#include "millet/report/text_grid.hpp"
#include "report/well_formed.hpp"

namespace millet {
namespace {

TEST(EscapeMarkup, WhatCouldEndTextOrAttributeBecomesAnEntity) {
  EXPECT_EQ(escape_markup(R"(a<b>&"c"'d')"), "a&lt;b&gt;&amp;&quot;c&quot;&#39;d&#39;");
  EXPECT_EQ(escape_markup("&amp;"), "&amp;amp;");
  EXPECT_EQ(escape_markup("\xC3\xA9 \xE2\x80\xA6 \xF0\x9F\x8C\xBE"), "\xC3\xA9 \xE2\x80\xA6 \xF0\x9F\x8C\xBE");
  EXPECT_EQ(escape_markup("one\ntwo\tthree\r"), "one two three ");
}

TEST(EscapeMarkup, WhatIsNoTextBecomesAReplacementCharacter) {
  const std::string bad = "\xEF\xBF\xBD";
  for (const std::string text : {"\x01", "\x1B", "\x7F", "\xC2\x85", "\xFF", "\xC3", "\xE2\x80", "\xC0\x80", "\x80",
                                 "\xE2\x80\xAE" /* U+202E: right to left */, "\xE2\x81\xA6" /* U+2066 */}) {
    const std::string escaped = escape_markup("x" + text + "<");
    EXPECT_TRUE(escaped.starts_with("x" + bad) && escaped.ends_with(bad + "&lt;")) << escaped;
  }
  EXPECT_EQ(escape_markup(std::string_view("\0", 1)), bad);
  EXPECT_EQ(escape_markup("\xED\xA0\x80"), bad + bad + bad) << "a surrogate";
  EXPECT_EQ(escape_markup("\xE0\x80\xBC"), bad + bad + bad) << "'<' in three bytes";
  EXPECT_EQ(escape_markup("\xF4\x90\x80\x80"), bad + bad + bad + bad) << "beyond U+10FFFF";
  // A lead byte must not swallow the markup that follows.
  EXPECT_EQ(escape_markup("\xE2<b>"), bad + "&lt;b&gt;");
}

TEST(Shortened, CountsCharactersAndNotBytes) {
  EXPECT_EQ(shortened("abcdef", 6), "abcdef");
  EXPECT_EQ(shortened("abcdefg", 6), "abcde\xE2\x80\xA6");
  EXPECT_EQ(shortened("\xC3\xA9\xC3\xA9\xC3\xA9", 3), "\xC3\xA9\xC3\xA9\xC3\xA9");
  EXPECT_EQ(shortened("\xC3\xA9\xC3\xA9\xC3\xA9", 2), "\xC3\xA9\xE2\x80\xA6");
  EXPECT_EQ(shortened("", 3), "");
}

TEST(HtmlDocument, IsWholeAndForbidsScriptsAndRequests) {
  const std::string document = html_document("a <title>", "<p>text</p>\n");
  EXPECT_EQ(markup_fault(document), "");
  EXPECT_EQ(count_of(document, "a &lt;title&gt;"), 1U);
  EXPECT_EQ(count_of(document, "default-src 'none'"), 1U);
  EXPECT_EQ(count_of(document, "prefers-color-scheme:dark"), 1U);
  EXPECT_EQ(count_of(document, "http://") + count_of(document, "https://") + count_of(document, "url("), 0U);
}

TEST(StandaloneSvg, HasNamespaceAndStyle) {
  const std::string svg = standalone_svg("<svg class=\"picture\"><path/></svg>");
  EXPECT_EQ(markup_fault(svg), "");
  EXPECT_TRUE(svg.starts_with("<svg class=\"picture\" xmlns=\"http://www.w3.org/2000/svg\"><style>")) << svg;
  EXPECT_TRUE(svg.ends_with("</style><path/></svg>\n"));
}

TEST(ToHtml, EscapesShadesAndHeadsItsRows) {
  TextGrid grid;
  grid.header = {"<name>", "a", "b"};
  grid.rows = {{"x & y", "1.00", "2.00"}, {"z", std::string(60, 'w'), "<i>"}};
  const std::string html =
      to_html(grid, "cap<tion", {{{0, 1}, {0.5, "aside <1>"}}, {{0, 2}, {-3, ""}}, {{1, 2}, {0, ""}}});
  EXPECT_EQ(markup_fault(html), "");
  EXPECT_EQ(count_of(html, "<th scope=\"col\" class=\"left\">&lt;name&gt;</th>"), 1U) << html;
  EXPECT_EQ(count_of(html, "<th scope=\"row\" class=\"left\">x &amp; y</th>"), 1U) << html;
  EXPECT_EQ(count_of(html, "<td class=\"up\" style=\"--h:0.50\">1.00<small>aside &lt;1&gt;</small></td>"), 1U) << html;
  EXPECT_EQ(count_of(html, "<td class=\"down\" style=\"--h:1.00\">2.00</td>"), 1U) << html;
  EXPECT_EQ(count_of(html, "<td class=\"long\">w"), 1U) << html;
  EXPECT_EQ(count_of(html, "<td>&lt;i&gt;</td>"), 1U) << html;
  EXPECT_EQ(count_of(to_html(grid, "plain"), "heat"), 0U);
}

}  // namespace
}  // namespace millet
