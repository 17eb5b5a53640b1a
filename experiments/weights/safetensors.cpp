// SPDX-License-Identifier: Apache-2.0
#include "weights/safetensors.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <system_error>

#include "millet/layout/scale_block.hpp"
#include "millet/numeric/bf16.hpp"

namespace millet {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian and is copied as it is");

struct DtypeEntry {
  Dtype dtype;
  std::string_view name;
  std::uint64_t size;
};

// In the order of the enumeration, so that it is also the index.
constexpr std::array dtype_table = {
    DtypeEntry{Dtype::f64, "F64", 8},         DtypeEntry{Dtype::f32, "F32", 4},
    DtypeEntry{Dtype::f16, "F16", 2},         DtypeEntry{Dtype::bf16, "BF16", 2},
    DtypeEntry{Dtype::f8_e4m3, "F8_E4M3", 1}, DtypeEntry{Dtype::f8_e5m2, "F8_E5M2", 1},
    DtypeEntry{Dtype::f8_e8m0, "F8_E8M0", 1}, DtypeEntry{Dtype::i64, "I64", 8},
    DtypeEntry{Dtype::i32, "I32", 4},         DtypeEntry{Dtype::i16, "I16", 2},
    DtypeEntry{Dtype::i8, "I8", 1},           DtypeEntry{Dtype::u64, "U64", 8},
    DtypeEntry{Dtype::u32, "U32", 4},         DtypeEntry{Dtype::u16, "U16", 2},
    DtypeEntry{Dtype::u8, "U8", 1},           DtypeEntry{Dtype::boolean, "BOOL", 1},
};
static_assert([] {
  for (std::size_t i = 0; i < dtype_table.size(); ++i) {
    if (dtype_table[i].dtype != static_cast<Dtype>(i)) return false;
  }
  return true;
}());

std::optional<Dtype> dtype_from_name(std::string_view name) {
  const auto found = std::ranges::find(dtype_table, name, &DtypeEntry::name);
  if (found == dtype_table.end()) return std::nullopt;
  return found->dtype;
}

std::string known_dtypes() {
  std::string names;
  for (const DtypeEntry& entry : dtype_table) {
    if (!names.empty()) names += ' ';
    names += entry.name;
  }
  return names;
}

std::string shape_text(std::span<const Index> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

/// Reads one JSON document and makes the checks that a JSON parser leaves to its user: nesting depth, duplicate keys,
/// and NUL bytes, at which nlohmann's lexer would stop as if the text ended there.
///
/// A subclass follows the document's schema. Its functions return false through refuse(), which ends the parse. Nothing
/// of a document is stored that the subclass does not store, except the keys of the objects that are open.
class StrictJsonReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  Expected<void> read(std::string_view text) {
    if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
      return fail(ErrorCode::parse_error, "{}: NUL byte at byte {} of the JSON text; pad it with spaces instead",
                  origin_, nul);
    }
    nlohmann::json_sax<nlohmann::json>* const events = this;
    if (!nlohmann::json::sax_parse(text.begin(), text.end(), events)) {
      return tl::unexpected<Error>(Error{ErrorCode::parse_error, std::move(message_)});
    }
    return {};
  }

 protected:
  StrictJsonReader(std::string_view origin, std::size_t max_depth) : origin_(origin), max_depth_(max_depth) {}

  /// Where in the document the parse is, for messages.
  virtual std::string place() const = 0;
  virtual bool on_key(std::string& name) = 0;
  virtual bool on_text(std::string& value) = 0;
  virtual bool on_count(std::uint64_t value) = 0;
  /// A value that is neither text nor a count; `found` describes it.
  virtual bool on_other(std::string_view found) = 0;
  virtual bool on_object_begin() = 0;
  virtual bool on_object_end() = 0;
  virtual bool on_array_begin() = 0;
  virtual bool on_array_end() = 0;

