// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "millet/report/record.hpp"
#include "millet/report/text_grid.hpp"
#include "weights/weight_cases.hpp"

namespace millet {

/// Whether `record` is of a layer of a model's file.
[[nodiscard]] bool is_layer(const Record& record);

/// The report on a model's weights, from those of `records` that are of its layers: what the quantization costs in each
/// scale mode, a row a layer; then for each set-up time, share of the measured read rate, speedup over the baselines
/// and error against its bound, a row a layer; then the tensors that are no layers, with reasons.
///
/// CSV has one row a record, with the fastest performance baseline, and no skipped tensors.
[[nodiscard]] std::string weights_report(std::span<const Record> records, std::span<const SkippedTensor> skipped,
                                         ReportFormat format);

}  // namespace millet
