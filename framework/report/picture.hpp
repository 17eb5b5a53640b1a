// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace millet {

/// One line of text at a point of a picture. \param anchor  "start", "middle" or "end"; \param css  a class, or ""
[[nodiscard]] std::string picture_text(double x, double y, std::string_view text, std::string_view anchor,
                                       std::string_view css);

/// The mark of series number `series`: its own colour and, since colours are not for everybody, its own form.
/// \param label  shown when somebody points at it; empty: none
[[nodiscard]] std::string picture_mark(double x, double y, std::size_t series, bool flagged, std::string_view label);

/// The dashes of line number `index`.
[[nodiscard]] std::string_view dash_pattern(std::size_t index);

/// A legend of as many rows as its entries need, between two edges of a picture.
class LegendRows {
 public:
  LegendRows(double left, double right, double top) : left_(left), right_(right), x_(left), y_(top) {}

  /// \param attributes  of the sample line
  void add_line(std::string_view attributes, std::string_view text);
  void add_mark(std::size_t series, bool flagged, std::string_view text);
  void next_row();

  [[nodiscard]] const std::string& svg() const noexcept { return svg_; }
  [[nodiscard]] double bottom() const noexcept { return y_; }

 private:
  // Makes room for an entry, in a new row if need be; returns where it starts.
  double place(double width);

  double left_, right_, x_, y_;
  std::string svg_;
};

}  // namespace millet
