// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/report/record.hpp"

namespace millet {

/// How this program was built: revision, compiler, flags, libraries. The libraries include "program", a hash of the
/// running executable, so that two builds of one modified tree differ.
[[nodiscard]] RecordBuild build_info();

}  // namespace millet
