// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/tuned_table.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>

namespace millet {

namespace {

// How a key spells a grouped problem with an epilogue: two epilogues are tuned apart.
std::string grouped_operation(Epilogue epilogue) {
  return epilogue == Epilogue::none ? "grouped" : fmt::format("grouped_{}", to_string(epilogue));
}

std::optional<Epilogue> grouped_epilogue(std::string_view operation) {
  for (const Epilogue epilogue : {Epilogue::none, Epilogue::swiglu, Epilogue::topk_sum}) {
    if (operation == grouped_operation(epilogue)) return epilogue;
  }
  return std::nullopt;
}

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

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

// Reads the fields of a row in order and remembers the first complaint.
class RowReader {
 public:
  RowReader(const std::vector<std::string_view>& fields, const std::vector<std::string_view>& columns)
      : fields_(fields), columns_(columns) {}

  std::string text() {
    const std::string_view field = fields_[at_++];
    if (field.empty()) complain("is empty");
    // A carriage return or NUL within a name would not read as the same name once written.
    if (std::any_of(field.begin(), field.end(), is_control)) complain("holds a control character");
    return std::string(field);
  }
  Index integer(Index least) {
    Index value = 0;
    const std::string_view field = fields_[at_++];
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error != std::errc() || end != field.data() + field.size()) {
      complain(fmt::format("'{}' is not an integer", field));
    } else if (value < least) {
      complain(fmt::format("{} is below {}", value, least));
    }
    return value;
  }
  double non_negative() {
    double value = 0;
    const std::string_view field = fields_[at_++];
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error != std::errc() || end != field.data() + field.size()) {
      complain(fmt::format("'{}' is not a number", field));
    } else if (!std::isfinite(value) || value < 0) {
      complain(fmt::format("{} is not a finite number of at least 0", field));
    }
    return value;
  }
  bool flag() {
    const std::string_view field = fields_[at_++];
    if (field != "yes" && field != "no") complain(fmt::format("'{}' is neither yes nor no", field));
    return field == "yes";
  }
  std::string operation() {
    const std::string_view field = fields_[at_++];
    if (field != "dense" && !grouped_epilogue(field)) {
      complain(fmt::format("'{}' is none of dense, grouped, grouped_swiglu, grouped_topk_sum", field));
    }
    return std::string(field);
  }
  ActivationFormat activation() {
    const std::string_view field = fields_[at_++];
    const auto format = parse_activation_format(field);
    if (!format) complain(fmt::format("'{}' is none of mx, bf16, f32", field));
    return format.value_or(ActivationFormat::mx);
  }

  [[nodiscard]] const std::string& complaint() const noexcept { return complaint_; }

 private:
  void complain(const std::string& what) {
    if (complaint_.empty()) complaint_ = fmt::format("column {}: {}", columns_[at_ - 1], what);
  }

  const std::vector<std::string_view>& fields_;
  const std::vector<std::string_view>& columns_;
  std::size_t at_ = 0;
  std::string complaint_;
};

template <class P>
std::string complaint_about_kernel(std::span<const KernelFor<P>> kernels, const TunedRow& row,
                                   const Expected<P>& problem) {
  if (!problem) return problem.error().message;
  const auto kernel = std::find_if(kernels.begin(), kernels.end(), [&](const auto& k) { return k.id == row.kernel; });
  if (kernel == kernels.end()) return fmt::format("unknown kernel '{}'", row.kernel);
  if (row.policy >= kernel->policy_count) {
    return fmt::format("kernel '{}' has no policy {}, only [0, {})", row.kernel, row.policy, kernel->policy_count);
  }
  if (const Verdict verdict = kernel->supports(*problem); !verdict) {
    return fmt::format("kernel '{}' declines {} ({}); re-run tune", row.kernel, to_string(*problem), verdict.reason);
  }
  return "";
}

std::string complaint_about(const TunedRow& row, const Backend& backend) {
  const TunedKey& key = row.key;
  if (key.operation == "dense") {
    if (key.groups != 0) return fmt::format("groups must be 0 for a dense problem, got {}", key.groups);
    return complaint_about_kernel(backend.gemm_kernels, row, make_gemm_problem(key.m, key.n, key.k, key.activation));
  }
  GroupedProblem problem;
  problem.experts = key.groups;
  problem.slots = key.m;
  problem.n = key.n;
  problem.k = key.k;
  problem.padded_slots = key.m;
  problem.activation = key.activation;
  problem.epilogue = grouped_epilogue(key.operation).value_or(Epilogue::none);
  return complaint_about_kernel(backend.grouped_kernels, row, make_grouped_problem(problem));
}

}  // namespace

std::string to_string(const TunedKey& key) {
  return fmt::format("{}/{} {} a={} m={} n={} k={} groups={}", key.arch, key.units, key.operation,
                     to_string(key.activation), key.m, key.n, key.k, key.groups);
}

TunedKey tuned_key(const DeviceInfo& device, const GemmProblem& p) {
  return {device.architecture, device.compute_units, "dense", p.activation, p.m, p.n, p.k, 0};
}

TunedKey tuned_key(const DeviceInfo& device, const GroupedProblem& p) {
  return {device.architecture,
          device.compute_units,
          grouped_operation(p.epilogue),
          p.activation,
          p.slots,
          p.n,
          p.k,
          p.experts};
}