  template <class... Args>
  bool refuse(fmt::format_string<Args...> text, Args&&... args) {
    message_ = fmt::format("{}: {}: {}", origin_, place(), fmt::format(text, std::forward<Args>(args)...));
    return false;
  }

 private:
  bool null() final { return on_other("null"); }
  bool boolean(bool value) final { return on_other(value ? "true" : "false"); }
  // Called only for a token that starts with a minus sign.
  bool number_integer(std::int64_t value) final {
    return on_other(fmt::format("-{}", std::uint64_t{0} - static_cast<std::uint64_t>(value)));
  }
  bool number_unsigned(std::uint64_t value) final { return on_count(value); }
  // A fraction, an exponent, or an integer of more than 64 bits.
  bool number_float(double, const std::string& token) final { return on_other(printable(token)); }
  bool string(std::string& value) final { return on_text(value); }
  bool binary(nlohmann::json::binary_t&) final { return on_other("binary"); }  // JSON text has none

  bool start_object(std::size_t) final {
    if (!may_nest()) return false;
    open_.emplace_back();
    return on_object_begin();
  }
  bool key(std::string& name) final {
    if (!open_.back().insert(name).second) return refuse("key '{}' appears twice; keep one of them", printable(name));
    return on_key(name);
  }
  bool end_object() final {
    open_.pop_back();
    return on_object_end();
  }
  bool start_array(std::size_t) final {
    if (!may_nest()) return false;
    open_.emplace_back();
    return on_array_begin();
  }
  bool end_array() final {
    open_.pop_back();
    return on_array_end();
  }
  bool parse_error(std::size_t position, const std::string& token, const nlohmann::json::exception&) final {
    return refuse("not valid JSON at byte {} (near '{}'); the file is damaged, fetch or write it again", position,
                  printable(token));
  }

  bool may_nest() {
    if (open_.size() < max_depth_) return true;
    return refuse("nested deeper than {} levels, which no writer of the format does", max_depth_);
  }

  std::string_view origin_;
  std::size_t max_depth_;
  std::vector<std::set<std::string>> open_;  // keys seen in each open object; ordered, so that no input makes it slow
  std::string message_;
};

/// The numbers of a data_offsets array as far as it is read; it is complete with two.
struct Offsets {
  std::array<std::uint64_t, 2> at{};
  std::size_t count = 0;
};

/// Reads the header of a safetensors file: {"__metadata__": {text: text}, name: {dtype, shape, data_offsets}, ...}.
class HeaderReader final : public StrictJsonReader {
 public:
  HeaderReader(std::string_view origin, std::uint64_t data_size, const SafetensorsLimits& limits)
      : StrictJsonReader(origin, /*max_depth=*/3), data_size_(data_size), max_rank_(limits.max_rank) {}

  std::vector<TensorInfo> take_tensors() { return std::move(tensors_); }

 private:
  enum class Level { document, root, metadata, tensor, shape, offsets };
  enum class Field { none, dtype, shape, offsets };

  std::string place() const override {
    if (level_ == Level::document || level_ == Level::root) return "header";
    if (level_ == Level::metadata) return "__metadata__";
    return fmt::format("tensor '{}'", printable(name_));
  }

  bool on_key(std::string& name) override {
    switch (level_) {
      case Level::root:
        name_ = std::move(name);
        return true;
      case Level::metadata:
        return true;
      default:
        break;
    }
    if (name == "dtype") {
      field_ = Field::dtype;
    } else if (name == "shape") {
      field_ = Field::shape;
    } else if (name == "data_offsets") {
      field_ = Field::offsets;
    } else {
      return refuse("unknown key '{}'; only dtype, shape and data_offsets are defined", printable(name));
    }
    return true;
  }

  bool on_text(std::string& value) override {
    if (level_ == Level::metadata) return true;
    if (level_ != Level::tensor || field_ != Field::dtype) return on_other("a string");
    dtype_ = dtype_from_name(value);
    if (!dtype_) return refuse("unknown dtype '{}'; known are {}", printable(value), known_dtypes());
    return true;
  }

