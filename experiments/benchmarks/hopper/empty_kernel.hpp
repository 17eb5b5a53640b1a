// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

namespace millet {

/// Launches a kernel that does nothing, with as many bytes of arguments as the backend's kernels have.
[[nodiscard]] cudaError_t launch_empty(const cudaLaunchConfig_t& config);

/// Lets it have that much dynamic shared memory.
[[nodiscard]] cudaError_t allow_shared_bytes_of_empty(int bytes);

}  // namespace millet
