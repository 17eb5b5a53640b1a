// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/safetensors.hpp"

namespace {

using namespace millet;

/// Ends the process as a crash would, in release builds too, so that libFuzzer keeps the input.
void require(bool holds) {
  if (!holds) __builtin_trap();
}

/// A refusal must be a parse error of one printable line.
void require_clean_message(const Error& error) {
  require(error.code == ErrorCode::parse_error && error.message.starts_with("input: "));
  for (const char c : error.message) require(c >= ' ' && c < 0x7F);
}

void fuzz_file(std::span<const std::byte> image) {
  const Expected<SafetensorsFile> file = SafetensorsFile::parse(image, "input");
  if (!file) return require_clean_message(file.error());

  std::size_t covered = 0;
  unsigned sum = 0;  // reads every byte, for the address sanitizer
  for (const TensorInfo& tensor : file->tensors()) {
    const Expected<const TensorInfo*> found = file->find(tensor.name);
    require(found && *found == &tensor);
    const std::span<const std::byte> bytes = file->bytes(tensor);
    for (const std::byte byte : bytes) sum += std::to_integer<unsigned>(byte);
    covered += bytes.size();

    // Code that computes strides from an accepted shape relies on the product without the zeros.
    auto size = static_cast<Index>(size_in_bytes(tensor.dtype));
    bool empty = false;
    for (const Index extent : tensor.shape) {
      require(extent >= 0);
      empty = empty || extent == 0;
      require(extent == 0 || !__builtin_mul_overflow(size, extent, &size));
    }
    require(bytes.size() == (empty ? 0 : static_cast<std::size_t>(size)));

    const Expected<std::vector<float>> values = file->read_as_float(tensor);
    if (values) {
      require(values->size() * size_in_bytes(tensor.dtype) == bytes.size());
    } else {
      require(values.error().code == ErrorCode::unsupported);
    }
  }
  [[maybe_unused]] volatile unsigned keep = sum;
  // What no tensor covers is the length, the header and nothing else.
  std::uint64_t header_size = 0;
  for (int byte = 7; byte >= 0; --byte) {
    header_size = header_size << 8 | std::to_integer<std::uint64_t>(image[static_cast<std::size_t>(byte)]);
  }
  require(8 + header_size + covered == image.size());

  const Expected<std::vector<MxPair>> pairs = find_mx_pairs(*file);
  if (!pairs) return require(pairs.error().code == ErrorCode::invalid_layout);
  for (const MxPair& pair : *pairs) {
    require(pair.n >= 1 && pair.k >= 32);
    require(file->bytes(pair.values).size() == 32 * file->bytes(pair.scales).size());
  }
}

void fuzz_index(std::string_view text) {
  const Expected<std::vector<ShardedTensor>> tensors = parse_safetensors_index(text, "input");
  if (!tensors) return require_clean_message(tensors.error());
  for (const ShardedTensor& tensor : *tensors) {
    require(!tensor.file.empty() && tensor.file != "." && tensor.file != "..");
    require(tensor.file.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos);
  }
}

/// A mutation that changes the header's length almost never corrects the prefix too, so that a plain file image hardly
/// gets past it. This builds an image with a correct prefix: the header is `input` up to the last closing brace.
void fuzz_header(std::string_view input) {
  const std::size_t header_size = input.rfind('}') + 1;  // 0 without a brace
  std::string image;
  for (int byte = 0; byte < 8; ++byte) image += static_cast<char>(header_size >> (8 * byte));
  image += input;
  fuzz_file(std::as_bytes(std::span(image)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  fuzz_file(std::as_bytes(std::span(data, size)));
  fuzz_header(text);
  fuzz_index(text);
  return 0;
}
