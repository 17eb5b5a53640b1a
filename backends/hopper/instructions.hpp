// SPDX-License-Identifier: Apache-2.0
#pragma once

// The machine's instructions that the compiler has no name for, and the lane maps of the matrix instruction.
// Source: PTX ISA 9.0, sections on cvt, mma, wgmma and ld. Device code only.

#include <cuda_fp16.h>

#include <cstdint>

namespace millet::hopper {

/// The address that instructions on shared memory take.
__device__ __forceinline__ std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

/// Four e4m3 codes to two pairs of f16, exactly: every finite e4m3 value is an f16 value, and NaN stays NaN.
struct HalfPairs {
  std::uint32_t low;   ///< codes 0 and 1
  std::uint32_t high;  ///< codes 2 and 3
};
__device__ __forceinline__ HalfPairs to_half_pairs(std::uint32_t codes) {
  HalfPairs pairs;
  asm("{\n"
      ".reg .b16 low, high;\n"
      "mov.b32 {low, high}, %2;\n"
      "cvt.rn.f16x2.e4m3x2 %0, low;\n"
      "cvt.rn.f16x2.e4m3x2 %1, high;\n"
      "}\n"
      : "=r"(pairs.low), "=r"(pairs.high)
      : "r"(codes));
  return pairs;
}

/// Four values to e4m3, each rounded once to nearest even; beyond +-448 they saturate.
__device__ __forceinline__ std::uint32_t to_e4m3(float4 values) {
  std::uint32_t codes;
  asm("{\n"
      ".reg .b16 low, high;\n"
      "cvt.rn.satfinite.e4m3x2.f32 low, %2, %1;\n"
      "cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\n"
      "mov.b32 %0, {low, high};\n"
      "}\n"
      : "=r"(codes)
      : "f"(values.x), "f"(values.y), "f"(values.z), "f"(values.w));
  return codes;
}

/// D += A B for A [16 x 16], B [16 x 8] in f16, D in f32. Lane l = 4 g + t holds
///   A: a0 = row g, columns 2t and 2t+1; a1 = row g+8, the same; a2 = row g, columns 2t+8 and 2t+9; a3 = row g+8, those
///   B: b0 = rows 2t and 2t+1 of column g; b1 = rows 2t+8 and 2t+9 of column g
///   D: d0, d1 = row g, columns 2t and 2t+1; d2, d3 = row g+8, the same.
/// Products are exact; the width of the sum is what the accumulator probe measures.
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                                             std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// D = A B for A [64 x 32] and B [32 x 8 tiles] in e4m3, D in f32, with a whole warpgroup: four warps, 16 rows each. It
/// runs on while the program goes on, until wait_for_products. Lane l = 4 g + t of a warp holds
///   A: x = row g, columns 4t to 4t+3; y = row g+8, the same; z and w: columns 16+4t to 16+4t+3 of these rows
///   D: d[i][0], d[i][1] = row g, columns 8i+2t and 8i+2t+1; d[i][2], d[i][3] = row g+8, the same.
/// B stands in shared memory as token_matrix says. The sum's width is what the accumulator probe measures.
__device__ __forceinline__ void wgmma_m64k32(float (&d)[1][4], uint4 a, std::uint64_t tokens) {
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, %8, add, 1, 1;\n}\n"
      : "=f"(d[0][0]), "=f"(d[0][1]), "=f"(d[0][2]), "=f"(d[0][3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(tokens));
}
/// D += A B, of one tile.
__device__ __forceinline__ void wgmma_m64k32_add(float (&d)[1][4], uint4 a, std::uint64_t tokens) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, %8, 1, 1, 1;\n"
      : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(tokens));
}
__device__ __forceinline__ void wgmma_m64k32(float (&d)[2][4], uint4 a, std::uint64_t tokens) {
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n16k32.f32.e4m3.e4m3 {%0, %1, %2, %3, %4, %5, %6, %7}, "
      "{%8, %9, %10, %11}, %12, add, 1, 1;\n}\n"
      : "=f"(d[0][0]), "=f"(d[0][1]), "=f"(d[0][2]), "=f"(d[0][3]), "=f"(d[1][0]), "=f"(d[1][1]), "=f"(d[1][2]),
        "=f"(d[1][3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(tokens));
}
__device__ __forceinline__ void wgmma_m64k32(float (&d)[4][4], uint4 a, std::uint64_t tokens) {
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k32.f32.e4m3.e4m3 {%0, %1, %2, %3, %4, %5, %6, %7, "
      "%8, %9, %10, %11, %12, %13, %14, %15}, "
      "{%16, %17, %18, %19}, %20, add, 1, 1;\n}\n"
      : "=f"(d[0][0]), "=f"(d[0][1]), "=f"(d[0][2]), "=f"(d[0][3]), "=f"(d[1][0]), "=f"(d[1][1]), "=f"(d[1][2]),
        "=f"(d[1][3]), "=f"(d[2][0]), "=f"(d[2][1]), "=f"(d[2][2]), "=f"(d[2][3]), "=f"(d[3][0]), "=f"(d[3][1]),
        "=f"(d[3][2]), "=f"(d[3][3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(tokens));
}
__device__ __forceinline__ void wgmma_m64k32(float (&d)[8][4], uint4 a, std::uint64_t tokens) {
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3 {%0, %1, %2, %3, %4, %5, %6, %7, "
      "%8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, add, 1, 1;\n}\n"
      : "=f"(d[0][0]), "=f"(d[0][1]), "=f"(d[0][2]), "=f"(d[0][3]), "=f"(d[1][0]), "=f"(d[1][1]), "=f"(d[1][2]),
        "=f"(d[1][3]), "=f"(d[2][0]), "=f"(d[2][1]), "=f"(d[2][2]), "=f"(d[2][3]), "=f"(d[3][0]), "=f"(d[3][1]),
        "=f"(d[3][2]), "=f"(d[3][3]), "=f"(d[4][0]), "=f"(d[4][1]), "=f"(d[4][2]), "=f"(d[4][3]), "=f"(d[5][0]),
        "=f"(d[5][1]), "=f"(d[5][2]), "=f"(d[5][3]), "=f"(d[6][0]), "=f"(d[6][1]), "=f"(d[6][2]), "=f"(d[6][3]),
        "=f"(d[7][0]), "=f"(d[7][1]), "=f"(d[7][2]), "=f"(d[7][3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(tokens));
}

/// D += A B for A [64 x 16] and B [16 x 8 tiles] in f16, D in f32, like wgmma_m64k32. Lane l = 4 g + t of a warp holds
///   A: a[0] = row g, columns 2t and 2t+1; a[1] = row g+8, the same; a[2] = row g, columns 2t+8 and 2t+9; a[3] = row
///   g+8, those.
__device__ __forceinline__ void wgmma_m64k16(float (&d)[1][4], const std::uint32_t (&a)[4], std::uint64_t tokens) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, %8, 1, 1, 1, 0;\n"
      : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(tokens));
}
__device__ __forceinline__ void wgmma_m64k16(float (&d)[2][4], const std::uint32_t (&a)[4], std::uint64_t tokens) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16 {%0, %1, %2, %3, %4, %5, %6, %7}, "
      "{%8, %9, %10, %11}, %12, 1, 1, 1, 0;\n"
      : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]), "+f"(d[1][0]), "+f"(d[1][1]), "+f"(d[1][2]),
        "+f"(d[1][3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(tokens));
}
__device__ __forceinline__ void wgmma_m64k16(float (&d)[4][4], const std::uint32_t (&a)[4], std::uint64_t tokens) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, "
      "%14, %15}, "
      "{%16, %17, %18, %19}, %20, 1, 1, 1, 0;\n"
      : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]), "+f"(d[1][0]), "+f"(d[1][1]), "+f"(d[1][2]),
        "+f"(d[1][3]), "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]), "+f"(d[3][0]), "+f"(d[3][1]),
        "+f"(d[3][2]), "+f"(d[3][3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(tokens));
}
__device__ __forceinline__ void wgmma_m64k16(float (&d)[8][4], const std::uint32_t (&a)[4], std::uint64_t tokens) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, "
      "%14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, 1, 1, 1, 0;\n"
      : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]), "+f"(d[1][0]), "+f"(d[1][1]), "+f"(d[1][2]),
        "+f"(d[1][3]), "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]), "+f"(d[3][0]), "+f"(d[3][1]),
        "+f"(d[3][2]), "+f"(d[3][3]), "+f"(d[4][0]), "+f"(d[4][1]), "+f"(d[4][2]), "+f"(d[4][3]), "+f"(d[5][0]),
        "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]), "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]),
        "+f"(d[7][0]), "+f"(d[7][1]), "+f"(d[7][2]), "+f"(d[7][3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(tokens));
}

