// SPDX-License-Identifier: Apache-2.0
#include "weights/weight_cases.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <regex>

#include "arguments.hpp"
#include "millet/layout/scale_block.hpp"

namespace millet {

namespace {

// std::regex recurses once for each character that it reads.
constexpr std::size_t longest_name = 1000;

using SharedFile = std::shared_ptr<const SafetensorsFile>;

// A tensor with the file that it is in, which may be one of several.
struct Entry {
  SharedFile file;
  const TensorInfo* tensor = nullptr;
  bool indexed = true;  // whether the index of a sharded model names this file for it
};

Expected<SharedFile> open_shared(const std::filesystem::path& path) {
  auto file = SafetensorsFile::open(path);
  if (!file) return fail(std::move(file));
  return std::make_shared<const SafetensorsFile>(*std::move(file));
}

Expected<std::vector<Entry>> open_sharded(const std::filesystem::path& index) {
  const auto wanted = read_safetensors_index(index);
  if (!wanted) return tl::unexpected(wanted.error());
  std::map<std::string, SharedFile> files;
  std::map<std::string_view, std::string_view> file_of;
  for (const ShardedTensor& tensor : *wanted) {
    SharedFile& file = files[tensor.file];
    if (!file) {
      auto opened = open_shared(index.parent_path() / tensor.file);
      if (!opened) return fail(std::move(opened));
      file = *std::move(opened);
    }
    if (const auto found = file->find(tensor.name); !found) return tl::unexpected(found.error());
    file_of.emplace(tensor.name, tensor.file);
  }
  std::vector<Entry> entries;
  for (const auto& [name, file] : files) {
    for (const TensorInfo& tensor : file->tensors()) {
      const auto indexed = file_of.find(tensor.name);
      entries.push_back({file, &tensor, indexed != file_of.end() && indexed->second == name});
    }
  }
  // Of tensors of one name the indexed one first.
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& x, const Entry& y) {
    return x.tensor->name != y.tensor->name ? x.tensor->name < y.tensor->name : x.indexed > y.indexed;
  });
  return entries;
}

// All tensors of a model, sorted by name.
Expected<std::vector<Entry>> open_model(const std::filesystem::path& path) {
  if (path.extension() == ".json") return open_sharded(path);
  auto file = open_shared(path);
  if (!file) return fail(std::move(file));
  std::vector<Entry> entries;
  for (const TensorInfo& tensor : (*file)->tensors()) entries.push_back({*file, &tensor});
  return entries;
}

const Entry* find_entry(const std::vector<Entry>& entries, const std::string& name) {
  const auto found = std::lower_bound(entries.begin(), entries.end(), name,
                                      [](const Entry& entry, const std::string& n) { return entry.tensor->name < n; });
  return found != entries.end() && found->tensor->name == name && found->indexed ? &*found : nullptr;
}

std::string shape_text(const TensorInfo& tensor) { return fmt::format("[{}]", fmt::join(tensor.shape, ", ")); }

bool is_float(Dtype dtype) { return dtype == Dtype::f32 || dtype == Dtype::f16 || dtype == Dtype::bf16; }
bool may_scale(Dtype dtype) { return dtype == Dtype::u8 || dtype == Dtype::f8_e8m0; }

// The scales of `values`, or null; the name that they should have is left in `name`.
const Entry* find_scales(const std::vector<Entry>& entries, const TensorInfo& values, const MxPairSuffixes& suffixes,
                         std::string& name) {
  name.clear();
  if (values.dtype != Dtype::f8_e4m3 || !std::string_view(values.name).ends_with(suffixes.values)) return nullptr;
  name = values.name.substr(0, values.name.size() - suffixes.values.size()) + suffixes.scales;
  return find_entry(entries, name);
}

