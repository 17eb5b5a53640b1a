// SPDX-License-Identifier: Apache-2.0
#include "run/backend_session.hpp"

#include <algorithm>

#include "millet/device/host_info.hpp"
#include "near_names.hpp"

namespace millet {

namespace {

Expected<BackendSession> open_backend(const Backend& backend, Purpose purpose, bool strict) {
  if (auto available = backend.available(); !available) {
    return fail(ErrorCode::unavailable, "backend '{}' cannot run here: {}", backend.name, available.error().message);
  }
  if (purpose == Purpose::times && !backend.has_times) {
    return fail(ErrorCode::unavailable, "backend '{}' has no times; 'millet verify --backend {}' checks its results",
                backend.name, backend.name);
  }
  if (purpose == Purpose::times && backend.probe != nullptr) {
    if (auto probed = backend.probe(); !probed) return fail(std::move(probed));
  }
  BackendSession session;
  session.backend = &backend;
  auto device = backend.device_info();
  if (!device) return fail(std::move(device));
  session.device = *std::move(device);
  auto tuned = TunedTable::parse(backend.tuned_table, fmt::format("tuned table of {}", backend.name), backend, strict);
  if (!tuned) return fail(std::move(tuned));
  session.tuned = *std::move(tuned);
  return session;
}

}  // namespace

bool BackendSession::on_host() const { return device.architecture == host_device_info(1, "").architecture; }

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  for (const Backend& backend : registered_backends()) names.emplace_back(backend.name);
  return names;
}

Expected<std::vector<BackendSession>> open_backends(const std::vector<std::string>& names, Purpose purpose,
                                                    bool strict) {
  std::vector<BackendSession> sessions;
  const bool all = names.empty() || std::find(names.begin(), names.end(), "all") != names.end();
  if (all) {
    std::string reasons;
    for (const Backend& backend : registered_backends()) {
      auto session = open_backend(backend, purpose, strict);
      if (session) {
        sessions.push_back(*std::move(session));
      } else if (session.error().code == ErrorCode::unavailable) {
        reasons += "; " + session.error().message;
      } else {
        return fail(std::move(session));
      }
    }
    if (sessions.empty()) return fail(ErrorCode::unavailable, "no backend can run here{}", reasons);
    return sessions;
  }
  for (const std::string& name : names) {
    const auto backends = registered_backends();
    const auto found = std::find_if(backends.begin(), backends.end(), [&](const Backend& b) { return b.name == name; });
    if (found == backends.end()) return tl::unexpected(unknown_name("backend", name, backend_names()));
    if (std::any_of(sessions.begin(), sessions.end(), [&](const auto& s) { return s.backend == &*found; })) continue;
    auto session = open_backend(*found, purpose, strict);
    if (!session) return fail(std::move(session));
    sessions.push_back(*std::move(session));
  }
  return sessions;
}

}  // namespace millet