  bool on_count(std::uint64_t value) override {
    if (level_ == Level::shape) {
      if (value > static_cast<std::uint64_t>(std::numeric_limits<Index>::max())) {
        return refuse("dimension {} does not fit a signed 64-bit index", value);
      }
      if (shape_->size() == max_rank_) {
        return refuse("more than {} dimensions; raise SafetensorsLimits::max_rank if that is meant", max_rank_);
      }
      shape_->push_back(static_cast<Index>(value));
      return true;
    }
    if (level_ == Level::offsets) {
      if (offsets_->count == 2) return refuse("data_offsets must be [begin, end], found a third number {}", value);
      offsets_->at[offsets_->count++] = value;
      return true;
    }
    return on_other(fmt::format("{}", value));
  }

  bool on_other(std::string_view found) override {
    switch (level_) {
      case Level::document:  // not reached: parse() has seen the opening brace
      case Level::root:
        return refuse("entry '{}' must be an object, found {}", printable(name_), found);
      case Level::metadata:
        return refuse("values must be strings, found {}", found);
      case Level::shape:
        return refuse("shape must hold non-negative integers, found {}", found);
      case Level::offsets:
        return refuse("data_offsets must hold non-negative integers, found {}", found);
      case Level::tensor:
        break;
    }
    if (field_ == Field::dtype) return refuse("dtype must be a string, found {}", found);
    return refuse("{} must be an array, found {}", field_ == Field::shape ? "shape" : "data_offsets", found);
  }

  bool on_object_begin() override {
    if (level_ == Level::document) {
      level_ = Level::root;
    } else if (level_ == Level::root) {
      level_ = name_ == "__metadata__" ? Level::metadata : Level::tensor;
    } else {
      return on_other("an object");
    }
    return true;
  }

  bool on_object_end() override {
    if (level_ == Level::tensor && !finish_tensor()) return false;
    level_ = level_ == Level::root ? Level::document : Level::root;
    return true;
  }

  bool on_array_begin() override {
    if (level_ != Level::tensor || (field_ != Field::shape && field_ != Field::offsets)) return on_other("an array");
    if (field_ == Field::shape) {
      level_ = Level::shape;
      shape_.emplace();
    } else {
      level_ = Level::offsets;
      offsets_.emplace();
    }
    return true;
  }

  bool on_array_end() override {
    level_ = Level::tensor;
    return true;
  }

  bool finish_tensor() {
    if (!dtype_) return refuse("dtype is missing");
    if (!shape_) return refuse("shape is missing");
    if (!offsets_) return refuse("data_offsets is missing");
    if (offsets_->count != 2) {
      return refuse("data_offsets must be [begin, end], found {} numbers", offsets_->count);
    }
    const auto [begin, end] = offsets_->at;
    if (begin > end) return refuse("data_offsets [{}, {}] end before they begin", begin, end);
    if (end > data_size_) {
      return refuse("data_offsets [{}, {}] pass the end of the data ({} bytes); the file is truncated", begin, end,
                    data_size_);
    }
    const std::optional<std::uint64_t> size = tensor_size();
    if (!size) {
      return refuse("shape {} of {} has more bytes than a signed 64-bit index counts", shape_text(*shape_),
                    to_string(*dtype_));
    }
    if (end - begin != *size) {
      return refuse("shape {} of {} needs {} bytes, data_offsets [{}, {}] hold {}; re-export the file",
                    shape_text(*shape_), to_string(*dtype_), *size, begin, end, end - begin);
    }
    tensors_.push_back({std::move(name_), *dtype_, std::move(*shape_), begin, end});
    dtype_.reset();
    shape_.reset();
    offsets_.reset();
    return true;
  }

