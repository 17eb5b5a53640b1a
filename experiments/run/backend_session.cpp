// SPDX-License-Identifier: Apache-2.0
#include "run/backend_session.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "millet/device/host_info.hpp"
#include "near_names.hpp"

namespace millet {

namespace {

using TunedFiles = std::map<std::string, std::filesystem::path>;

Expected<std::string> text_of(const std::filesystem::path& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::error_code ignored;
  if (!file || std::filesystem::is_directory(path, ignored)) {
    return fail(ErrorCode::io_error, "{}: cannot be read: {}; give a tuned table with --tuned", path.string(),
                std::filesystem::is_directory(path, ignored) ? "it is a folder" : std::strerror(errno));
  }
  return std::string{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Expected<BackendSession> open_backend(const Backend& backend, Purpose purpose, bool strict, const TunedFiles& files) {
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
  std::string tuned_text(backend.tuned_table);
  session.tuned_name = fmt::format("tuned table of {}", backend.name);
  if (const auto file = files.find(std::string(backend.name)); file != files.end()) {
    auto text = text_of(file->second);
    if (!text) return fail(std::move(text));
    tuned_text = *std::move(text);
    session.tuned_name = file->second.string();
  }
  auto tuned = TunedTable::parse(tuned_text, session.tuned_name, backend, strict);
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

Expected<std::vector<BackendSession>> open_backends(const std::vector<std::string>& names, Purpose purpose, bool strict,
                                                    const TunedFiles& tuned_files) {
  for (const auto& [name, file] : tuned_files) {
    const std::vector<std::string> known = backend_names();
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return tl::unexpected(unknown_name("backend", name, known));
    }
  }
  std::vector<BackendSession> sessions;
  const bool all = names.empty() || std::find(names.begin(), names.end(), "all") != names.end();
  if (all) {
    std::string reasons;
    for (const Backend& backend : registered_backends()) {
      auto session = open_backend(backend, purpose, strict, tuned_files);
      if (session) {
        sessions.push_back(*std::move(session));
      } else if (session.error().code == ErrorCode::unavailable) {
        reasons += "; " + session.error().message;
      } else {
        return fail(std::move(session));
      }
    }
    if (sessions.empty()) return fail(ErrorCode::unavailable, "no backend can run here{}", reasons);
  }
  for (const std::string& name : all ? std::vector<std::string>{} : names) {
    const auto backends = registered_backends();
    const auto found = std::find_if(backends.begin(), backends.end(), [&](const Backend& b) { return b.name == name; });
    if (found == backends.end()) return tl::unexpected(unknown_name("backend", name, backend_names()));
    if (std::any_of(sessions.begin(), sessions.end(), [&](const auto& s) { return s.backend == &*found; })) continue;
    auto session = open_backend(*found, purpose, strict, tuned_files);
    if (!session) return fail(std::move(session));
    sessions.push_back(*std::move(session));
  }
  for (const auto& [name, file] : tuned_files) {
    if (std::none_of(sessions.begin(), sessions.end(), [&](const auto& s) { return s.backend->name == name; })) {
      return fail(ErrorCode::invalid_argument, "--tuned {}={}: backend '{}' is not timed here; name it with --backend",
                  name, file.string(), name);
    }
  }
  return sessions;
}

}  // namespace millet
