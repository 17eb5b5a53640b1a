// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cases/shape_cases.hpp"

namespace millet {

/// The options that choose shapes, as typed.
struct ShapeArguments {
  std::string presets;
  std::vector<std::string> files;
  std::string m;
  std::string filter;
};

/// Adds --preset, --shapes, --m and --filter. Returns the first two, which other sources of shapes exclude.
std::vector<CLI::Option*> add_shape_options(CLI::App& command, ShapeArguments& arguments);

/// The cases that were asked for; of preset seed-dense where nothing was. Errors: those of their readers;
/// invalid_argument for what is no list of m.
[[nodiscard]] Expected<std::vector<ShapeCases>> wanted_shapes(const ShapeArguments& arguments);

}  // namespace millet