// Whether `tensor` is the second part of a pair, which stands in the list with the first.
bool is_scales_of_pair(const std::vector<Entry>& entries, const TensorInfo& tensor, const MxPairSuffixes& suffixes) {
  if (!may_scale(tensor.dtype) || !std::string_view(tensor.name).ends_with(suffixes.scales)) return false;
  const std::string values = tensor.name.substr(0, tensor.name.size() - suffixes.scales.size()) + suffixes.values;
  const Entry* const entry = find_entry(entries, values);
  return entry != nullptr && entry->tensor->dtype == Dtype::f8_e4m3;
}

// Why a tensor cannot be the weights of a product, or nothing.
std::string why_no_layer(const Entry& entry, const Entry* scales, const std::string& scales_name,
                         const MxPairSuffixes& suffixes) {
  const TensorInfo& tensor = *entry.tensor;
  if (!entry.indexed) return fmt::format("the index does not name {} for it", entry.file->origin());
  if (tensor.name.size() > longest_name) {
    return fmt::format("its name has {} bytes; names of up to {} are handled", tensor.name.size(), longest_name);
  }
  if (tensor.dtype == Dtype::f8_e4m3) {
    if (scales_name.empty()) {
      return fmt::format("F8_E4M3 whose name does not end in '{}'; say how it ends with --weight-suffix",
                         printable(suffixes.values));
    }
    if (scales == nullptr) {
      return fmt::format("F8_E4M3 without scales: there is no tensor '{}'; say how its name ends with --scale-suffix",
                         printable(scales_name));
    }
    if (!may_scale(scales->tensor->dtype)) {
      return fmt::format("its scales '{}' are {}; those of MX-FP8 are U8 or F8_E8M0", printable(scales_name),
                         to_string(scales->tensor->dtype));
    }
  } else if (!is_float(tensor.dtype)) {
    return fmt::format("{} is not read; F32, F16, BF16 and MX-FP8 pairs are", to_string(tensor.dtype));
  }
  if (tensor.shape.size() != 2) {
    return fmt::format("{} dimension{}; a layer is a matrix [n, k]", tensor.shape.size(),
                       tensor.shape.size() == 1 ? "" : "s");
  }
  if (tensor.shape[0] < 1 || tensor.shape[1] < 1) return "it has no elements";
  if (const Index k = tensor.shape[1]; k % MxBlock::k != 0) {
    return fmt::format("k={} is no multiple of the {}-element scale block; zero-pad it to k={}", k, MxBlock::k,
                       round_up_to_tile(k, MxBlock::k));
  }
  return "";
}

// 64 bits that depend on every byte: weights that changed under one name are another case. No defence against forgery.
class Fingerprint {
 public:
  void add(std::span<const std::byte> bytes) {
    mix(bytes.size());
    for (; bytes.size() >= sizeof(std::uint64_t); bytes = bytes.subspan(sizeof(std::uint64_t))) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), sizeof word);
      mix(word);
    }
    std::uint64_t rest = 0;
    if (!bytes.empty()) std::memcpy(&rest, bytes.data(), bytes.size());
    mix(rest);
  }
  void add(const Entry& entry) {
    const std::string head =
        fmt::format("{} {} {}", to_string(entry.tensor->dtype), shape_text(*entry.tensor), entry.tensor->name);
    add(std::as_bytes(std::span(head)));
    add(entry.file->bytes(*entry.tensor));
  }
  [[nodiscard]] std::string text() const { return fmt::format("{:016x}", hash_); }

 private:
  void mix(std::uint64_t word) noexcept {
    hash_ = (hash_ ^ word) * 0x9E3779B97F4A7C15U;
    hash_ ^= hash_ >> 32;
  }
  std::uint64_t hash_ = 0xcbf29ce484222325U;
};

