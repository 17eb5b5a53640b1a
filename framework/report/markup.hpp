// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace millet {

/// `text` fit for the content and the quoted attributes of HTML and SVG. Records come from files that nobody vouches
/// for: & < > " ' become entities, and what no reader should meet (control characters, bytes that are not UTF-8,
/// characters that turn the direction of writing round) becomes U+FFFD. Line breaks and tabs become spaces.
[[nodiscard]] std::string escape_markup(std::string_view text);

/// The first `longest` characters of `text`, which is UTF-8, with an ellipsis in place of the last where more follow.
[[nodiscard]] std::string shortened(std::string_view text, std::size_t longest);

/// Colours for light and dark screens as CSS variables, with the classes that pictures use: series0 to series7, roof,
/// axis and others. Belongs into every document that holds one of our pictures.
[[nodiscard]] std::string_view picture_style();

/// `svg`, an inline picture, as a file of its own: with the namespace and the style.
[[nodiscard]] std::string standalone_svg(std::string_view svg);

/// A whole HTML document. It asks for nothing over the network and runs no script: its policy forbids both, whatever
/// stands in `body`.
/// \param title  text, not markup
/// \param body   markup
[[nodiscard]] std::string html_document(std::string_view title, std::string_view body);

}  // namespace millet