/// Before the first of a run of products: what registers and shared memory hold is visible to them.
__device__ __forceinline__ void fence_before_products() { asm volatile("wgmma.fence.sync.aligned;\n"); }
/// Closes a group of products, for wait_for_products.
__device__ __forceinline__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;\n"); }
/// Waits until at most `Left` of the latest groups are still running.
template <int Left>
__device__ __forceinline__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" : : "n"(Left));
}
/// Keeps the compiler from using sums before the wait that stands above it.
template <int Tiles>
__device__ __forceinline__ void after_wait(float (&d)[Tiles][4]) {
#pragma unroll
  for (int i = 0; i < Tiles; ++i) asm volatile("" : "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3]));
}

/// Makes this thread's writes to shared memory visible to the matrix unit; a barrier must follow.
__device__ __forceinline__ void publish_to_matrix_unit() {
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

/// A right operand in shared memory, k x tokens without swizzle: pieces of 8 tokens by 16 k of 128 bytes, one token's
/// 16 codes after the other, those of the next 8 tokens behind them.
class TokenMatrix {
 public:
  /// \param shared  address, a multiple of 16; \param k_distance  bytes from a piece to that of the next 16 k
  __device__ TokenMatrix(std::uint32_t shared, int k_distance)
      : low_((shared & 0x3FFFFU) >> 4 | static_cast<std::uint32_t>(k_distance) >> 4 << 16) {}
  __device__ void advance(int bytes) { low_ += static_cast<std::uint32_t>(bytes) >> 4; }
  /// The descriptor of a block of 32 k.
  template <int Tiles>
  [[nodiscard]] __device__ std::uint64_t block(int i) const {
    constexpr std::uint64_t token_distance = 128 >> 4;
    return token_distance << 32 | (low_ + static_cast<std::uint32_t>(i * 2 * Tiles * 128 >> 4));
  }

 private:
  std::uint32_t low_;
};

/// A right operand of f16 in shared memory, k x tokens in the 128-byte swizzle: tiles of 8 tokens by 64 k of 1024
/// bytes, those of the next 8 tokens behind them, then the next 64 k. Token r has 128 bytes, eight pieces of 8 k; piece
/// i stands at place i ^ r.
template <int Tiles>
class SwizzledMatrix {
 public:
  static constexpr int tile_bytes = 1024;
  static constexpr int k64_bytes = Tiles * tile_bytes;

  /// \param shared  address, a multiple of 1024
  __device__ explicit SwizzledMatrix(std::uint32_t shared) : low_((shared & 0x3FFFFU) >> 4 | 1U << 16) {}
  /// By 64 k.
  __device__ void advance(int count) { low_ += static_cast<std::uint32_t>(count * k64_bytes) >> 4; }
  /// The descriptor of the i-th 16 k.
  [[nodiscard]] __device__ std::uint64_t block(int i) const {
    constexpr std::uint64_t high = std::uint64_t{tile_bytes >> 4} << 32 | std::uint64_t{1} << 62;
    return high | (low_ + static_cast<std::uint32_t>(i / 4 * k64_bytes + i % 4 * 32) / 16);
  }

 private:
  std::uint32_t low_;
};

__device__ __forceinline__ void store_shared(std::uint32_t to, std::uint8_t value) {
  asm volatile("st.shared.u8 [%0], %1;\n" : : "r"(to), "r"(std::uint32_t{value}) : "memory");
}
__device__ __forceinline__ void store_shared(std::uint32_t to, std::uint32_t value) {
  asm volatile("st.shared.u32 [%0], %1;\n" : : "r"(to), "r"(value) : "memory");
}
__device__ __forceinline__ void store_shared(std::uint32_t to, uint4 value) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};\n"
               :
               : "r"(to), "r"(value.x), "r"(value.y), "r"(value.z), "r"(value.w)
               : "memory");
}
__device__ __forceinline__ void store_shared(std::uint32_t to, float2 values) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};\n" : : "r"(to), "f"(values.x), "f"(values.y) : "memory");
}
__device__ __forceinline__ void store_shared(std::uint32_t to, float4 values) {
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};\n"
               :
               : "r"(to), "f"(values.x), "f"(values.y), "f"(values.z), "f"(values.w)
               : "memory");
}
/// Loads from an address of shared memory, which the compiler may move as it may any other load.
__device__ __forceinline__ float load_shared_4(std::uint32_t from) {
  return *static_cast<const float*>(__cvta_shared_to_generic(from));
}
__device__ __forceinline__ float4 load_shared_four(std::uint32_t from) {
  return *static_cast<const float4*>(__cvta_shared_to_generic(from));
}
__device__ __forceinline__ std::uint32_t load_shared_byte(std::uint32_t from) {
  return *static_cast<const std::uint8_t*>(__cvta_shared_to_generic(from));
}
__device__ __forceinline__ std::uint32_t load_shared_half(std::uint32_t from) {
  return *static_cast<const std::uint16_t*>(__cvta_shared_to_generic(from));
}
__device__ __forceinline__ std::uint32_t load_shared_word(std::uint32_t from) {
  return *static_cast<const std::uint32_t*>(__cvta_shared_to_generic(from));
}
__device__ __forceinline__ uint2 load_shared_8(std::uint32_t from) {
  return *static_cast<const uint2*>(__cvta_shared_to_generic(from));
}
__device__ __forceinline__ uint4 load_shared_16(std::uint32_t from) {
  return *static_cast<const uint4*>(__cvta_shared_to_generic(from));
}

