// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace millet {

/// One value of a strip: a mark.
struct StripValue {
  double value = 0;   ///< above 0
  std::string label;  ///< for the mark's tooltip
};

/// The values of one series in one group, drawn above one place of the horizontal axis.
struct Strip {
  std::string group;   ///< strips of one group stand together
  std::string series;  ///< what the legend names
  std::vector<StripValue> values;
};

/// Distributions side by side on a logarithmic axis, every value as a mark, geometric means as bars.
struct StripPlot {
  std::string title;
  std::string axis;  ///< what the values are, with their unit
  std::vector<Strip> strips;
};

/// The plot as an inline SVG element with a legend, a title and a description. Values that are not above 0 have no
/// place on a logarithmic axis and no mark. "" where nothing is left.
/// \param id  unique in the document
[[nodiscard]] std::string strip_svg(const StripPlot& plot, const std::string& id);

}  // namespace millet