  /// Bytes of the current tensor. The product over the non-zero dimensions must fit, also where another dimension is
  /// zero, so that strides computed from a shape that was accepted never overflow.
  std::optional<std::uint64_t> tensor_size() const {
    auto size = static_cast<Index>(size_in_bytes(*dtype_));
    bool empty = false;
    for (const Index extent : *shape_) {
      if (extent == 0) {
        empty = true;
      } else if (__builtin_mul_overflow(size, extent, &size)) {
        return std::nullopt;
      }
    }
    return empty ? 0 : static_cast<std::uint64_t>(size);
  }

  std::uint64_t data_size_;
  std::size_t max_rank_;
  Level level_ = Level::document;
  Field field_ = Field::none;
  std::string name_;  // of the entry of the header that the parse is in
  std::optional<Dtype> dtype_;
  std::optional<std::vector<Index>> shape_;
  std::optional<Offsets> offsets_;
  std::vector<TensorInfo> tensors_;
};

/// Checks that the tensors cover [0, data_size) once: bytes that no tensor owns could hide anything, and bytes that two
/// tensors own make one change when the other is written.
Expected<void> check_tiling(std::string_view origin, std::span<const TensorInfo> tensors, std::uint64_t data_size) {
  std::vector<const TensorInfo*> by_offset;
  by_offset.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) by_offset.push_back(&tensor);
  std::ranges::sort(by_offset, [](const TensorInfo* left, const TensorInfo* right) {
    return std::pair(left->begin, left->end) < std::pair(right->begin, right->end);
  });
  std::uint64_t covered = 0;
  for (const TensorInfo* tensor : by_offset) {
    if (tensor->begin < covered) {
      return fail(ErrorCode::parse_error,
                  "{}: tensor '{}': data_offsets [{}, {}] overlap the tensor that ends at {}; re-export the file",
                  origin, printable(tensor->name), tensor->begin, tensor->end, covered);
    }
    if (tensor->begin > covered) {
      return fail(ErrorCode::parse_error,
                  "{}: tensor '{}': no tensor owns the {} bytes of data before its begin at {}; re-export the "
                  "file",
                  origin, printable(tensor->name), tensor->begin - covered, tensor->begin);
    }
    covered = tensor->end;
  }
  if (covered != data_size) {
    return fail(ErrorCode::parse_error,
                "{}: {} bytes of trailing garbage after the last tensor, which ends at {} of {}; "
                "re-export the file",
                origin, data_size - covered, covered, data_size);
  }
  return {};
}

/// Reads {"metadata": {anything}, "weight_map": {tensor: file}}.
class IndexReader final : public StrictJsonReader {
 public:
  explicit IndexReader(std::string_view origin) : StrictJsonReader(origin, /*max_depth=*/8) {}

  bool has_weight_map() const { return has_weight_map_; }
  std::vector<ShardedTensor> take_tensors() { return std::move(tensors_); }

 private:
  std::string place() const override { return depth_ == 2 && in_weight_map_ ? "weight_map" : "index"; }

  bool on_key(std::string& name) override {
    if (depth_ == 1) {
      in_weight_map_ = name == "weight_map";
      if (!in_weight_map_ && name != "metadata") {
        return refuse("unknown key '{}'; only metadata and weight_map are defined", printable(name));
      }
    } else if (in_weight_map_) {
      name_ = std::move(name);
    }
    return true;
  }

  bool on_text(std::string& value) override {
    if (depth_ != 2 || !in_weight_map_) return on_other("a string");
    if (!is_plain_file_name(value)) {
      return refuse("tensor '{}': shard '{}' must be a plain file name beside the index, without folders or '..'",
                    printable(name_), printable(value));
    }
    tensors_.push_back({std::move(name_), std::move(value)});
    return true;
  }

  bool on_count(std::uint64_t value) override { return on_other(fmt::format("{}", value)); }