Expected<LoadedWeights> load_float(const Entry& entry, ScaleMode wanted) {
  const Index n = entry.tensor->shape[0];
  const Index k = entry.tensor->shape[1];
  const auto original = entry.file->read_as_float(*entry.tensor);
  if (!original) return tl::unexpected(original.error());
  LoadedWeights weights;
  for (const ScaleMode mode : scale_modes) {
    auto quantized = quantize_mx(*original, n, k, mode);
    if (!quantized) return fail(std::move(quantized));
    const auto error = quantization_error(*original, quantized->view());
    if (!error) return tl::unexpected(error.error());
    weights.tags[weight_tag::relative_frobenius(mode)] = fmt::format("{:.6g}", error->relative_frobenius);
    weights.tags[weight_tag::worst_block(mode)] = fmt::format("{:.6g}", error->worst_block_relative);
    weights.tags[weight_tag::saturated(mode)] = std::to_string(error->saturated);
    if (error->nan_blocks > 0) weights.tags[weight_tag::nan_blocks] = std::to_string(error->nan_blocks);
    if (mode == wanted) weights.matrix = *std::move(quantized);
  }
  return weights;
}

LoadedWeights load_pair(const Entry& values, const Entry& scales) {
  const Index n = values.tensor->shape[0];
  const Index k = values.tensor->shape[1];
  LoadedWeights weights{MxMatrix<>(RowMajor(n, k), row_major_scales(n, k)), {}};
  const std::span<const std::byte> value_bytes = values.file->bytes(*values.tensor);
  const std::span<const std::byte> scale_bytes = scales.file->bytes(*scales.tensor);
  std::memcpy(weights.matrix.values().data(), value_bytes.data(), value_bytes.size());
  std::memcpy(weights.matrix.scales().data(), scale_bytes.data(), scale_bytes.size());
  return weights;
}

WeightSource source_of(const Entry& entry) {
  WeightSource source;
  source.load = [entry](ScaleMode mode) { return load_float(entry, mode); };
  source.original = [entry] { return entry.file->read_as_float(*entry.tensor); };
  source.fingerprint = [entry] {
    Fingerprint fingerprint;
    fingerprint.add(entry);
    return fingerprint.text();
  };
  source.tags[weight_tag::type] = to_string(entry.tensor->dtype);
  return source;
}

Expected<WeightSource> source_of(const Entry& values, const Entry& scales) {
  if (auto pair = make_mx_pair(values.file->origin(), values.tensor->name, *values.tensor, *scales.tensor); !pair) {
    return fail(std::move(pair));
  }
  WeightSource source;
  source.load = [values, scales](ScaleMode) -> Expected<LoadedWeights> { return load_pair(values, scales); };
  source.fingerprint = [values, scales] {
    Fingerprint fingerprint;
    fingerprint.add(values);
    fingerprint.add(scales);
    return fingerprint.text();
  };
  source.stored_mx = true;
  source.tags[weight_tag::type] = fmt::format("MX-FP8, {} scales", to_string(scales.tensor->dtype));
  return source;
}

// The fewest insertions, deletions and replacements that make `pattern` a part of `text`.
int distance_to_part(std::string_view pattern, std::string_view text) {
  std::vector<int> row(text.size() + 1, 0), last;
  for (std::size_t i = 1; i <= pattern.size(); ++i) {
    last = row;
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= text.size(); ++j) {
      row[j] = std::min({last[j - 1] + (pattern[i - 1] == text[j - 1] ? 0 : 1), last[j] + 1, row[j - 1] + 1});
    }
  }
  return *std::min_element(row.begin(), row.end());
}

