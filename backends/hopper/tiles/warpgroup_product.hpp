// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/hopper/instructions.hpp"
#include "millet/backends/hopper/tiles/block_scales.hpp"
#include "millet/backends/hopper/tiles/lane_weights.hpp"
#include "millet/quantize/quantize_block.hpp"

// The product of a team of one or two warpgroups: 64 or 128 rows of B times up to 64 tokens over a share of k, by
// `wgmma` on e4m3. Device code only.
//
// "Block dot, then scale": one instruction with a zero accumulator sums one block of 32 k, then the sum times
// 2^(scale of the weight + scale of the token - 254) is added in f32. Nothing is converted. Weights come by the bulk
// copy engine into a ring that each warp has in shared memory: a few instructions ask for many kilobytes and nobody
// waits for them, so that all of a small matrix is on its way before the tokens are there.
//
// A call is over in a few microseconds, so instructions that run once count, fetched from afar as they are: loops
// that seldom turn are not unrolled, and shared memory is addressed by 32-bit numbers.

namespace millet::hopper {

/// Stages of the ring of weights at most: a few large copies take fewer instructions than many small ones.
inline constexpr int max_stages = 3;
inline constexpr int group_value_bytes = blocks_per_group * 512;
inline constexpr int group_scale_bytes = 64;
inline constexpr int group_bytes = group_value_bytes + group_scale_bytes;

/// Shared memory that the codes and scales of one token take for one group, in bytes.
inline constexpr int token_group_bytes = blocks_per_group * (32 + 4);

/// The threads of a thread block that have the same share of k: they stage tokens together and meet at a barrier of
/// their own.
struct Team {
  int thread;   ///< of the calling thread in it
  int threads;  ///< a multiple of 128
  int barrier;  ///< from 1 on
};

/// A strip's weights on their way through a ring: the groups [first, last), in parts of plan.stage_groups.
class WeightRing {
 public:
  /// \param ring  address of plan.stages * plan.stage_groups * group_bytes; \param barriers  of plan.stages barriers
  /// \param asks  whether this thread, one of those that read the strip, asks for its parts: at first for as many as
  /// the ring holds, and with early weights for each of these when the one before has come
  __device__ WeightRing(const WarpgroupGemmArguments& x, Index strip, GroupRange groups, std::uint32_t ring,
                        std::uint32_t barriers, bool asks)
      : x_(x), groups_(groups), ring_(ring), barriers_(barriers), asks_(asks) {
    const int blocks = static_cast<int>(x.gemm.b.k / MxBlock::k);
    values_ = x.gemm.b.values + strip * blocks * StripValues::tile_size;
    scales_ = x.gemm.b.scales + strip * x.plan.groups * StripScales::tile_size;
    if (asks) {
#pragma unroll 1
      for (int i = 0; i < x.plan.stages; ++i) initialize_barrier(barriers + i * 8, 1);
      publish_barriers();
#pragma unroll 1
      for (int i = 0; i < x.plan.stages; ++i) {
        const int first = groups.first + i * x.plan.stage_groups;
        // While the preceding kernel runs, its tokens come through the same queues: one part at a time keeps these
        // short.
        if (i > 0 && x.gemm.split.early_weights && first < groups.last) wait_for_phase(barriers + (i - 1) * 8, 0);
        request(first, i);
      }
    }
  }

  /// Of a part, at most.
  [[nodiscard]] __device__ int stage_groups() const { return x_.plan.stage_groups; }
  /// Waits for the next part; the address of its values. Its scales stand behind all values of the stage,
  /// plan.stage_groups * group_value_bytes away.
  __device__ std::uint32_t wait() const {
    wait_for_phase(barriers_ + stage_ * 8, phase_);
    return ring_ + stage_ * x_.plan.stage_groups * group_bytes;
  }
  /// This thread has read all of the part that started with `group`, of a strip that its warp alone reads. Once all of
  /// the warp have, the part's stage takes a later one, if there is one.
  __device__ void release(int group) {
    release_once(group, [] { __syncwarp(); });
  }
  /// Like it, of a strip that several warps of the team read.
  __device__ void release(int group, const Team& team) {
    release_once(group, [&] { meet(team.barrier, team.threads); });
  }

