// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "accuracy/product_error.hpp"
#include "millet/report/strip_plot.hpp"
#include "millet/report/text_grid.hpp"

namespace millet {

/// One layer of a model and what quantization does to its products.
struct LayerAccuracy {
  std::string name;
  std::string type;
  Index n = 0;
  Index k = 0;
  std::vector<SpreadError> errors;
};

/// A tensor without errors, and why.
struct SkippedLayer {
  std::string name;
  std::string reason;
};

/// What an accuracy run found.
struct AccuracyRun {
  std::string file;
  Index m = 0;
  std::uint64_t seed = 0;
  std::vector<LayerAccuracy> layers;
  std::vector<SkippedLayer> skipped;
};

/// Errors against f32 as a picture: a group for each kind of activations, a strip for each scale mode, a mark a layer.
[[nodiscard]] StripPlot accuracy_plot(const AccuracyRun& run);

/// Tables with a row for each layer and kind of activations, the scale modes side by side: errors against f32, against
/// bf16, of the weights alone, and how many elements saturated. HTML has the picture besides; CSV has one row a layer,
/// kind and mode.
[[nodiscard]] std::string accuracy_report(const AccuracyRun& run, ReportFormat format);

}  // namespace millet
