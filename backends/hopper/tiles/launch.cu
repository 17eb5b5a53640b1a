// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/hopper/tiles/launch.hpp"

#include <algorithm>

#include "millet/backends/hopper/tiles/cluster_rows.hpp"
#include "millet/backends/hopper/tiles/folded_tokens.hpp"
#include "millet/backends/hopper/tiles/share_sums.hpp"
#include "millet/backends/hopper/tiles/strip_product.hpp"
#include "millet/backends/hopper/tiles/warpgroup_product.hpp"

namespace millet::hopper {

namespace {

Index padded(Index tokens) noexcept { return Index{token_tiles_for(tokens)} * tokens_per_tile; }

/// Codes and scales of one group of a token.
constexpr Index staged_bytes_a_group = blocks_per_group * (MxBlock::k + 1);

int groups_that_fit(Index most_bytes, Index bytes_a_group, Index k, const WorkSplit& split) noexcept {
  const Index groups = tiles_to_cover(k, blocks_per_group * MxBlock::k);
  const Index share = tiles_to_cover(groups, split.cluster);
  const Index fitting = most_bytes / bytes_a_group;
  return static_cast<int>(share < fitting ? share : fitting);
}

/// What a thread block needs beside staged tokens, or in their place once they have been multiplied.
Index with_sums(Index staged, Index tokens, const WorkSplit& split) noexcept {
  const Index sums = split.k_warps * padded(tokens) * sums_stride(split.row_warps) * Index{sizeof(float)};
  return cluster_sums_bytes(static_cast<int>(padded(tokens)), split) + (staged > sums ? staged : sums);
}

constexpr Index kilobyte = 1024;

/// What a plan says that does not depend on shared memory.
WarpgroupPlan shared_out(Index k, const WorkSplit& split) noexcept {
  const Index teams = Index{split.cluster} * split.k_warps;
  const Index all = tiles_to_cover(tiles_to_cover(k, MxBlock::k), blocks_per_group);
  WarpgroupPlan plan{};
  plan.groups = static_cast<int>(all);
  plan.share = static_cast<int>(all / teams);
  plan.larger_shares = static_cast<int>(all % teams);
  plan.rows_a_rank = static_cast<int>(tiles_to_cover(Index{split.row_warps} * strip_rows, split.cluster));
  plan.rows_reciprocal = static_cast<int>(tiles_to_cover(1 << 20, plan.rows_a_rank));
  return plan;
}

Index largest_share(const WarpgroupPlan& plan) noexcept { return plan.share + (plan.larger_shares > 0 ? 1 : 0); }

}  // namespace

int round_groups_for(Index tokens, Index k, const WorkSplit& split) noexcept {
  return groups_that_fit(96 * 1024, padded(tokens) * staged_bytes_a_group, k, split);
}

Index shared_bytes(Index tokens, int round_groups, const WorkSplit& split) noexcept {
  const int blocks = round_groups * blocks_per_group;
  return with_sums(padded(tokens) * (shared_token_stride(blocks) + blocks), tokens, split);
}

WarpgroupPlan warpgroup_plan(Index tokens, Index k, const WorkSplit& split) noexcept {
  WarpgroupPlan plan = shared_out(k, split);
  const Index padded_tokens = padded(tokens);
  const Index groups = largest_share(plan);
  const Index token_group = split.k_warps * padded_tokens * token_group_bytes;  // of all teams of a thread block
  const Index ring_group = Index{split.k_warps} * split.row_warps * group_bytes;
  const Index sums = cluster_rows_bytes(static_cast<int>(padded_tokens), split, plan);
  const Index everything = sums + groups * (token_group + ring_group);
  const Index room = (everything <= 110 * kilobyte ? 110 * kilobyte : max_shared_bytes) - sums;
  // Where not all fits, the tokens of a round get up to half, if that is all of them, else a third.
  Index round = groups;
  if (groups * token_group > room / 2) round = std::max<Index>(room / 3 / token_group, 1);
  const Index fitting = std::max<Index>((room - round * token_group) / ring_group, 1);
  // Small stages let the first products start early, few cost fewer instructions.
  const Index stages = std::min<Index>({fitting, groups, max_stages});
  Index stage = std::max<Index>(std::min(tiles_to_cover(groups, stages), fitting / stages), 1);
  if (round < groups) {  // a round starts and ends stages
    stage = std::min(stage, round);
    round = round / stage * stage;
  }
  plan.round_groups = static_cast<int>(round);
  plan.stages = static_cast<int>(stages);
  plan.stage_groups = static_cast<int>(stage);
  const Index chunks = token_chunks(static_cast<int>(padded_tokens / tokens_per_tile));
  plan.chunk_groups = static_cast<int>(tiles_to_cover(tiles_to_cover(round, stage), chunks) * stage);
  return plan;
}

Index warpgroup_shared_bytes(Index tokens, const WorkSplit& split, const WarpgroupPlan& plan) noexcept {
  const Index team = padded(tokens) * plan.round_groups * token_group_bytes +
                     Index{split.row_warps} * plan.stages * plan.stage_groups * group_bytes;
  return cluster_rows_bytes(static_cast<int>(padded(tokens)), split, plan) + split.k_warps * team;
}

WarpgroupPlan folded_plan(Index tokens, Index k, const WorkSplit& split) noexcept {
  WarpgroupPlan plan = shared_out(k, split);
  const auto padded_tokens = static_cast<int>(padded(tokens));
  const Index groups = largest_share(plan);
  const Index ring_group = Index{split.k_warps} * split.row_warps * group_bytes;
  const Index fixed = cluster_rows_bytes(padded_tokens, split, plan) + folded_alignment +
                      Index{split.k_warps} * folded_token_bytes(padded_tokens, 0);
  const Index token_group = Index{split.k_warps} * folded_token_bytes(padded_tokens, 1) -
                            Index{split.k_warps} * folded_token_bytes(padded_tokens, 0);
  const Index everything = fixed + groups * (token_group + ring_group);
  const Index room = (everything <= 110 * kilobyte ? 110 * kilobyte : max_shared_bytes) - fixed;
  const Index least_weights = std::min<Index>(groups, 2) * ring_group;
  const Index read_late = 64 * split.row_warps / padded_tokens;  // groups whose codes its threads' registers hold
  const Index most =
      std::clamp<Index>((room - least_weights) / token_group, 1, std::min<Index>(folded_max_round, read_late));
  const Index round = tiles_to_cover(groups, tiles_to_cover(groups, most));
  const Index fitting = std::max<Index>((room - round * token_group) / ring_group, 1);
  // Three stages, or up to folded_max_stages where as many groups cannot be shared out evenly.
  Index stage = std::clamp<Index>(std::min(fitting, groups) / 3, 1, round);
  while (round < groups && round % stage != 0) --stage;  // a round starts and ends stages
  plan.round_groups = static_cast<int>(round);
  plan.stages = static_cast<int>(std::min<Index>({fitting / stage, tiles_to_cover(groups, stage), folded_max_stages}));
  plan.stage_groups = static_cast<int>(stage);
  return plan;
}

Index folded_shared_bytes(Index tokens, const WorkSplit& split, const WarpgroupPlan& plan) noexcept {
  const auto padded_tokens = static_cast<int>(padded(tokens));
  const Index team = folded_token_bytes(padded_tokens, plan.round_groups) +
                     Index{split.row_warps} * plan.stages * plan.stage_groups * group_bytes;
  return cluster_rows_bytes(padded_tokens, split, plan) + folded_alignment + split.k_warps * team;
}

DenseLaunch::DenseLaunch(const GemmArguments& x, int warps_a_strip, Index shared_bytes, cudaStream_t stream) noexcept {
  const WorkSplit& split = x.split;
  // The blocks of a cluster along y, so that no kernel has to divide.
  config.gridDim = dim3(static_cast<unsigned>(tiles_to_cover(x.b.n, split.row_warps * strip_rows)),
                        static_cast<unsigned>(split.cluster));
  config.blockDim = dim3(static_cast<unsigned>(split.row_warps * split.k_warps * warps_a_strip * warp_lanes));
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
  config.stream = stream;
  config.attrs = attributes;
  if (split.early_weights) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (split.cluster > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs++].val.clusterDim = {1, static_cast<unsigned>(split.cluster), 1};
  }
}