 private:
  template <class AllHaveRead>
  __device__ __forceinline__ void release_once(int group, const AllHaveRead& all_have_read) {
    const int next = group + x_.plan.stages * x_.plan.stage_groups;
    if (next < groups_.last) {
      all_have_read();
      if (asks_) request(next, stage_);
    }
    if (++stage_ == x_.plan.stages) {
      stage_ = 0;
      phase_ ^= 1;
    }
  }
  __device__ __forceinline__ void request(int first, int stage) const {
    const int last = min(groups_.last, first + x_.plan.stage_groups);
    if (first >= last) return;
    const int blocks = static_cast<int>(x_.gemm.b.k / MxBlock::k);
    const int value_bytes = (min(blocks, last * blocks_per_group) - first * blocks_per_group) * 512;
    const int scale_bytes = (last - first) * group_scale_bytes;
    const std::uint32_t barrier = barriers_ + stage * 8;
    const std::uint32_t to = ring_ + stage * x_.plan.stage_groups * group_bytes;
    expect_bytes(barrier, value_bytes + scale_bytes);
    copy_bulk(to, values_ + Index{first} * group_value_bytes, value_bytes, barrier);
    copy_bulk(to + x_.plan.stage_groups * group_value_bytes, scales_ + Index{first} * group_scale_bytes, scale_bytes,
              barrier);
  }

  const WarpgroupGemmArguments& x_;
  GroupRange groups_;
  std::uint32_t ring_;
  std::uint32_t barriers_;
  const std::uint8_t* values_;
  const std::uint8_t* scales_;
  int stage_ = 0;
  std::uint32_t phase_ = 0;
  bool asks_;
};

/// Up to so many tokens, the four blocks of a group share a tile of eight columns: each has two of its own, and zeros
/// in those of the others, so that one instruction after the other adds to the same sums without mixing blocks, and a
/// lane has the scales of one block to apply instead of those of four. The zeros change no bit of the sums beside them
/// (docs/performance/hopper.md), and NaN in a row of weights makes NaN of all its columns, as it must.
inline constexpr int shared_tile_tokens = tokens_per_tile / blocks_per_group;

/// The column of a token's codes of a block.
template <bool SharedTile>
[[nodiscard]] __device__ constexpr int column_of(int token, int block) {
  return SharedTile ? token + shared_tile_tokens * (block % blocks_per_group) : token;
}

/// The tokens of a team's groups from first_group on, in shared memory.
struct TokenPieces {
  std::uint32_t values;  ///< address of [16 k][tile of 8][column_of the token][16], as TokenMatrix wants it
  std::uint32_t scales;  ///< of [block][token]: the code where an f32 has its exponent, a power of two if it is plain
  int first_group;
};

/// Token copies under way are awaited in so many chunks: the first products start before the last of many tokens are
/// there; for few the additional barriers cost more than they save.
[[nodiscard]] __host__ __device__ constexpr int token_chunks(int tiles) noexcept { return tiles <= 2 ? 1 : 3; }

/// Which token a thread stages, and which of its pieces of k: a warp takes the eight tokens of a tile by four pieces
/// that stand together, so that it reads few lines and writes 128 bytes in a row.
template <int Tiles>
struct StagingPlace {
  int token;
  int first;  ///< piece
  int step;   ///< pieces to this thread's next; a team has at least as many warps as there are tiles