// Names of which a part resembles the expression, apart from its operators; nearest first.
std::string names_near(const std::string& expression, const std::vector<Entry>& entries) {
  std::string literal;
  std::copy_if(expression.begin(), expression.end(), std::back_inserter(literal),
               [](char c) { return std::string_view("\\^$*+?()[]{}|").find(c) == std::string_view::npos; });
  literal.resize(std::min(literal.size(), longest_name));
  std::vector<std::pair<int, std::string_view>> near;
  for (const Entry& entry : entries) {
    const std::string_view name = std::string_view(entry.tensor->name).substr(0, longest_name);
    near.emplace_back(distance_to_part(literal, name), name);
  }
  constexpr std::size_t most = 3;
  std::stable_sort(near.begin(), near.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
  std::string names;
  for (std::size_t i = 0; i < std::min(most, near.size()); ++i) {
    names += fmt::format("{}'{}'", i == 0 ? "" : ", ", printable(near[i].second));
  }
  return names;
}

Expected<std::vector<Entry>> matching(const std::vector<Entry>& entries, const std::string& expression,
                                      const std::string& file) {
  std::regex wanted;
  try {
    wanted.assign(expression, std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error& error) {
    return fail(ErrorCode::invalid_argument, "--tensor: '{}' is no regular expression: {}", expression, error.what());
  }
  std::vector<Entry> kept;
  for (const Entry& entry : entries) {
    const std::string& name = entry.tensor->name;
    if (expression.empty() || (name.size() <= longest_name && std::regex_search(name, wanted))) kept.push_back(entry);
  }
  if (!kept.empty()) return kept;
  return fail(ErrorCode::unknown_name, "--tensor: none of the {} tensors of {} matches '{}'; near are {}",
              entries.size(), file, expression, names_near(expression, entries));
}

}  // namespace

std::string weight_tag::relative_frobenius(ScaleMode mode) { return fmt::format("error_{}", to_string(mode)); }
std::string weight_tag::worst_block(ScaleMode mode) { return fmt::format("worst_block_{}", to_string(mode)); }
std::string weight_tag::saturated(ScaleMode mode) { return fmt::format("saturated_{}", to_string(mode)); }

Expected<WeightCases> cases_of_weights(const WeightRequest& request) {
  const std::string file = request.file.string();
  if (file.empty()) return fail(ErrorCode::invalid_argument, "--weights: the path is empty; name a .safetensors file");
  const auto entries = open_model(request.file);
  if (!entries) return tl::unexpected(entries.error());
  if (entries->empty()) return fail(ErrorCode::unsupported, "{}: there are no tensors in it", file);
  const auto wanted = matching(*entries, request.tensor, file);
  if (!wanted) return tl::unexpected(wanted.error());

  std::string selector = "--weights " + shell_word(file);
  const MxPairSuffixes usual;
  if (request.suffixes.values != usual.values) selector += " --weight-suffix=" + shell_word(request.suffixes.values);
  if (request.suffixes.scales != usual.scales) selector += " --scale-suffix=" + shell_word(request.suffixes.scales);

  WeightCases cases;
  for (const Entry& entry : *wanted) {
    const TensorInfo& tensor = *entry.tensor;
    if (entry.indexed && is_scales_of_pair(*entries, tensor, request.suffixes)) continue;
    std::string scales_name;
    const Entry* const scales = find_scales(*entries, tensor, request.suffixes, scales_name);
    const std::string name = printable(tensor.name, longest_name);
    if (std::string reason = why_no_layer(entry, scales, scales_name, request.suffixes); !reason.empty()) {
      cases.skipped.push_back({name, std::string(to_string(tensor.dtype)), shape_text(tensor), std::move(reason)});
      continue;
    }
    auto source = scales == nullptr ? Expected<WeightSource>(source_of(entry)) : source_of(entry, *scales);
    if (!source) return fail(std::move(source));
    source->tags[weight_tag::file] = file;
    source->tags[weight_tag::tensor] = name;
    DenseShape shape;
    shape.label = name;
    shape.tp = 0;
    shape.n = tensor.shape[0];
    shape.k = tensor.shape[1];
    shape.m = request.m;
    cases.layers.push_back({request.file.filename().string(), selector, shape, *std::move(source)});
  }
  if (!cases.layers.empty()) return cases;
  if (cases.skipped.empty()) {
    return fail(ErrorCode::unsupported,
                "{}: nothing in it but scales of MX-FP8 pairs matches '{}'; select their values", file, request.tensor);
  }
  const SkippedTensor& first = cases.skipped.front();
  return fail(ErrorCode::unsupported, "{}: none of the {} selected tensors is a layer; the first, '{}' {} {}: {}", file,
              cases.skipped.size(), first.name, first.type, first.shape, first.reason);
}

}  // namespace millet
