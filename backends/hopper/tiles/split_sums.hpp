// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/tiles/grouped_launch.hpp"

// How thread blocks that share an item add up its sums: in the order of their splits, whatever finishes first. Device
// code only.

namespace millet::hopper {

class SplitSums {
 public:
  /// \param block   in the order of the splits; a block waits for later ones only, which must have been started before
  /// \param splits  of the window, all blocks'
  __device__ SplitSums(const GroupedWgmmaArguments& x, int block, int splits)
      : flags_(static_cast<unsigned*>(x.workspace)),
        sums_(reinterpret_cast<float*>(static_cast<std::uint8_t*>(x.workspace) + workspace_flag_bytes)),
        a_block_(workspace_sums(x.plan, x.product.gemm.split.row_warps)),
        block_(block),
        splits_(splits) {}

  /// Leaves sum(0), sum(1) and so on, `count` of them, for the block that has the item's first split. All threads of
  /// the block, as in what follows.
  template <class Sum>
  __device__ void leave(int count, const Sum& sum) const {
    if (threadIdx.x == 0) wait_for_flag(block_, 0);  // what it left in the last window has been taken
    __syncthreads();
    float* const to = sums_ + Index{block_} * a_block_;
    for (int i = threadIdx.x; i < count; i += blockDim.x) to[i] = sum(i);
    __syncthreads();
    if (threadIdx.x == 0) set_flag(block_, 1);
  }

  /// Waits for all that has been left of an item. \param end  the split behind its last
  __device__ void await(int end) const {
    if (threadIdx.x == 0) {
      for_each_block(end, [&](int block) { wait_for_flag(block, 1); });
    }
    __syncthreads();
  }
  /// `sum` and what has been left of number i.
  [[nodiscard]] __device__ float add(int end, int i, float sum) const {
    for_each_block(end, [&](int block) { sum += __ldcg(sums_ + Index{block} * a_block_ + i); });
    return sum;
  }
  /// All has been read.
  __device__ void take(int end) const {
    __syncthreads();
    if (threadIdx.x == 0) {
      for_each_block(end, [&](int block) { set_flag(block, 0); });
    }
  }

 private:
  /// The blocks after this one that have splits before `end`.
  template <class Do>
  __device__ __forceinline__ void for_each_block(int end, const Do& act) const {
    const auto blocks = static_cast<int>(gridDim.x);
    for (int block = block_ + 1; block < blocks; ++block) {
      const int first = first_split_of(splits_, block, blocks);
      if (first >= end) break;
      if (first < first_split_of(splits_, block + 1, blocks)) act(block);
    }
  }
  __device__ void wait_for_flag(int block, unsigned value) const {
    unsigned now;
    do {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];\n" : "=r"(now) : "l"(flags_ + block) : "memory");
    } while (now != value);
  }
  __device__ void set_flag(int block, unsigned value) const {
    __threadfence();  // what the other threads did before the barrier comes before it
    asm volatile("st.release.gpu.global.u32 [%0], %1;\n" : : "l"(flags_ + block), "r"(value) : "memory");
  }

  unsigned* flags_;
  float* sums_;
  int a_block_;
  int block_;
  int splits_;
};

}  // namespace millet::hopper
