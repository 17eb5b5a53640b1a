// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "millet/device/ceilings.hpp"

namespace millet {

/// Calls work(thread) for every thread of [0, threads), all at the same time, and returns when all are done.
using OnEachThread = void (*)(const std::function<void(Index thread)>& work);

/// The loops behind the roofs of the host, to be run whenever a figure is wanted.
///
/// The read loop adds up every 64-byte line with the widest vectors of host_isa(), from a buffer of 2 MB pages (where
/// the system grants them) of two and a half times the last-level cache. The multiply-add loop keeps enough independent
/// accumulators in registers to fill the pipelines.
class HostRoofLoops {
 public:
  /// Allocates the buffer and touches each thread's slice on that thread.
  /// \param on_each_thread  the pool that kernels run in: any other would share cores with its waiting threads. Null
  ///                        starts threads for each call of a loop
  explicit HostRoofLoops(Index threads, OnEachThread on_each_thread = nullptr);

  /// Of all threads together; 0 where there was no memory for it, and then nothing may be read.
  [[nodiscard]] Index buffer_bytes() const noexcept { return slice_ * threads_; }
  [[nodiscard]] Index threads() const noexcept { return threads_; }

  /// Seconds for reading `bytes` `passes` times, an equal part of them by each thread from its own slice.
  /// \param offset  where in a slice the part begins; it goes on at the slice's start behind its end, as often as
  /// needed
  [[nodiscard]] double read(Index offset, Index bytes, Index passes) const;

  /// Seconds for multiply_add_flops(steps) operations, all threads together.
  [[nodiscard]] double multiply_add(Index steps) const;
  [[nodiscard]] double multiply_add_flops(Index steps) const noexcept;

  /// "avx2 read loop over 80 MiB (2 MB pages), avx2 f32 multiply-add loop, 1 thread(s)"
  [[nodiscard]] std::string description() const;

 private:
  void run_on_each_thread(const std::function<void(Index)>& work) const;

  Index threads_;
  Index slice_ = 0;  // bytes of one thread
  OnEachThread on_each_thread_;
  bool huge_pages_ = false;
  std::unique_ptr<std::byte, void (*)(std::byte*)> buffer_;
};

/// Read rates and the multiply-add peak of `threads` threads of this machine, measured now in about `seconds` of time:
/// medians over 32 KiB and 1 MiB a thread, half the last-level cache, and the whole buffer of HostRoofLoops.
[[nodiscard]] Ceilings measure_host_ceilings(double seconds, Index threads, OnEachThread on_each_thread = nullptr);

}  // namespace millet
