// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cases/shape_cases.hpp"
#include "cases/shard.hpp"
#include "millet/measure/measurement.hpp"
#include "operands/workload.hpp"
#include "weights/weight_cases.hpp"

namespace millet {

/// Which kernels a search is over.
struct SearchSpace {
  std::string kernels;  ///< a regular expression of ids; empty: all. The default choice always takes part
};

/// What `millet run` or `millet tune` was asked for.
struct RunOptions {
  std::vector<ShapeCases> shapes;
  std::optional<std::vector<SkippedTensor>>
      skipped_tensors;                                   ///< of the file that `shapes` are from; absent: no such file
  std::vector<std::string> backends;                     ///< empty: every one that can run here
  std::vector<std::string> baselines;                    ///< of baseline_names() and program_baseline_names()
  std::map<std::string, std::string> baseline_programs;  ///< the user's own baselines: commands, by name
  double baseline_limit_seconds = 300;                   ///< that an answer of a baseline's program may take
  Protocol protocol = Protocol::cold_graph;
  OperandOptions operands;
  double budget_seconds = 60;
  std::filesystem::path out;      ///< folder of the tables; of a search the tuned table
  std::filesystem::path records;  ///< results file
  bool resume = false;
  std::optional<Shard> shard;                          ///< absent: all cases
  std::optional<SearchSpace> search;                   ///< absent: each backend runs the kernel that it selects
  std::map<std::string, std::filesystem::path> tuned;  ///< by backend: tables read instead of the built-in ones
  std::string kernel;                                  ///< forced kernel id, or empty
  std::optional<int> policy;                           ///< of the forced kernel
  bool strict = false;                                 ///< bad rows of tuned tables are fatal
  bool quiet = false;
  std::map<std::string, std::string> tags;
  std::string command_line;
};

}  // namespace millet