  __device__ explicit StagingPlace(const Team& team)
      : token(team.thread / warp_lanes % Tiles * tokens_per_tile + team.thread % tokens_per_tile),
        first(team.thread / warp_lanes / Tiles * 4 + team.thread / tokens_per_tile % 4),
        step(team.threads / warp_lanes / Tiles * 4) {}
};

/// Puts zeros into all columns of `groups` groups of one tile, with the whole team.
__device__ __forceinline__ void clear_columns(std::uint32_t values, int groups, const Team& team) {
  constexpr int group_vectors = blocks_per_group * 2 * tokens_per_tile;
#pragma unroll 1
  for (int i = team.thread; i < groups * group_vectors; i += team.threads) {
    store_shared(values + i * 16, make_uint4(0, 0, 0, 0));
  }
}

/// Starts to bring the tokens' codes for `groups` groups into shared memory, in chunks of plan.chunk_groups, and brings
/// their scales; await_chunk must follow. Returns whether every scale that this thread has seen is plain.
///
/// Coherent loads (no __ldg): the preceding kernel may have written A while this one was already running, and the
/// read-only path may not see that.
/// \param row_of  (token) the row of A, or -1 for none: what stands in its place is multiplied and never stored
template <int Tiles, bool SharedTile, class RowOf>
__device__ __forceinline__ bool stage_token_pieces(const WarpgroupGemmArguments& x, const TokenPieces& to, int groups,
                                                   const Team& team, const RowOf& row_of) {
  constexpr int tokens = Tiles * tokens_per_tile;
  const TokensArguments& a = x.gemm.a;
  const int blocks = static_cast<int>(x.gemm.b.k / MxBlock::k);
  const StagingPlace<Tiles> at(team);
  const int first_block = to.first_group * blocks_per_group;
  const int count = min(blocks - first_block, groups * blocks_per_group);
  const Index row = row_of(at.token);
  const std::uint8_t* from = a.values + row * a.value_stride + first_block * 32 + at.first * 16;
  // A thread's blocks are all the same modulo four, and so have the same column.
  std::uint32_t values = to.values + (at.first * tokens + column_of<SharedTile>(at.token, at.first / 2)) * 16;
  const int distance = at.step * 16;
  const int piece_distance = at.step * tokens * 16;
  const bool aligned =
      (reinterpret_cast<std::uintptr_t>(a.values) | static_cast<std::uintptr_t>(a.value_stride)) % 16 == 0;
  int piece = at.first;  // of 16 k
#pragma unroll 1
  for (int chunk = 1; chunk <= token_chunks(Tiles); ++chunk) {
    const int last = row < 0 ? 0 : min(count, chunk * x.plan.chunk_groups * blocks_per_group) * 2;
    if (aligned) {
      // A copy holds on to its address registers until it has been sent: four at a time have their own.
#pragma unroll 4
      for (; piece < last; piece += at.step, from += distance, values += piece_distance) copy_async(values, from);
    } else {
#pragma unroll 1
      for (; piece < last; piece += at.step, from += distance, values += piece_distance) {
#pragma unroll 1
        for (int j = 0; j < 16; ++j) store_shared(values + j, from[j]);
      }
    }
    commit_copies();
  }
  bool plain = true;
  if (row >= 0) {
    // The four codes of a group are one load where they are all there and aligned.
    const std::uint8_t* codes_from = a.scales + row * a.scale_stride + first_block;
    const bool words =
        (reinterpret_cast<std::uintptr_t>(a.scales) | static_cast<std::uintptr_t>(a.scale_stride)) % 4 == 0;
#pragma unroll 1
    for (int group = at.first; group < groups; group += at.step) {
      const int block = group * blocks_per_group;
      std::uint32_t codes = 0x7F7F7F7FU;  // plain, for blocks beyond the last
      if (words && block + blocks_per_group <= count) {
        codes = *reinterpret_cast<const std::uint32_t*>(codes_from + block);
      } else {
#pragma unroll 1
        for (int j = 0; j < blocks_per_group && block + j < count; ++j) {
          codes = (codes & ~(0xFFU << 8 * j)) | std::uint32_t{codes_from[block + j]} << 8 * j;
        }
      }
      plain &= are_plain(codes);
#pragma unroll
      for (int j = 0; j < blocks_per_group; ++j) {
        store_shared(to.scales + ((block + j) * tokens + at.token) * 4, exponent_of(codes, j));
      }
    }
  }
  return plain;
}

/// Four bf16 or f32 values from `from` on. \param aligned  to all four
__device__ __forceinline__ float4 load_four(const std::uint8_t* from, int value_bytes, bool aligned) {
  if (value_bytes == 4) {
    const auto* const values = reinterpret_cast<const float*>(from);
    return aligned ? *reinterpret_cast<const float4*>(values) : make_float4(values[0], values[1], values[2], values[3]);
  }
  const auto* const halves = reinterpret_cast<const std::uint16_t*>(from);
  const auto widen = [](std::uint32_t bits) { return __uint_as_float(bits << 16); };
  if (!aligned) return make_float4(widen(halves[0]), widen(halves[1]), widen(halves[2]), widen(halves[3]));
  const uint2 two = *reinterpret_cast<const uint2*>(from);
  return make_float4(widen(two.x), widen(two.x >> 16), widen(two.y), widen(two.y >> 16));
}

/// Like stage_token_pieces for bf16 and f32 tokens, which it quantizes with the framework's default, RCEIL: the same
/// bits as quantize_block. A thread takes a block of a token at a time.
template <int Tiles, bool SharedTile, class RowOf>
__device__ __forceinline__ bool quantize_token_pieces(const WarpgroupGemmArguments& x, const TokenPieces& to,
                                                      int groups, const Team& team, const RowOf& row_of) {
  constexpr int tokens = Tiles * tokens_per_tile;
  constexpr int quads = static_cast<int>(MxBlock::k) / 4;
  const TokensArguments& a = x.gemm.a;
  const StagingPlace<Tiles> at(team);
  const Index row = row_of(at.token);
  if (row < 0) return true;
  const int first_block = to.first_group * blocks_per_group;
  const int count = min(static_cast<int>(x.gemm.b.k / MxBlock::k) - first_block, groups * blocks_per_group);
  const bool aligned = (reinterpret_cast<std::uintptr_t>(a.values) % (4 * a.value_bytes) |
                        static_cast<std::uintptr_t>(a.value_stride) % 4) == 0;
  const int column = column_of<SharedTile>(at.token, at.first);  // the same for all blocks of this thread
  bool plain = true;
#pragma unroll 1
  for (int block = at.first; block < count; block += at.step) {
    const std::uint8_t* const from =
        a.values + (row * a.value_stride + (first_block + block) * MxBlock::k) * a.value_bytes;
    std::uint32_t amax = 0;  // as integers, NaN > infinity > finite
#pragma unroll
    for (int i = 0; i < quads; ++i) {
      const float4 v = load_four(from + i * 4 * a.value_bytes, a.value_bytes, aligned);
      amax = max(max(amax, max(__float_as_uint(v.x) & 0x7FFFFFFFU, __float_as_uint(v.y) & 0x7FFFFFFFU)),
                 max(__float_as_uint(v.z) & 0x7FFFFFFFU, __float_as_uint(v.w) & 0x7FFFFFFFU));
    }
    const std::uint32_t code = scale_for_amax(amax, ScaleMode::rceil).bits;
    plain &= code - smallest_plain_scale <= largest_plain_scale - smallest_plain_scale;
    // Codes end at 247 or are NaN, so the power is a normal f32, and a product that is not is nearer to 0 than to an
    // e4m3.
    const float power = __uint_as_float((254 - min(code, 247U)) << 23);
#pragma unroll
    for (int i = 0; i < quads; ++i) {
      const float4 v = load_four(from + i * 4 * a.value_bytes, a.value_bytes, aligned);
      const std::uint32_t codes = code == E8M0::nan_bits
                                      ? 0x7F7F7F7FU
                                      : to_e4m3(make_float4(v.x * power, v.y * power, v.z * power, v.w * power));
      store_shared(to.values + ((block * 2 + i / 4) * tokens + column) * 16 + i % 4 * 4, codes);
    }
    store_shared(to.scales + (block * tokens + at.token) * 4, code << 23);
  }
  return plain;
}

/// Waits for a chunk of the tokens of the whole team. Returns whether `plain` of all its threads is true.
template <int Tiles>
__device__ __forceinline__ bool await_chunk(int chunk, const Team& team, bool plain) {
  const int left = token_chunks(Tiles) - 1 - chunk;
  if (left == 2) {
    wait_for_copies<2>();
  } else if (left == 1) {
    wait_for_copies<1>();
  } else {
    wait_for_copies<0>();
  }
  publish_to_matrix_unit();
  return meet_and(team.barrier, team.threads, plain);
}

/// Adds the sum of one block, scaled, to the sums of Tiles x 8 tokens.
/// \param scales    the tokens' scales of this block, at this lane's tokens
/// \param low,high  the weights' scales of rows g and g + 8, where an f32 has its exponent
template <int Tiles, bool Plain>
__device__ __forceinline__ void add_scaled(const float (&sum)[Tiles][4], const uint2 (&scales)[Tiles],
                                           std::uint32_t low, std::uint32_t high, float (&total)[Tiles][4]) {
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) {
    const uint2 pair = scales[tile];
    if constexpr (Plain) {
      const float even = __uint_as_float(pair.x);
      const float odd = __uint_as_float(pair.y);
      total[tile][0] += sum[tile][0] * (__uint_as_float(low) * even);
      total[tile][1] += sum[tile][1] * (__uint_as_float(low) * odd);
      total[tile][2] += sum[tile][2] * (__uint_as_float(high) * even);
      total[tile][3] += sum[tile][3] * (__uint_as_float(high) * odd);
    } else {
      total[tile][0] += scale_block_sum(sum[tile][0], low >> 23, pair.x >> 23);
      total[tile][1] += scale_block_sum(sum[tile][1], low >> 23, pair.y >> 23);
      total[tile][2] += scale_block_sum(sum[tile][2], high >> 23, pair.x >> 23);
      total[tile][3] += scale_block_sum(sum[tile][3], high >> 23, pair.y >> 23);
    }
  }
}

