// SPDX-License-Identifier: Apache-2.0
#include "millet/report/text_grid.hpp"

#include <gtest/gtest.h>

namespace millet {
namespace {

TEST(TextGrid, MarkdownIsAlignedAndEscaped) {
  const TextGrid grid{{"name", "M=1"}, {{"a|b", "1.25"}, {"long\nname", "\xC2\xB5s"}}, 1};
  EXPECT_EQ(to_markdown(grid),
            "| name      |  M=1 |\n"
            "| --------- | ---: |\n"
            "| a\\|b      | 1.25 |\n"
            "| long name |   \xC2\xB5s |\n");
}

TEST(TextGrid, TerminalHasNoTrailingSpace) {
  const TextGrid grid{{"name", "kind", "x"}, {{"a", "b", "100"}, {"ccc", "", ""}}, 2};
  EXPECT_EQ(to_terminal(grid),
            "name  kind    x\n"
            "a     b     100\n"
            "ccc\n");
}

TEST(TextGrid, CsvQuotesWhatItMust) {
  const TextGrid grid{{"a", "b,c"}, {{"say \"hi\"", "two\nlines"}, {"", "plain"}}, 1};
  EXPECT_EQ(to_csv(grid),
            "a,\"b,c\"\n"
            "\"say \"\"hi\"\"\",\"two\nlines\"\n"
            ",plain\n");
}

TEST(TextGrid, CsvDefusesFormulasButNotNumbers) {
  const TextGrid grid{{"x"}, {{"=1+2"}, {"@sum"}, {"-1.5e3"}, {"-"}, {"+x"}}, 1};
  EXPECT_EQ(to_csv(grid), "x\n'=1+2\n'@sum\n-1.5e3\n'-\n'+x\n");
}

}  // namespace
}  // namespace millet
