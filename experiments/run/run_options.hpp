// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cases/shape_cases.hpp"
#include "millet/measure/measurement.hpp"
#include "operands/workload.hpp"
#include "weights/weight_cases.hpp"

namespace millet {

/// What `millet run` was asked for.
struct RunOptions {
  std::vector<ShapeCases> shapes;
  std::optional<std::vector<SkippedTensor>>
      skipped_tensors;                 ///< of the file that `shapes` are from; absent: no such file
  std::vector<std::string> backends;   ///< empty: every one that can run here
  std::vector<std::string> baselines;  ///< eigen_f32, reference, or names of backends
  Protocol protocol = Protocol::cold_graph;
  OperandOptions operands;
  double budget_seconds = 60;
  std::filesystem::path out;
  bool resume = false;
  std::string kernel;         ///< forced kernel id, or empty
  std::optional<int> policy;  ///< of the forced kernel
  bool strict = false;        ///< bad rows of tuned tables are fatal
  bool quiet = false;
  std::map<std::string, std::string> tags;
  std::string command_line;
};

}  // namespace millet
