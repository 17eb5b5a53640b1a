// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "millet/layout/mapping.hpp"

namespace millet {

/// Memory of a backend's device, freed with the handle. The pointer means nothing to the host unless the backend says
/// so.
class DeviceBuffer {
 public:
  using Release = void (*)(void* data) noexcept;

  DeviceBuffer() = default;
  DeviceBuffer(void* data, Index bytes, Release release) noexcept : data_(data), bytes_(bytes), release_(release) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        release_(std::exchange(other.release_, nullptr)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(release_, other.release_);
    return *this;
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer() {
    if (release_ != nullptr) release_(data_);
  }

  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] Index bytes() const noexcept { return bytes_; }

 private:
  void* data_ = nullptr;
  Index bytes_ = 0;
  Release release_ = nullptr;
};

}  // namespace millet
