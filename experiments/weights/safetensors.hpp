// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millet/error/expected.hpp"
#include "millet/layout/mapping.hpp"

namespace millet {

/// Element types of the safetensors format that occupy whole bytes.
enum class Dtype { f64, f32, f16, bf16, f8_e4m3, f8_e5m2, f8_e8m0, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

/// The name of `dtype` as a safetensors header spells it, e.g. "F8_E4M3".
[[nodiscard]] std::string_view to_string(Dtype dtype) noexcept;

/// Bytes of one element.
[[nodiscard]] std::uint64_t size_in_bytes(Dtype dtype) noexcept;

/// `text` from a file, fit for one line of a message or table: printable ASCII, other bytes as \xNN, "..." after
/// `longest` bytes of it.
[[nodiscard]] std::string printable(std::string_view text, std::size_t longest = 80);

/// What a reader tolerates from a file that it does not trust.
struct SafetensorsLimits {
  /// Longest header, and longest index file, in bytes. The default is that of the format's own library; raise it for
  /// checkpoints with several hundred thousand tensors.
  std::uint64_t max_header_bytes = 100'000'000;
  /// Most dimensions of one tensor: a header of `[1,1,1,...]` costs four times its length in memory without a limit.
  std::size_t max_rank = 32;
};

/// One tensor as the header describes it. `shape` is in elements, outermost first; a scalar has an empty shape.
/// [begin, end) are bytes from the start of the file's data section, not of the file.
struct TensorInfo {
  std::string name;
  Dtype dtype;
  std::vector<Index> shape;
  std::uint64_t begin, end;
};

/// A read-only mapping of a regular file, unmapped at destruction.
class MappedFile {
 public:
  MappedFile() = default;

  /// Errors: io_error when `path` cannot be opened or mapped, or is no regular file (a FIFO or device would block).
  [[nodiscard]] static Expected<MappedFile> open(const std::filesystem::path& path);

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    if (bytes_ == nullptr) return {};  // a moved-from unique_ptr keeps its deleter, and so the size
    return {bytes_.get(), bytes_.get_deleter().size};
  }

 private:
  struct Unmap {
    std::size_t size;
    void operator()(const std::byte* address) const noexcept;
  };
  std::unique_ptr<const std::byte, Unmap> bytes_{nullptr, Unmap{0}};
};

/// A validated view of one safetensors file: when open() or parse() succeeds, every tensor lies inside the file, has as
/// many bytes as its shape and dtype say, and the tensors tile the data section without overlap or gap.
///
/// The file is mapped, not read, and nothing in it is used as a path. Reading a tensor of a file that another process
/// truncates meanwhile raises SIGBUS, as with every mapping. Nothing here throws, std::bad_alloc aside; memory use is
/// bounded by a small multiple of the header, whose length is checked against the file and the limit first.
///
/// Source: https://github.com/huggingface/safetensors, README, section "Format".
class SafetensorsFile {
 public:
  /// Maps `path`, which must be a regular file, and validates its header.
  /// Errors: io_error when it cannot be opened or mapped; parse_error, naming the check, when it is malformed.
  [[nodiscard]] static Expected<SafetensorsFile> open(const std::filesystem::path& path, SafetensorsLimits limits = {});

  /// The same for a file image in memory, which must outlive the result. `origin` begins each message.
  [[nodiscard]] static Expected<SafetensorsFile> parse(std::span<const std::byte> image, std::string_view origin,
                                                       SafetensorsLimits limits = {});

  /// The path or origin that messages begin with.
  [[nodiscard]] const std::string& origin() const noexcept { return origin_; }

  /// Every tensor, sorted by name.
  [[nodiscard]] std::span<const TensorInfo> tensors() const noexcept { return tensors_; }

  /// The tensor called `name`; never null, and valid as long as this object or the one that it is moved to.
  /// Errors: unknown_name.
  [[nodiscard]] Expected<const TensorInfo*> find(std::string_view name) const;

  /// The bytes of `tensor`, which must be one of tensors(). They may be misaligned for their type, because writers need
  /// not pad the header: copy them out.
  [[nodiscard]] std::span<const std::byte> bytes(const TensorInfo& tensor) const noexcept;

  /// The elements of an F32, F16 or BF16 tensor, in row-major order. Each conversion is exact: subnormals, infinities
  /// and NaN payloads survive.
  /// Errors: unsupported for another dtype; invalid_argument for a tensor that is not of this file.
  [[nodiscard]] Expected<std::vector<float>> read_as_float(const TensorInfo& tensor) const;

 private:
  SafetensorsFile(std::string origin, std::span<const std::byte> data, std::vector<TensorInfo> tensors)
      : origin_(std::move(origin)), data_(data), tensors_(std::move(tensors)) {}

  std::string origin_;
  MappedFile mapping_;               // empty after parse()
  std::span<const std::byte> data_;  // the data section
  std::vector<TensorInfo> tensors_;  // sorted by name
};

/// How a checkpoint names the two tensors of one MX-FP8 matrix "W": "W" + values and "W" + scales.
struct MxPairSuffixes {
  std::string values = ".weight";
  std::string scales = ".weight_scale";
};

/// One MX-FP8 matrix of n x k: values [n, k] in F8_E4M3 and scales [n, k/32] in U8 or F8_E8M0, both row-major.
struct MxPair {
  std::string name;  ///< without a suffix
  Index n, k;
  TensorInfo values, scales;
};

/// Pairs two tensors whose names and dtypes say that they belong together. `origin` begins each message.
/// Errors: invalid_layout when `values` has the wrong rank, an extent below 1 or k no multiple of 32, or when `scales`
/// is
///         not [n, k/32].
[[nodiscard]] Expected<MxPair> make_mx_pair(std::string_view origin, std::string name, const TensorInfo& values,
                                            const TensorInfo& scales);

/// Every MX-FP8 matrix of `file`, sorted by name. A pair is recognized by names and dtypes: an F8_E4M3 tensor without a
/// byte-sized scale tensor (none, or the F32 scale of a per-tensor scheme) is another format and is left out.
/// Errors: those of make_mx_pair.
[[nodiscard]] Expected<std::vector<MxPair>> find_mx_pairs(const SafetensorsFile& file,
                                                          const MxPairSuffixes& suffixes = {});

/// Where a sharded checkpoint keeps one tensor: `file` is a plain file name in the folder of the index.
struct ShardedTensor {
  std::string name;
  std::string file;
};

/// Reads a `model.safetensors.index.json`; the result is sorted by tensor name.
///
/// A shard must be a plain file name: absolute paths, `..`, folders and control characters are refused, so that joining
/// it to the folder of the index cannot leave that folder by name.
/// Errors: io_error when it cannot be opened; parse_error, naming the check, when it is malformed.
[[nodiscard]] Expected<std::vector<ShardedTensor>> read_safetensors_index(const std::filesystem::path& path,
                                                                          SafetensorsLimits limits = {});

/// The same for the text of an index. `origin` begins each message.
[[nodiscard]] Expected<std::vector<ShardedTensor>> parse_safetensors_index(std::string_view text,
                                                                           std::string_view origin,
                                                                           SafetensorsLimits limits = {});

}  // namespace millet