std::size_t TunedTable::KeyHash::operator()(const TunedKey& key) const noexcept {
  std::size_t hash = std::hash<std::string>{}(key.arch);
  for (const Index part : {key.units, static_cast<Index>(key.operation.size()), static_cast<Index>(key.activation),
                           key.m, key.n, key.k, key.groups}) {
    hash = hash * 0x9E3779B97F4A7C15U + static_cast<std::size_t>(part);
  }
  return hash;
}

Expected<TunedTable> TunedTable::parse(std::string_view csv, std::string_view name, const Backend& backend,
                                       bool strict) {
  TunedTable table;
  const std::vector<std::string_view> columns = split(tuned_table_header);
  int line_number = 0;
  bool schema_seen = false;
  bool header_seen = false;
  while (!csv.empty()) {
    const auto end = csv.find('\n');
    const std::string_view line = trimmed(csv.substr(0, end));
    csv.remove_prefix(end == std::string_view::npos ? csv.size() : end + 1);
    ++line_number;
    if (!schema_seen && !line.empty()) {
      if (line != tuned_table_schema) {
        return fail(ErrorCode::parse_error, "{}:{}: the first line must be '{}', got '{}'", name, line_number,
                    tuned_table_schema, line.substr(0, 60));
      }
      schema_seen = true;
      continue;
    }
    if (line.empty() || line.front() == '#') continue;
    if (!header_seen) {
      if (split(line) != columns) {
        return fail(ErrorCode::parse_error, "{}:{}: the columns must be '{}'", name, line_number, tuned_table_header);
      }
      header_seen = true;
      continue;
    }

    std::string complaint;
    TunedRow row;
    const std::vector<std::string_view> fields = split(line);
    if (fields.size() != columns.size()) {
      complaint = fmt::format("{} fields, {} wanted", fields.size(), columns.size());
    } else {
      RowReader reader(fields, columns);
      row.key.arch = reader.text();
      row.key.units = reader.integer(1);
      row.key.operation = reader.operation();
      row.key.activation = reader.activation();
      row.key.m = reader.integer(1);
      row.key.n = reader.integer(1);
      row.key.k = reader.integer(1);
      row.key.groups = reader.integer(0);
      row.kernel = reader.text();
      row.policy = static_cast<int>(std::min<Index>(reader.integer(0), 1 << 30));
      row.median_us = reader.non_negative();
      row.spread_pct = reader.non_negative();
      row.baseline = reader.text();
      row.baseline_us = reader.non_negative();
      row.use = reader.flag();
      row.toolchain = reader.text();
      row.commit = reader.text();
      row.date = reader.text();
      row.line = line_number;
      complaint = reader.complaint();
      if (complaint.empty()) complaint = complaint_about(row, backend);
      if (complaint.empty()) {
        const auto [earlier, inserted] = table.index_.emplace(row.key, table.rows_.size());
        if (!inserted) {
          complaint = fmt::format("the key {} stands in line {} already", to_string(row.key),
                                  table.rows_[earlier->second].line);
        }
      }
    }
    if (complaint.empty()) {
      table.rows_.push_back(std::move(row));
      continue;
    }
    table.rejected_.push_back(fmt::format("{}:{}: {}", name, line_number, complaint));
    if (strict) return fail(ErrorCode::parse_error, "{}", table.rejected_.back());
  }
  if (schema_seen && !header_seen) {
    return fail(ErrorCode::parse_error, "{}: no header line; the columns must be '{}'", name, tuned_table_header);
  }
  return table;
}

const TunedRow* TunedTable::find(const TunedKey& key) const noexcept {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &rows_[found->second];
}

std::vector<const TunedRow*> TunedTable::nearest_m(const TunedKey& key) const {
  std::vector<const TunedRow*> by_m;
  for (const TunedRow& row : rows_) {
    const TunedKey& x = row.key;
    if (x.m != key.m && x.n == key.n && x.k == key.k && x.groups == key.groups && x.units == key.units &&
        x.activation == key.activation && x.operation == key.operation && x.arch == key.arch) {
      by_m.push_back(&row);
    }
  }
  std::sort(by_m.begin(), by_m.end(), [](const TunedRow* x, const TunedRow* y) { return x->key.m < y->key.m; });

  // Outward from m. Below and above are compared as x * y with m * m, which unlike quotients and logarithms is exact.
  auto above = std::find_if(by_m.begin(), by_m.end(), [&](const TunedRow* row) { return row->key.m > key.m; });
  auto below = above;
  std::vector<const TunedRow*> near;
  near.reserve(by_m.size());
  const auto m = static_cast<double>(key.m);
  while (below != by_m.begin() || above != by_m.end()) {
    const bool take_above =
        below == by_m.begin() ||
        (above != by_m.end() &&
         static_cast<double>((*above)->key.m) * static_cast<double>((*std::prev(below))->key.m) <= m * m);
    near.push_back(take_above ? *above++ : *--below);
  }
  return near;
}

std::string to_csv(const TunedRow& row) {
  const auto plain = [](std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == ',' || is_control(c); }, ' ');
    return text;
  };
  return fmt::format("{},{},{},{},{},{},{},{},{},{},{:.3f},{:.2f},{},{:.3f},{},{},{},{}", plain(row.key.arch),
                     row.key.units, row.key.operation, to_string(row.key.activation), row.key.m, row.key.n, row.key.k,
                     row.key.groups, plain(row.kernel), row.policy, row.median_us, row.spread_pct, plain(row.baseline),
                     row.baseline_us, row.use ? "yes" : "no", plain(row.toolchain), plain(row.commit), plain(row.date));
}

}  // namespace millet