  bool on_other(std::string_view found) override {
    if (depth_ == 0) return refuse("must be a JSON object, found {}", found);
    if (!in_weight_map_) return true;
    if (depth_ == 1) return refuse("weight_map must be an object, found {}", found);
    return refuse("tensor '{}': shard must be a string, found {}", printable(name_), found);
  }

  bool on_object_begin() override {
    if (depth_ == 2 && in_weight_map_) return on_other("an object");
    has_weight_map_ = has_weight_map_ || in_weight_map_;
    ++depth_;
    return true;
  }
  bool on_object_end() override {
    --depth_;
    return true;
  }
  bool on_array_begin() override {
    if (depth_ == 0 || in_weight_map_) return on_other("an array");
    ++depth_;
    return true;
  }
  bool on_array_end() override { return on_object_end(); }

  static bool is_plain_file_name(std::string_view name) {
    if (name.empty() || name == "." || name == "..") return false;
    return std::ranges::none_of(name, [](char c) {
      const auto byte = static_cast<unsigned char>(c);
      return c == '/' || c == '\\' || byte < 0x20 || byte == 0x7F;
    });
  }

  int depth_ = 0;
  bool in_weight_map_ = false;
  bool has_weight_map_ = false;
  std::string name_;
  std::vector<ShardedTensor> tensors_;
};

std::uint64_t read_little_endian_64(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// The exact value of an IEEE binary16.
float value_of_f16(std::uint16_t bits) {
  const auto sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const auto magnitude = static_cast<std::uint32_t>(bits & 0x7FFFU);
  if (magnitude >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | (magnitude & 0x3FFU) << 13);
  if (magnitude >= 0x0400U) return std::bit_cast<float>(sign | ((magnitude << 13) + (std::uint32_t{127 - 15} << 23)));
  const float subnormal = static_cast<float>(magnitude) * 0x1p-24F;  // a normal f32, so flush-to-zero cannot touch it
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(subnormal));
}

/// Element `i` of an array of T that may be misaligned.
template <class T>
T load(std::span<const std::byte> bytes, std::size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

std::string_view to_string(Dtype dtype) noexcept { return dtype_table[static_cast<std::size_t>(dtype)].name; }

std::uint64_t size_in_bytes(Dtype dtype) noexcept { return dtype_table[static_cast<std::size_t>(dtype)].size; }

std::string printable(std::string_view text, std::size_t longest) {
  std::string result;
  for (const char c : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      result += c;
    } else {
      result += fmt::format("\\x{:02x}", byte);
    }
  }
  if (text.size() > longest) result += "...";
  return result;
}

void MappedFile::Unmap::operator()(const std::byte* address) const noexcept {
  ::munmap(const_cast<std::byte*>(address), size);
}

Expected<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const auto refuse = [&](std::string_view what) {
    return fail(ErrorCode::io_error, "{}: {}: {}", path.string(), what, std::generic_category().message(errno));
  };
  struct Descriptor {
    int number;
    ~Descriptor() {
      if (number >= 0) ::close(number);
    }
  };
  // O_NONBLOCK: opening a FIFO would wait for its writer; on a regular file it means nothing.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0) return refuse("cannot open");
  struct stat status {};
  if (::fstat(file.number, &status) != 0) return refuse("cannot stat");
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorCode::io_error, "{}: not a regular file; copy its content to one", path.string());
  }
  MappedFile mapped;
  if (status.st_size == 0) return mapped;  // mmap refuses a length of zero
  const auto size = static_cast<std::size_t>(status.st_size);
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (address == MAP_FAILED) return refuse("cannot map");
  mapped.bytes_ = {static_cast<const std::byte*>(address), Unmap{size}};
  return mapped;
}

Expected<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path, SafetensorsLimits limits) {
  Expected<MappedFile> mapped = MappedFile::open(path);
  if (!mapped) return fail(std::move(mapped));
  Expected<SafetensorsFile> file = parse(mapped->bytes(), path.string(), limits);
  if (file) file->mapping_ = std::move(*mapped);
  return file;
}

