// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "millet/backends/registry.hpp"
#include "millet/device/ceilings.hpp"
#include "millet/dispatch/tuned_table.hpp"

namespace millet {

/// A backend that can run here, with what a run asks of it once.
struct BackendSession {
  const Backend* backend = nullptr;
  DeviceInfo device;
  TunedTable tuned;
  std::string tuned_name;  ///< of the table, for messages
  Ceilings ceilings;       ///< all 0 until measure_ceilings

  /// Whether it computes on this machine's processor: only then may baselines of the host stand beside it.
  [[nodiscard]] bool on_host() const;
  /// Host threads that compute, or 0 for a device.
  [[nodiscard]] Index threads() const { return on_host() ? device.compute_units : 0; }
};

/// Names of all backends in this build.
[[nodiscard]] std::vector<std::string> backend_names();

/// What backends are opened for; an emulator gives results and no times.
enum class Purpose { results, times };

/// The backends called `names`, or with "all" or nothing every one that can run here and serves the purpose.
/// \param strict  a bad row in a tuned table is fatal
/// \param tuned_files  by backend: tables read instead of the built-in ones
/// Errors: unknown_name with near names; unavailable, with the reason, for a named one that cannot run here or has no
/// times, and when none can; incorrect_result of the probe of a device that is to be timed; io_error and parse_error of
/// a tuned table.
[[nodiscard]] Expected<std::vector<BackendSession>> open_backends(
    const std::vector<std::string>& names, Purpose purpose, bool strict,
    const std::map<std::string, std::filesystem::path>& tuned_files = {});

}  // namespace millet