/// Blocks whose sums are in registers at once: as many as 128 registers a thread allow, so that 16 warps fit on an SM.
template <int Tiles>
inline constexpr int blocks_in_flight = Tiles == 4 ? 2 : 4;

/// Adds one group of four blocks to the sums of Tiles x 8 tokens, of AllTiles x 8 in shared memory. The whole warpgroup
/// calls it for the same group.
/// \param values, weight_scales  addresses of this lane's values and scales of the group
/// \param matrix, token_scales   the tokens' codes of the group, and the address of their scales at this lane's first
/// \param existing  blocks of the group that there are
template <int Tiles, int AllTiles>
__device__ __forceinline__ void add_group(std::uint32_t values, std::uint32_t weight_scales, TokenMatrix matrix,
                                          std::uint32_t token_scales, int existing, bool plain_tokens,
                                          float (&total)[Tiles][4]) {
  constexpr int in_flight = blocks_in_flight<Tiles>;
  constexpr int block_scales = AllTiles * tokens_per_tile * 4;
  const uint2 codes = load_shared_8(weight_scales);
  // The matrix instructions need the whole warp, so it decides as one.
  const bool plain = __all_sync(0xFFFFFFFFU, plain_tokens && existing >= blocks_per_group && are_plain_weights(codes));
#pragma unroll
  for (int first = 0; first < blocks_per_group; first += in_flight) {
    float sum[in_flight][Tiles][4];
    uint4 weights[in_flight];
#pragma unroll
    for (int i = 0; i < in_flight; ++i) weights[i] = load_shared_16(values + (first + i) * 512);
    fence_before_products();
#pragma unroll
    for (int i = 0; i < in_flight; ++i) wgmma_m64k32(sum[i], weights[i], matrix.block<AllTiles>(first + i));
    commit_products();
    uint2 scales[in_flight][Tiles];
#pragma unroll
    for (int i = 0; i < in_flight * Tiles; ++i) {
      scales[i / Tiles][i % Tiles] = load_shared_8(token_scales + first * block_scales + i / Tiles * block_scales +
                                                   i % Tiles * tokens_per_tile * 4);
    }
    wait_for_products<0>();
#pragma unroll
    for (int i = 0; i < in_flight; ++i) after_wait(sum[i]);
    if (plain) {
#pragma unroll
      for (int i = 0; i < in_flight; ++i) {
        add_scaled<Tiles, true>(sum[i], scales[i], exponent_of(codes.x, first + i), exponent_of(codes.y, first + i),
                                total);
      }
    } else {
#pragma unroll
      for (int i = 0; i < in_flight; ++i) {
        // A block beyond the last multiplied what stood in shared memory.
        if (first + i >= existing) continue;
        add_scaled<Tiles, false>(sum[i], scales[i], exponent_of(codes.x, first + i), exponent_of(codes.y, first + i),
                                 total);
      }
    }
  }
}