/// A barrier of the first `threads` that come to it, whole warps, and whether all of them came with true.
__device__ __forceinline__ bool meet_and(int barrier, int threads, bool value) {
  std::uint32_t all;
  asm volatile(
      "{\n"
      ".reg .pred mine, every;\n"
      "setp.ne.u32 mine, %3, 0;\n"
      "barrier.cta.red.and.pred every, %1, %2, mine;\n"
      "selp.u32 %0, 1, 0, every;\n"
      "}\n"
      : "=r"(all)
      : "r"(barrier), "r"(threads), "r"(std::uint32_t{value})
      : "memory");
  return all != 0;
}
__device__ __forceinline__ void meet(int barrier, int threads) {
  asm volatile("barrier.cta.sync %0, %1;\n" : : "r"(barrier), "r"(threads) : "memory");
}

/// A barrier of all threads of a block, before what its `teams` have stored is read. For the machine one is enough; but
/// where teams have met at their own barriers a different number of times since the last one, compute-sanitizer's
/// racecheck (2025.3.1) reports a race unless a second follows (docs/performance/hopper.md, "Sanitizers").
__device__ __forceinline__ void meet_all(int teams) {
  __syncthreads();
  if (teams > 1) __syncthreads();
}

/// 16 bytes that this call reads once: past L1, and 256 bytes a request into L2.
__device__ __forceinline__ uint4 load_streaming(const uint4* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

/// Copies 16 bytes to shared memory without passing registers; both addresses are multiples of 16.
__device__ __forceinline__ void copy_async(std::uint32_t to_shared, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" : : "r"(to_shared), "l"(from) : "memory");
}
/// Like it, at constant distances from both addresses: copies that share registers need not wait for each other.
template <int ToShared, int From>
__device__ __forceinline__ void copy_async(std::uint32_t to_shared, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0 + %2], [%1 + %3], 16;\n"
               :
               : "r"(to_shared), "l"(from), "n"(ToShared), "n"(From)
               : "memory");
}
/// The same for 4 bytes.
template <int ToShared, int From>
__device__ __forceinline__ void copy_async_word(std::uint32_t to_shared, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0 + %2], [%1 + %3], 4;\n"
               :
               : "r"(to_shared), "l"(from), "n"(ToShared), "n"(From)
               : "memory");
}
/// Waits for this thread's copies; a barrier must follow before others read them.
__device__ __forceinline__ void wait_for_copies() { asm volatile("cp.async.wait_all;\n" ::: "memory"); }
/// Closes a group of this thread's copies; waits until at most `Left` of the latest groups are under way.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
template <int Left>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;\n" : : "n"(Left) : "memory");
}

