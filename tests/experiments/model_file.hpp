// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <bit>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "millet/error/expected.hpp"
#include "millet/layout/mapping.hpp"

namespace millet {

/// A tensor to be written to a file; `bytes` must be as many as shape and dtype say.
struct ModelTensor {
  std::string name;
  std::string dtype;
  std::vector<Index> shape;
  std::string bytes;
};

/// The bytes of little-endian elements.
template <class T>
std::string bytes_of(std::span<const T> elements) {
  return {reinterpret_cast<const char*>(elements.data()), elements.size_bytes()};
}

inline ModelTensor f32_tensor(std::string name, std::vector<Index> shape, const std::vector<float>& values) {
  return {std::move(name), "F32", std::move(shape), bytes_of(std::span(values))};
}

/// f32 values that are exact in bf16 and f16 too: multiples of 1/8 below 16 in magnitude, no two rows alike.
inline std::vector<float> eighths(Index count, int seed = 1) {
  std::vector<float> values;
  auto state = static_cast<std::uint32_t>(seed);
  for (Index i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    values.push_back(static_cast<float>(static_cast<int>(state >> 24) - 128) * 0.125F);
  }
  return values;
}

/// The image of a safetensors file with `tensors` in this order.
inline std::string model_image(const std::vector<ModelTensor>& tensors) {
  std::string header = "{";
  std::string data;
  for (const ModelTensor& tensor : tensors) {
    header += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                          header.size() == 1 ? "" : ",", tensor.name, tensor.dtype, fmt::join(tensor.shape, ","),
                          data.size(), data.size() + tensor.bytes.size());
    data += tensor.bytes;
  }
  header += '}';
  std::string image;
  for (int byte = 0; byte < 8; ++byte) image += static_cast<char>(header.size() >> (8 * byte));
  return image + header + data;
}

/// A folder of its own, removed at the end.
class ModelFolder {
 public:
  ModelFolder() {
    std::string name = testing::TempDir() + "millet_model_XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "cannot create " << name;
    path_ = name;
  }
  ModelFolder(const ModelFolder&) = delete;
  ModelFolder& operator=(const ModelFolder&) = delete;
  ~ModelFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }
  std::filesystem::path write(const std::string& name, const std::vector<ModelTensor>& tensors) const {
    return write(name, model_image(tensors));
  }

 private:
  std::filesystem::path path_;
};

}  // namespace millet
