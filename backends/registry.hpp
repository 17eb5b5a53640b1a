// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "millet/dispatch/backend.hpp"

namespace millet {

/// Every backend of this build, in the order of backends/CMakeLists.txt, whether it can run here or not.
[[nodiscard]] std::span<const Backend> registered_backends() noexcept;

/// The registered backend called `name`. Errors: unknown_name, listing the names that exist.
[[nodiscard]] inline Expected<const Backend*> find_backend(std::string_view name) {
  std::string known;
  for (const Backend& backend : registered_backends()) {
    if (backend.name == name) return &backend;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", backend.name);
  }
  return fail(ErrorCode::unknown_name, "no backend '{}' in this build; it has: {}", name, known);
}

}  // namespace millet