/// Under programmatic dependent launch: waits until the kernel before this one has ended and its writes are visible;
/// and lets the one after this start as soon as SMs are free. Without it, neither does anything.
__device__ __forceinline__ void wait_for_preceding_kernel() { asm volatile("griddepcontrol.wait;\n" ::: "memory"); }
__device__ __forceinline__ void let_next_kernel_start() {
  asm volatile("griddepcontrol.launch_dependents;\n" ::: "memory");
}

/// A barrier in shared memory that completes a phase when `arrivals` threads have arrived and all bytes that they
/// announced have been written. Phases count 0, 1, 0, 1 and so on.
__device__ __forceinline__ void initialize_barrier(std::uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;\n" : : "r"(barrier), "r"(arrivals) : "memory");
}
/// Makes initialized barriers visible to the copy engine and, once they have met at a barrier, to the cluster.
__device__ __forceinline__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;\n" ::: "memory");
}
/// Arrives, and announces bytes.
__device__ __forceinline__ void expect_bytes(std::uint32_t barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;\n" : : "r"(barrier), "r"(bytes) : "memory");
}
__device__ __forceinline__ void wait_for_phase(std::uint32_t barrier, std::uint32_t phase) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}\n"
      :
      : "r"(barrier), "r"(phase)
      : "memory");
}

