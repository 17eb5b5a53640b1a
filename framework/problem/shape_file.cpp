// SPDX-License-Identifier: Apache-2.0
#include "millet/problem/shape_file.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>

namespace millet {

namespace {

constexpr std::string_view dense_schema = "# millet-dense-shapes 1";
constexpr std::array<std::string_view, 7> dense_columns{"label", "tp", "k", "n", "m", "presets", "source"};
constexpr std::string_view moe_schema = "# millet-moe-shapes 2";
constexpr std::array<std::string_view, 14> moe_columns{"label",    "tp",    "ep",      "experts",  "n",
                                                       "k",        "top_k", "a_div",   "weighted", "block_m",
                                                       "epilogue", "m",     "presets", "source"};
constexpr std::string_view published_schema = "# millet-published 1";
constexpr std::array<std::string_view, 11> published_columns{
    "label", "k", "n", "m", "speedup", "us", "baseline_us", "device", "baseline", "source", "note"};

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> fields;
  for (;;) {
    const auto comma = line.find(',');
    fields.push_back(trimmed(line.substr(0, comma)));
    if (comma == std::string_view::npos) return fields;
    line.remove_prefix(comma + 1);
  }
}

// Reads the fields of a row in order and remembers the first complaint.
class RowReader {
 public:
  RowReader(std::span<const std::string_view> fields, std::span<const std::string_view> columns)
      : fields_(fields), columns_(columns) {}

  std::string optional_text() { return std::string(fields_[at_++]); }
  std::string text() {
    std::string field = optional_text();
    if (field.empty()) complain("is empty");
    return field;
  }
  Index extent() { return integer(fields_[at_++]); }
  Index reduction_extent() {
    const Index k = extent();
    if (k % MxBlock::k != 0) complain(fmt::format("{} is no multiple of {}", k, MxBlock::k));
    return k;
  }
  std::vector<Index> ascending_extents() {
    std::vector<Index> extents;
    for (const std::string_view word : words(fields_[at_++])) {
      const Index extent = integer(word);
      if (!extents.empty() && extent <= extents.back())
        complain(fmt::format("{} does not ascend after {}", extent, extents.back()));
      extents.push_back(extent);
    }
    if (extents.empty()) complain("is empty");
    return extents;
  }
  std::vector<std::string> names() {
    std::vector<std::string> names;
    for (const std::string_view word : words(fields_[at_++])) {
      if (std::find(names.begin(), names.end(), word) != names.end()) complain(fmt::format("has '{}' twice", word));
      names.emplace_back(word);
    }
    if (names.empty()) complain("is empty");
    return names;
  }
  double positive() {
    const std::string_view field = fields_[at_++];
    double value = 0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error != std::errc() || end != field.data() + field.size() || !std::isfinite(value) || value <= 0) {
      complain(fmt::format("'{}' is no positive number", field));
    }
    return value;
  }
  double optional_positive() {
    if (!fields_[at_].empty()) return positive();
    ++at_;
    return 0;
  }
  bool flag() {
    const std::string_view field = fields_[at_++];
    if (field != "yes" && field != "no") complain(fmt::format("'{}' is neither yes nor no", field));
    return field == "yes";
  }

  /// About the field read last.
  void complain(const std::string& what) {
    if (complaint_.empty()) complaint_ = fmt::format("column {}: {}", columns_[at_ - 1], what);
  }
  [[nodiscard]] const std::string& complaint() const noexcept { return complaint_; }

 private:
  static std::vector<std::string_view> words(std::string_view field) {
    std::vector<std::string_view> words;
    while (!(field = trimmed(field)).empty()) {
      words.push_back(field.substr(0, field.find(' ')));
      field.remove_prefix(words.back().size());
    }
    return words;
  }
  Index integer(std::string_view word) {
    Index value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || value < 1) {
      complain(fmt::format("'{}' is no integer of at least 1", word));
      return MxBlock::k;  // any value that draws no second complaint
    }
    return value;
  }

  std::span<const std::string_view> fields_;
  std::span<const std::string_view> columns_;
  std::size_t at_ = 0;
  std::string complaint_;
};

// The frame that the files share. read_row(reader) returns a row; same(x, y) whether two rows are about one thing.
template <class Row, class ReadRow, class Same>
Expected<std::vector<Row>> parse(std::string_view csv, std::string_view name, std::string_view schema,
                                 std::span<const std::string_view> columns, ReadRow read_row, Same same) {
  std::vector<Row> rows;
  bool schema_seen = false;
  bool columns_seen = false;
  for (int line_number = 1; !csv.empty(); ++line_number) {
    const auto end = csv.find('\n');
    const std::string_view line = trimmed(csv.substr(0, end));
    csv.remove_prefix(end == std::string_view::npos ? csv.size() : end + 1);
    if (line.empty()) continue;
    if (!schema_seen) {
      if (line != schema) {
        return fail(ErrorCode::parse_error, "{}:{}: the first line must be '{}', got '{}'", name, line_number, schema,
                    line.substr(0, 60));
      }
      schema_seen = true;
      continue;
    }
    if (line.front() == '#') continue;
    const std::vector<std::string_view> fields = split(line);
    if (!columns_seen) {
      if (!std::equal(fields.begin(), fields.end(), columns.begin(), columns.end())) {
        return fail(ErrorCode::parse_error, "{}:{}: the columns must be '{}'", name, line_number,
                    fmt::join(columns, ","));
      }
      columns_seen = true;
      continue;
    }
    if (fields.size() != columns.size()) {
      return fail(ErrorCode::parse_error, "{}:{}: {} fields, {} wanted", name, line_number, fields.size(),
                  columns.size());
    }
    RowReader reader(fields, columns);
    Row row = read_row(reader);
    if (!reader.complaint().empty())
      return fail(ErrorCode::parse_error, "{}:{}: {}", name, line_number, reader.complaint());
    row.line = line_number;
    for (const Row& earlier : rows) {
      if (same(earlier, row)) {
        return fail(ErrorCode::parse_error, "{}:{}: repeats line {}", name, line_number, earlier.line);
      }
    }
    rows.push_back(std::move(row));
  }
  if (!columns_seen) {
    return fail(ErrorCode::parse_error, "{}: no rows; wanted the lines '{}' and '{}'", name, schema,
                fmt::join(columns, ","));
  }
  return rows;
}

}  // namespace

