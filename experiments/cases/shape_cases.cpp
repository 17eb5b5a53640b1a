// SPDX-License-Identifier: Apache-2.0
#include "cases/shape_cases.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include "near_names.hpp"

namespace millet {

// Embedded by the build: experiments/shapes/*.csv.
extern const std::string_view dense_shapes_csv;
extern const std::string_view moe_shapes_csv;
extern const std::string_view published_csv;

namespace {

struct BuiltIn {
  std::vector<DenseShape> dense;
  std::vector<MoeShape> moe;
};

Expected<BuiltIn> built_in_shapes() {
  auto dense = parse_dense_shapes(dense_shapes_csv, "shapes/dense.csv");
  if (!dense) return fail(std::move(dense));
  auto moe = parse_moe_shapes(moe_shapes_csv, "shapes/moe.csv");
  if (!moe) return fail(std::move(moe));
  return BuiltIn{*std::move(dense), *std::move(moe)};
}

std::string name_of_row(const ShapeCases& cases) {
  if (const auto* dense = std::get_if<DenseShape>(&cases.shape)) {
    const std::string tp = dense->tp == 0 ? "" : fmt::format("/tp{}", dense->tp);
    return fmt::format("{}{}/n{}/k{}", dense->label, tp, dense->n, dense->k);
  }
  const auto& moe = std::get<MoeShape>(cases.shape);
  const std::string epilogue = moe.epilogue == "none" ? "" : "/" + moe.epilogue;
  return fmt::format("{}/tp{}/ep{}/e{}/top{}/div{}/block{}{}{}/n{}/k{}", moe.label, moe.tp, moe.ep, moe.experts,
                     moe.top_k, moe.a_div, moe.block_m, moe.weighted ? "/weighted" : "", epilogue, moe.n, moe.k);
}

template <class Shape>
void append(std::vector<ShapeCases>& cases, const std::vector<Shape>& shapes, const std::string& preset,
            const std::string& selector) {
  for (const Shape& shape : shapes) cases.push_back({preset, selector, shape, {}});
}

}  // namespace

const std::vector<Index>& ShapeCases::m() const {
  return std::visit([](const auto& s) -> const std::vector<Index>& { return s.m; }, shape);
}
std::vector<Index>& ShapeCases::m() {
  return std::visit([](auto& s) -> std::vector<Index>& { return s.m; }, shape);
}

std::string case_name(const ShapeCases& cases, Index m) { return fmt::format("{}/m{}", name_of_row(cases), m); }

Expected<std::vector<std::string>> preset_names() {
  const auto shapes = built_in_shapes();
  if (!shapes) return tl::unexpected(shapes.error());
  std::set<std::string> names;
  for (const DenseShape& shape : shapes->dense) names.insert(shape.presets.begin(), shape.presets.end());
  for (const MoeShape& shape : shapes->moe) names.insert(shape.presets.begin(), shape.presets.end());
  return std::vector<std::string>(names.begin(), names.end());
}

Expected<std::vector<ShapeCases>> cases_of_preset(std::string_view preset) {
  const auto shapes = built_in_shapes();
  if (!shapes) return tl::unexpected(shapes.error());
  const std::string name(preset);
  std::vector<ShapeCases> cases;
  append(cases, shapes_of_preset(shapes->dense, preset), name, "--preset " + name);
  append(cases, shapes_of_preset(shapes->moe, preset), name, "--preset " + name);
  if (!cases.empty()) return cases;
  const auto names = preset_names();
  if (!names) return tl::unexpected(names.error());
  return tl::unexpected(unknown_name("preset", preset, *names));
}

Expected<std::vector<ShapeCases>> cases_of_file(const std::filesystem::path& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::error_code ignored;
  if (!file || std::filesystem::is_directory(path, ignored)) {
    return fail(ErrorCode::io_error, "{}: cannot be read: {}; give a shape file with --shapes", path.string(),
                std::filesystem::is_directory(path, ignored) ? "it is a folder" : std::strerror(errno));
  }
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const std::string name = path.string();
  const std::string selector = "--shapes " + name;
  std::vector<ShapeCases> cases;
  if (text.find("# millet-moe-shapes") < text.find('\n')) {
    auto shapes = parse_moe_shapes(text, name);
    if (!shapes) return fail(std::move(shapes));
    append(cases, *shapes, path.filename().string(), selector);
  } else {
    auto shapes = parse_dense_shapes(text, name);
    if (!shapes) return fail(std::move(shapes));
    append(cases, *shapes, path.filename().string(), selector);
  }
  if (cases.empty()) return fail(ErrorCode::unknown_name, "{}: no shapes in it; add a row below the header", name);
  return cases;
}

Expected<std::vector<ShapeCases>> filtered(std::vector<ShapeCases> cases, const std::string& filter) {
  if (filter.empty()) return cases;
  std::regex expression;
  try {
    expression.assign(filter, std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error& error) {
    return fail(ErrorCode::invalid_argument, "--filter: '{}' is no regular expression: {}", filter, error.what());
  }
  std::vector<ShapeCases> kept;
  std::vector<std::string> names;
  for (ShapeCases& shape : cases) {
    for (const Index m : shape.m()) names.push_back(case_name(shape, m));
    std::erase_if(shape.m(), [&](Index m) { return !std::regex_search(case_name(shape, m), expression); });
    if (!shape.m().empty()) kept.push_back(std::move(shape));
  }
  if (!kept.empty()) return kept;
  std::vector<std::string> near = near_names(filter, names);
  if (near.empty() && !names.empty()) near.push_back(names.front());
  std::string text;
  for (const std::string& name : near) text += (text.empty() ? "" : ", ") + name;
  return fail(ErrorCode::unknown_name, "--filter: none of the {} cases matches '{}'; names look like {}", names.size(),
              filter, text);
}

Expected<std::vector<PublishedCell>> published_cells() {
  return parse_published(published_csv, "shapes/published.csv");
}

}  // namespace millet
