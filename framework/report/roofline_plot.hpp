// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "millet/report/record.hpp"

namespace millet {

/// A rate at which a working set was read: a sloped line of the picture.
struct MemoryRoof {
  std::string name;  ///< such as "read, 64 KiB"
  double bytes_per_second = 0;
};

/// One kernel in one case: a mark of the picture.
struct RooflineMark {
  std::string series;    ///< what the legend names: the kernel
  std::string label;     ///< of the case, for the mark's tooltip
  double intensity = 0;  ///< FLOP/byte
  double flops_per_second = 0;
  Index m = 0;           ///< rows of A, to label the columns of marks; 0: none
  bool flagged = false;  ///< drawn with a red border
};

/// What a roofline picture shows.
struct RooflinePlot {
  std::string title;
  std::string source;  ///< how the roofs were measured
  MemoryRoof memory{"read, main memory", 0};
  std::vector<MemoryRoof> levels;  ///< caches
  double flops_per_second = 0;     ///< the flat roof
  std::vector<RooflineMark> marks;
};

/// One plot for each machine, device, thread count and protocol among the records: marks of its correct, timed records,
/// under its roofs (the highest that the records hold). Records without a time or a roof have no mark; the tables
/// name them.
[[nodiscard]] std::vector<RooflinePlot> roofline_plots(std::span<const Record> records);

/// One plot of roofs that were just measured, with the marks of `records`, which must be of that device.
[[nodiscard]] RooflinePlot roofline_plot(std::string title, const Ceilings& ceilings, std::span<const Record> records);

/// The plot as an inline SVG element, logarithmic on both axes, with a legend, a title and a description for those who
/// do not see it. Every mark lies inside the frame.
/// \param id  unique in the document
[[nodiscard]] std::string roofline_svg(const RooflinePlot& plot, const std::string& id);

}  // namespace millet