std::optional<NamedEpilogue> parse_named_epilogue(std::string_view name) noexcept {
  if (name == "swiglu_oai") return NamedEpilogue{Epilogue::swiglu, swiglu_oai};
  const auto epilogue = parse_epilogue(name);
  if (!epilogue) return std::nullopt;
  return NamedEpilogue{*epilogue, {}};
}

Expected<std::vector<DenseShape>> parse_dense_shapes(std::string_view csv, std::string_view name) {
  const auto read_row = [](RowReader& reader) {
    DenseShape shape;
    shape.label = reader.text();
    shape.tp = reader.extent();
    shape.k = reader.reduction_extent();
    shape.n = reader.extent();
    shape.m = reader.ascending_extents();
    shape.presets = reader.names();
    shape.source = reader.text();
    return shape;
  };
  const auto same = [](const DenseShape& x, const DenseShape& y) {
    return x.label == y.label && x.tp == y.tp && x.k == y.k && x.n == y.n;
  };
  return parse<DenseShape>(csv, name, dense_schema, dense_columns, read_row, same);
}

Expected<std::vector<MoeShape>> parse_moe_shapes(std::string_view csv, std::string_view name) {
  const auto read_row = [](RowReader& reader) {
    MoeShape shape;
    shape.label = reader.text();
    shape.tp = reader.extent();
    shape.ep = reader.extent();
    shape.experts = reader.extent();
    shape.n = reader.extent();
    shape.k = reader.reduction_extent();
    shape.top_k = reader.extent();
    if (shape.top_k > shape.experts) reader.complain(fmt::format("{} is above {} experts", shape.top_k, shape.experts));
    shape.a_div = reader.extent();
    if (shape.a_div != 1 && shape.a_div != shape.top_k) {
      reader.complain(fmt::format("{} is neither 1 nor top_k={}", shape.a_div, shape.top_k));
    }
    shape.weighted = reader.flag();
    shape.block_m = reader.extent();
    shape.epilogue = reader.text();
    if (const auto named = parse_named_epilogue(shape.epilogue); !named) {
      reader.complain(fmt::format("'{}' is none of none, swiglu, swiglu_oai, topk_sum", shape.epilogue));
    } else if (named->epilogue == Epilogue::swiglu && shape.n % 2 != 0) {
      reader.complain(fmt::format("{} pairs gate and up rows, but n={} is odd", shape.epilogue, shape.n));
    }
    shape.m = reader.ascending_extents();
    shape.presets = reader.names();
    shape.source = reader.text();
    return shape;
  };
  const auto same = [](const MoeShape& x, const MoeShape& y) {
    return x.label == y.label && x.tp == y.tp && x.ep == y.ep && x.experts == y.experts && x.n == y.n && x.k == y.k &&
           x.top_k == y.top_k && x.a_div == y.a_div && x.weighted == y.weighted && x.block_m == y.block_m &&
           x.epilogue == y.epilogue && x.m == y.m;
  };
  return parse<MoeShape>(csv, name, moe_schema, moe_columns, read_row, same);
}

Expected<std::vector<PublishedCell>> parse_published(std::string_view csv, std::string_view name) {
  const auto read_row = [](RowReader& reader) {
    PublishedCell cell;
    cell.label = reader.text();
    cell.k = reader.reduction_extent();
    cell.n = reader.extent();
    cell.m = reader.extent();
    cell.speedup = reader.positive();
    cell.us = reader.optional_positive();
    cell.baseline_us = reader.optional_positive();
    cell.device = reader.text();
    cell.baseline = reader.text();
    cell.source = reader.text();
    cell.note = reader.optional_text();
    return cell;
  };
  const auto same = [](const PublishedCell& x, const PublishedCell& y) {
    return x.k == y.k && x.n == y.n && x.m == y.m && x.device == y.device && x.baseline == y.baseline &&
           x.source == y.source;
  };
  return parse<PublishedCell>(csv, name, published_schema, published_columns, read_row, same);
}

const PublishedCell* find_published(const std::vector<PublishedCell>& cells, Index m, Index n, Index k) noexcept {
  for (const PublishedCell& cell : cells) {
    if (cell.m == m && cell.n == n && cell.k == k) return &cell;
  }
  return nullptr;
}

}  // namespace millet
