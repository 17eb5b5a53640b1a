// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "millet/device/device_buffer.hpp"
#include "millet/device/device_info.hpp"
#include "millet/device/host_ceilings.hpp"
#include "millet/device/stream.hpp"
#include "millet/dispatch/kernel.hpp"

namespace millet {

/// One way to compute: a device, its memory and its kernels. A value of function pointers that a backend's folder
/// returns from millet::<name>::backend().
struct Backend {
  std::string_view name;
  std::string_view description;

  /// Whether it can run here. Errors: unavailable, with the driver's or library's own reason. Everything below may be
  /// called only after it succeeded.
  Expected<void> (*available)();
  Expected<DeviceInfo> (*device_info)();

  /// Memory, aligned to 256 bytes and zeroed. Errors: unavailable, naming the size, when there is not enough.
  Expected<DeviceBuffer> (*allocate)(Index bytes);
  Expected<void> (*copy_to_device)(void* device, const void* host, Index bytes, Stream);
  Expected<void> (*copy_to_host)(void* host, const void* device, Index bytes, Stream);

  Expected<Stream> (*create_stream)();
  void (*destroy_stream)(Stream) noexcept;
  /// Waits for everything on the stream. Errors that happened on the device show up here.
  Expected<void> (*synchronize)(Stream);

  /// Makes a batch of launches ready to be timed by the device's own clock.
  Expected<TimedBatch> (*prepare_batch)(std::vector<Launch> launches, Replay replay, Stream);
  /// Launches that one sample should hold at least: 1 where a call is long against the clock's resolution, more where
  /// calls last microseconds.
  Index launches_per_sample;

  /// Null, or checks that the device computes what the kernels assume (probe_arithmetic): `millet doctor` shows the
  /// outcome, and nothing is timed where it fails. Errors: incorrect_result, with what was found.
  Expected<void> (*probe)() = nullptr;

  /// Whether its times mean anything: false for an emulator, which prepare_batch and measure_ceilings may then refuse.
  bool has_times = true;

  /// Measures the roofs of this device, in about the given time.
  Expected<Ceilings> (*measure_ceilings)(double seconds);

  /// Null, or runs something on every thread of the pool that the kernels run in, device_info().compute_units of them:
  /// so the loops behind the host's roofs can take turns with kernels.
  OnEachThread on_each_thread = nullptr;

  std::span<const GemmKernel> gemm_kernels;        ///< best first
  std::span<const GroupedKernel> grouped_kernels;  ///< best first
  std::string_view tuned_table;                    ///< the text of tuned/*.csv, or empty

  /// The kernels for one kind of problem.
  template <class P>
  [[nodiscard]] std::span<const KernelFor<P>> kernels() const noexcept {
    if constexpr (std::is_same_v<P, GemmProblem>) {
      return gemm_kernels;
    } else {
      return grouped_kernels;
    }
  }
};

}  // namespace millet
