// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/dispatch/backend.hpp"

namespace millet {

/// `bytes` of zeroed host memory, aligned to 256, or to whole 2 MB pages if it is that large. Errors: unavailable.
[[nodiscard]] Expected<DeviceBuffer> allocate_host_memory(Index bytes);

/// What backends have in common whose device is the host: memory is memory, there is one stream, and every call is over
/// when it returns, so a batch is timed by the steady clock. The caller adds the rest, and replaces what differs.
[[nodiscard]] Backend make_host_backend() noexcept;

}  // namespace millet
