// SPDX-License-Identifier: Apache-2.0
#include "cases/shape_arguments.hpp"

#include <iterator>

#include "arguments.hpp"

namespace millet {

std::vector<CLI::Option*> add_shape_options(CLI::App& command, ShapeArguments& arguments) {
  auto* const preset = command.add_option("--preset", arguments.presets,
                                          "Built-in shapes, a list: seed-dense (default), seed-moe, m3, tp");
  auto* const shapes =
      command.add_option("--shapes", arguments.files, "CSV file of shapes (dense or MoE by its first line)");
  command.add_option("--m", arguments.m, "Rows of A (MoE: tokens) instead of those of the shapes: 1,2,4");
  command.add_option("--filter", arguments.filter, "Only cases whose name matches this regular expression");
  return {preset, shapes};
}

Expected<std::vector<ShapeCases>> wanted_shapes(const ShapeArguments& arguments) {
  std::vector<ShapeCases> shapes;
  const auto append = [&](Expected<std::vector<ShapeCases>> more) -> Expected<void> {
    if (!more) return fail(std::move(more));
    std::move(more->begin(), more->end(), std::back_inserter(shapes));
    return {};
  };
  std::string presets = arguments.presets;
  if (presets.empty() && arguments.files.empty()) presets = "seed-dense";
  if (!presets.empty()) {
    const auto names = parse_list("--preset", presets);
    if (!names) return tl::unexpected(names.error());
    for (const std::string& name : *names) {
      if (auto done = append(cases_of_preset(name)); !done) return fail(std::move(done));
    }
  }
  for (const std::string& file : arguments.files) {
    if (auto done = append(cases_of_file(file)); !done) return fail(std::move(done));
  }
  if (!arguments.m.empty()) {
    const auto m = parse_extents("--m", arguments.m);
    if (!m) return tl::unexpected(m.error());
    for (ShapeCases& shape : shapes) shape.m() = *m;
  }
  return filtered(std::move(shapes), arguments.filter);
}

}  // namespace millet
