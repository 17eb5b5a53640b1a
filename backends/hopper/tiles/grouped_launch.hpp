// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include "millet/backends/hopper/tiles/grouped_plan.hpp"

// The seam of the grouped kernel on wgmma.

namespace millet::hopper {

struct GroupedWgmmaArguments {
  /// Its operands, its split without a cluster, and what of the plan says how tokens are staged.
  WarpgroupGemmArguments product;
  RoutingArguments routing;
  GroupedPlan plan;
  void* workspace;  ///< as grouped_workspace_bytes says
  bool early_weights;
};

/// Asynchronous; no allocation, no synchronization. The launch's own error.
[[nodiscard]] cudaError_t launch_grouped_gemm_wgmma(const GroupedWgmmaArguments& x, const GroupedSplit& split,
                                                    cudaStream_t stream);

}  // namespace millet::hopper