Expected<SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> image, std::string_view origin,
                                                 SafetensorsLimits limits) {
  constexpr std::size_t prefix_size = 8;
  if (image.size() < prefix_size) {
    return fail(ErrorCode::parse_error, "{}: {} bytes are too few for the 8-byte header length; the file is truncated",
                origin, image.size());
  }
  const std::uint64_t header_size = read_little_endian_64(image);
  // Subtract from what is known to be there: 8 + header_size may wrap.
  if (header_size > image.size() - prefix_size) {
    return fail(ErrorCode::parse_error,
                "{}: header length {} exceeds the file ({} bytes); the file is truncated or not safetensors", origin,
                header_size, image.size());
  }
  if (header_size < 2) {
    return fail(ErrorCode::parse_error,
                "{}: header length {} is too short for a JSON object; the file is not safetensors", origin,
                header_size);
  }
  if (header_size > limits.max_header_bytes) {
    return fail(
        ErrorCode::parse_error,
        "{}: header length {} exceeds the limit of {}; raise SafetensorsLimits::max_header_bytes if the file is "
        "trusted",
        origin, header_size, limits.max_header_bytes);
  }
  const std::string_view header(reinterpret_cast<const char*>(image.data()) + prefix_size, header_size);
  if (header.front() != '{') {
    return fail(ErrorCode::parse_error, "{}: header begins with '{}' instead of '{{'; the file is not safetensors",
                origin, printable(header.substr(0, 1)));
  }
  const std::span<const std::byte> data = image.subspan(prefix_size + header_size);
  HeaderReader reader(origin, data.size(), limits);
  if (Expected<void> read = reader.read(header); !read) return fail(std::move(read));
  std::vector<TensorInfo> tensors = reader.take_tensors();
  if (Expected<void> tiled = check_tiling(origin, tensors, data.size()); !tiled) return fail(std::move(tiled));
  std::ranges::sort(tensors, {}, &TensorInfo::name);
  return SafetensorsFile(std::string(origin), data, std::move(tensors));
}

Expected<const TensorInfo*> SafetensorsFile::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(tensors_, name, {}, &TensorInfo::name);
  if (found != tensors_.end() && found->name == name) return &*found;
  if (tensors_.empty()) {
    return fail(ErrorCode::unknown_name, "{}: no tensor '{}'; the file has no tensors", origin_, printable(name));
  }
  return fail(ErrorCode::unknown_name, "{}: no tensor '{}'; the file has {}, from '{}' to '{}'", origin_,
              printable(name), tensors_.size(), printable(tensors_.front().name), printable(tensors_.back().name));
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorInfo& tensor) const noexcept {
  return data_.subspan(tensor.begin, tensor.end - tensor.begin);
}

Expected<std::vector<float>> SafetensorsFile::read_as_float(const TensorInfo& tensor) const {
  if (tensor.dtype != Dtype::f32 && tensor.dtype != Dtype::f16 && tensor.dtype != Dtype::bf16) {
    return fail(ErrorCode::unsupported, "{}: tensor '{}' is {}; only F32, F16 and BF16 are read as float", origin_,
                printable(tensor.name), to_string(tensor.dtype));
  }
  const std::uint64_t element = size_in_bytes(tensor.dtype);
  if (tensor.begin > tensor.end || tensor.end > data_.size() || (tensor.end - tensor.begin) % element != 0) {
    return fail(ErrorCode::invalid_argument,
                "{}: tensor '{}' with bytes [{}, {}] is not of this file; take it from find()", origin_,
                printable(tensor.name), tensor.begin, tensor.end);
  }
  const std::span<const std::byte> source = bytes(tensor);
  std::vector<float> values(source.size() / element);
  if (tensor.dtype == Dtype::f32) {
    // An empty vector may have no address, and memcpy wants one even for no bytes.
    if (!values.empty()) std::memcpy(values.data(), source.data(), source.size());
  } else if (tensor.dtype == Dtype::f16) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = value_of_f16(load<std::uint16_t>(source, i));
  } else {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = BF16{load<std::uint16_t>(source, i)}.value();
  }
  return values;
}

