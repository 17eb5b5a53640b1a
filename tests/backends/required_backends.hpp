// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <set>
#include <sstream>
#include <string>

namespace millet::conformance {

/// The names in MILLET_REQUIRE_BACKENDS (comma-separated): backends that must be able to run on this machine.
inline std::set<std::string> required_backends() {
  std::set<std::string> names;
  if (const char* list = std::getenv("MILLET_REQUIRE_BACKENDS"); list != nullptr) {
    std::istringstream stream(list);
    for (std::string name; std::getline(stream, name, ',');) names.insert(name);
  }
  return names;
}

}  // namespace millet::conformance
