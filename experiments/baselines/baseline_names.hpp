// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace millet {

/// What --baseline accepts: libraries of the host, the oracle, and the backends of this build.
[[nodiscard]] std::vector<std::string> baseline_names();

}  // namespace millet