Expected<MxPair> make_mx_pair(std::string_view origin, std::string name, const TensorInfo& values,
                              const TensorInfo& scales) {
  if (values.shape.size() != 2 || values.shape[0] < 1 || values.shape[1] < 1) {
    return fail(ErrorCode::invalid_layout,
                "{}: MX-FP8 tensor '{}' must be a matrix [n, k] with extents of at least 1, got {}; store stacked "
                "matrices as one tensor each",
                origin, printable(values.name), shape_text(values.shape));
  }
  const Index n = values.shape[0];
  const Index k = values.shape[1];
  if (k % MxBlock::k != 0) {
    return fail(ErrorCode::invalid_layout,
                "{}: MX-FP8 tensor '{}' {}: k must be a multiple of the {}-element scale block, got k={}; zero-pad it "
                "to k={}",
                origin, printable(values.name), shape_text(values.shape), MxBlock::k, k,
                round_up_to_tile(k, MxBlock::k));
  }
  const std::array wanted = {n, MxBlock::count(k)};
  if (!std::ranges::equal(scales.shape, wanted)) {
    return fail(ErrorCode::invalid_layout,
                "{}: scales '{}' must be {} for values '{}' {}, got {}; store one scale per row and {} consecutive k, "
                "row-major",
                origin, printable(scales.name), shape_text(wanted), printable(values.name), shape_text(values.shape),
                shape_text(scales.shape), MxBlock::k);
  }
  return MxPair{std::move(name), n, k, values, scales};
}

Expected<std::vector<MxPair>> find_mx_pairs(const SafetensorsFile& file, const MxPairSuffixes& suffixes) {
  std::vector<MxPair> pairs;
  for (const TensorInfo& values : file.tensors()) {
    if (values.dtype != Dtype::f8_e4m3 || !std::string_view(values.name).ends_with(suffixes.values)) continue;
    const std::string name = values.name.substr(0, values.name.size() - suffixes.values.size());
    const Expected<const TensorInfo*> found = file.find(name + suffixes.scales);
    if (!found || ((*found)->dtype != Dtype::u8 && (*found)->dtype != Dtype::f8_e8m0)) continue;
    Expected<MxPair> pair = make_mx_pair(file.origin(), name, values, **found);
    if (!pair) return fail(std::move(pair));
    pairs.push_back(*std::move(pair));
  }
  std::ranges::sort(pairs, {}, &MxPair::name);
  return pairs;
}

Expected<std::vector<ShardedTensor>> read_safetensors_index(const std::filesystem::path& path,
                                                            SafetensorsLimits limits) {
  Expected<MappedFile> mapped = MappedFile::open(path);
  if (!mapped) return fail(std::move(mapped));
  const std::span<const std::byte> bytes = mapped->bytes();
  return parse_safetensors_index({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string(), limits);
}

Expected<std::vector<ShardedTensor>> parse_safetensors_index(std::string_view text, std::string_view origin,
                                                             SafetensorsLimits limits) {
  if (text.size() > limits.max_header_bytes) {
    return fail(ErrorCode::parse_error,
                "{}: {} bytes exceed the limit of {}; raise SafetensorsLimits::max_header_bytes if the file is trusted",
                origin, text.size(), limits.max_header_bytes);
  }
  IndexReader reader(origin);
  if (Expected<void> read = reader.read(text); !read) return fail(std::move(read));
  if (!reader.has_weight_map()) {
    return fail(ErrorCode::parse_error, "{}: weight_map is missing; the file is no safetensors index", origin);
  }
  std::vector<ShardedTensor> tensors = reader.take_tensors();
  std::ranges::sort(tensors, {}, &ShardedTensor::name);
  return tensors;
}

}  // namespace millet