cudaError_t PreparedKernels::prepare(std::span<const void* const> kernels) {
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  if (device < max_devices && done_[device].load(std::memory_order_acquire)) return cudaSuccess;
  for (const void* kernel : kernels) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(max_shared_bytes));
    if (error != cudaSuccess) return error;
  }
  if (device < max_devices) done_[device].store(true, std::memory_order_release);
  return cudaSuccess;
}

namespace {

/// Blocks of 256 threads, eight independent 16-byte loads a thread in flight.
__global__ void __launch_bounds__(256) read_kernel(const uint4* __restrict__ from, Index count, float* sink) {
  constexpr int unroll = 8;
  std::uint32_t all = 0;
  const Index stride = Index{gridDim.x} * blockDim.x;
  Index i = Index{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; i + (unroll - 1) * stride < count; i += unroll * stride) {
    uint4 v[unroll];
#pragma unroll
    for (int j = 0; j < unroll; ++j) v[j] = load_streaming(from + i + j * stride);
#pragma unroll
    for (int j = 0; j < unroll; ++j) all |= v[j].x | v[j].y | v[j].z | v[j].w;
  }
  for (; i < count; i += stride) {
    const uint4 v = load_streaming(from + i);
    all |= v.x | v.y | v.z | v.w;
  }
  // Never true of the zeroed buffer that is read; keeps the loads alive.
  if (all == 0xFFFFFFFFU) *sink = 1.0F;
}

__global__ void __launch_bounds__(256) matrix_peak_kernel(Index steps, float* sink) {
  constexpr int chains = 8;
  float d[chains][4] = {};
  const std::uint32_t x = threadIdx.x;
  for (Index step = 0; step < steps; ++step) {
#pragma unroll
    for (int i = 0; i < chains; ++i) mma_m16n8k16(d[i], x, x + 1, x + 2, x + 3, x + 4, x + 5);
  }
  float sum = 0.0F;
#pragma unroll
  for (int i = 0; i < chains; ++i) sum += d[i][0] + d[i][1] + d[i][2] + d[i][3];
  if (sum == 1.0F) *sink = sum;
}

}  // namespace

cudaError_t multiprocessors(int* count) {
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  return cudaDeviceGetAttribute(count, cudaDevAttrMultiProcessorCount, device);
}

cudaError_t launch_read(const void* from, Index bytes, float* sink, cudaStream_t stream) {
  int sms = 0;
  if (const cudaError_t error = multiprocessors(&sms); error != cudaSuccess) return error;
  read_kernel<<<static_cast<unsigned>(sms * 8), 256, 0, stream>>>(static_cast<const uint4*>(from), bytes / 16, sink);
  return cudaGetLastError();
}

cudaError_t launch_matrix_peak(Index steps, float* sink, cudaStream_t stream, double* operations) {
  int sms = 0;
  if (const cudaError_t error = multiprocessors(&sms); error != cudaSuccess) return error;
  const int blocks = sms * 2;
  matrix_peak_kernel<<<static_cast<unsigned>(blocks), 256, 0, stream>>>(steps, sink);
  *operations = static_cast<double>(blocks) * 8 * 8 * static_cast<double>(steps) * 2 * 16 * 8 * 16;
  return cudaGetLastError();
}

}  // namespace millet::hopper