/// Zeros in place of the codes of blocks that do not exist: there stands whatever shared memory held.
__device__ __forceinline__ void clear_absent_blocks(std::uint32_t values, int existing) {
#pragma unroll 1
  for (int i = existing; i < blocks_per_group; ++i) store_shared(values + i * 512, make_uint4(0, 0, 0, 0));
}

/// Like add_group for blocks that share a tile. Lane 4 g + t adds up block t of each group: join_blocks adds these.
/// \param token_scales  address of the group's at this lane's block
__device__ __forceinline__ void add_group_of_shared_tile(std::uint32_t values, std::uint32_t weight_scales,
                                                         const TokenMatrix& matrix, std::uint32_t token_scales,
                                                         int existing, bool plain_tokens, int lane,
                                                         float (&total)[1][4]) {
  const uint2 codes = load_shared_8(weight_scales);
  if (existing < blocks_per_group) clear_absent_blocks(values, existing);
  uint4 weights[blocks_per_group];
#pragma unroll
  for (int i = 0; i < blocks_per_group; ++i) weights[i] = load_shared_16(values + i * 512);
  float sum[1][4];
  fence_before_products();
  wgmma_m64k32(sum, weights[0], matrix.block<1>(0));
#pragma unroll
  for (int i = 1; i < blocks_per_group; ++i) wgmma_m64k32_add(sum, weights[i], matrix.block<1>(i));
  commit_products();
  const uint2 scales[1] = {load_shared_8(token_scales)};
  const bool plain = __all_sync(0xFFFFFFFFU, plain_tokens && existing >= blocks_per_group && are_plain_weights(codes));
  const int block = lane % blocks_per_group;
  const std::uint32_t low = exponent_of(codes.x, block);
  const std::uint32_t high = exponent_of(codes.y, block);
  wait_for_products<0>();
  after_wait(sum);
  if (plain) {
    add_scaled<1, true>(sum, scales, low, high, total);
  } else if (block < existing) {
    add_scaled<1, false>(sum, scales, low, high, total);
  }
}