/// Copies `bytes`, a multiple of 16, to shared memory without a thread waiting, and reports them to the barrier. Both
/// addresses are multiples of 16. They are read once: first to leave the L2.
__device__ __forceinline__ void copy_bulk(std::uint32_t to_shared, const void* from, int bytes, std::uint32_t barrier) {
  asm volatile(
      "{\n"
      ".reg .b64 once;\n"
      "createpolicy.fractional.L2::evict_first.b64 once, 1.0;\n"
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], once;\n"
      "}\n"
      :
      : "r"(to_shared), "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
}

/// Likewise a box of a matrix that the host has described, from column x and row y on; zeros where it has none.
/// \param to_shared  a multiple of 1024 for boxes in the 128-byte swizzle
__device__ __forceinline__ void copy_box(std::uint32_t to_shared, const void* matrix, int x, int y,
                                         std::uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];\n"
      :
      : "r"(to_shared), "l"(matrix), "r"(x), "r"(y), "r"(barrier)
      : "memory");
}
/// Starts to fetch that description.
__device__ __forceinline__ void prefetch_matrix(const void* matrix) {
  asm volatile("prefetch.tensormap [%0];\n" : : "l"(matrix) : "memory");
}

/// The two halves of a barrier of the cluster; what was written before is visible after it only as far as a fence says
/// so (publish_barriers).
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\n" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;\n" ::: "memory"); }

/// Writes to the shared memory of block `rank` of the cluster, at the address that `here` has in this block's, a
/// multiple of the bytes written, and reports these to that block's barrier.
__device__ __forceinline__ void send_to_rank(std::uint32_t here, int rank, float2 values, std::uint32_t barrier) {
  asm volatile(
      "{\n"
      ".reg .b32 data, done;\n"
      "mapa.shared::cluster.u32 data, %0, %2;\n"
      "mapa.shared::cluster.u32 done, %1, %2;\n"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [data], {%3, %4}, [done];\n"
      "}\n"
      :
      : "r"(here), "r"(barrier), "r"(rank), "f"(values.x), "f"(values.y)
      : "memory");
}
__device__ __forceinline__ void send_to_rank(std::uint32_t here, int rank, float4 values, std::uint32_t barrier) {
  asm volatile(
      "{\n"
      ".reg .b32 data, done;\n"
      "mapa.shared::cluster.u32 data, %0, %2;\n"
      "mapa.shared::cluster.u32 done, %1, %2;\n"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [data], {%3, %4, %5, %6}, [done];\n"
      "}\n"
      :
      : "r"(here), "r"(barrier), "r"(rank), "f"(values.x), "f"(values.y), "f"(values.z), "f"(values.w)
      : "memory");
}

}  // namespace millet::hopper
