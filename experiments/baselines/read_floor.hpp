// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace millet {

/// Bytes are read in whole runs of this length; what is left over is not read.
inline constexpr std::int64_t read_granule = 16384;

/// Bytes that every call reads once, of `copies` copies in rotation.
struct ReadRequest {
  std::int64_t bytes = 0;
  int copies = 1;
  int launches = 1;  ///< of a sample, at least; whole rotations
  bool early =
      false;  ///< a launch may start, and read, before the one before has ended, as kernels with early weights do
  bool graph = true;  ///< replayed as a graph, not issued one by one
};

struct FastestRead {
  int id = 0;
  std::string launch;  ///< in words
};

/// The read floor of a shape on this GPU: the least time of any of some hundred launches that only read as many bytes
/// as the shape's weights and scales have, and do nothing with them. Every function throws std::runtime_error with the
/// driver's reason.
class ReadFloor {
 public:
  ReadFloor();
  ~ReadFloor();
  ReadFloor(const ReadFloor&) = delete;
  ReadFloor& operator=(const ReadFloor&) = delete;

  [[nodiscard]] const std::string& device() const noexcept;

  /// Tries them all and keeps the fastest (median of 5 samples).
  FastestRead prepare(const ReadRequest& request);

  /// A sample, in seconds a call, of what was prepared since the last release().
  [[nodiscard]] double seconds(int id) const;
  void release();

 private:
  struct Device;
  struct Batch;
  std::unique_ptr<Device> device_;
  std::map<int, std::unique_ptr<Batch>> batches_;
  int next_id_ = 0;
};

}  // namespace millet
