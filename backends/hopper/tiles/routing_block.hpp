// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/tiles/strip_arguments.hpp"

// What a grouped kernel may believe of its routing. Device code only.

namespace millet::hopper {

/// `id`, or -1 where it is none of `experts`: no id outside its range is ever used as an index.
__device__ __forceinline__ int expert_in_range(const RoutingArguments& x, std::int32_t id) {
  return id >= 0 && id < x.experts ? id : -1;
}
__device__ __forceinline__ bool slot_in_range(const RoutingArguments& x, std::int32_t id) {
  return id >= 0 && id < x.slots;
}

/// The expert of a routing block in use, or -1.
__device__ __forceinline__ Index expert_of(const RoutingArguments& x, Index block) {
  if (block >= x.blocks || block * x.block_m >= *x.num_tokens_post_padded) return -1;
  return expert_in_range(x, x.expert_ids[block]);
}

}  // namespace millet::hopper