/// Adds up what the four lanes of a row have of the same tokens: in the first of them, where send looks for it.
__device__ __forceinline__ void join_blocks(float (&total)[1][4]) {
#pragma unroll
  for (int other = 1; other < blocks_per_group; other *= 2) {
#pragma unroll
    for (int i = 0; i < 4; ++i) total[0][i] += __shfl_xor_sync(0xFFFFFFFFU, total[0][i], other);
  }
}

/// Adds the groups [chunk.first, chunk.last) of a team's share, which start and end parts of the ring, to the sums of
/// Tiles x 8 tokens from `first_tile` on. The whole team calls it for the same groups.
/// \param ring     a WeightRing or a WeightStream
/// \param release  (part) gives the ring back the part that started with that group
template <int Tiles, int AllTiles, bool SharedTile, class Ring, class Release>
__device__ __forceinline__ void add_groups(const WarpgroupGemmArguments& x, const Ring& ring, const Release& release,
                                           const TokenPieces& tokens, int first_tile, bool plain_tokens,
                                           GroupRange chunk, int lane, float (&total)[Tiles][4]) {
  constexpr int matrix_bytes = blocks_per_group * 2 * AllTiles * 128;
  constexpr int scale_bytes = blocks_per_group * AllTiles * tokens_per_tile * 4;
  const int staged = chunk.first - tokens.first_group;
  TokenMatrix matrix(tokens.values + staged * matrix_bytes + first_tile * 128, AllTiles * 128);
  // This lane's: of two tokens, or of one block.
  const int own_scale = SharedTile ? lane % 4 * tokens_per_tile : first_tile * tokens_per_tile + lane % 4 * 2;
  std::uint32_t token_scales = tokens.scales + staged * scale_bytes + own_scale * 4;
  int existing = static_cast<int>(x.gemm.b.k / MxBlock::k) - chunk.first * blocks_per_group;
#pragma unroll 1
  for (int part = chunk.first; part < chunk.last; part += ring.stage_groups()) {
    const std::uint32_t stage = ring.wait();
    std::uint32_t values = stage + lane * 16;
    std::uint32_t scales = stage + ring.stage_groups() * group_value_bytes + lane / 4 * 8;
    int left = min(chunk.last - part, ring.stage_groups());
#pragma unroll 1
    do {
      if constexpr (SharedTile) {
        add_group_of_shared_tile(values, scales, matrix, token_scales, existing, plain_tokens, lane, total);
      } else {
        add_group<Tiles, AllTiles>(values, scales, matrix, token_scales, existing, plain_tokens, total);
      }
      values += group_value_bytes;
      scales += group_scale_bytes;
      matrix.advance(matrix_bytes);
      token_scales += scale_bytes;
      existing -= blocks_per_group;
    } while (--left > 0);
    release(part);
  }
}

}  // namespace millet::hopper
