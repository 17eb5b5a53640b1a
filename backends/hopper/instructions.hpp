// SPDX-License-Identifier: Apache-2.0
#pragma once

// The machine's instructions that the compiler has no name for, and the lane maps of the matrix instruction.
// Source: PTX ISA 9.0, sections on cvt, mma and ld. Device code only.

#include <cuda_fp16.h>

#include <cstdint>

namespace millet::hopper {

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

/// 16 bytes that this call reads once: past L1, and 256 bytes a request into L2.
__device__ __forceinline__ uint4 load_streaming(const uint4* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

/// Copies 16 bytes to shared memory without passing registers; both addresses are multiples of 16.
__device__ __forceinline__ void copy_async(void* to_shared, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n"
               :
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(to_shared))), "l"(from)
               : "memory");
}
/// Waits for this thread's copies; a barrier must follow before others read them.
__device__ __forceinline__ void wait_for_copies() { asm volatile("cp.async.wait_all;\n" ::: "memory"); }

/// Under programmatic dependent launch: waits until the kernel before this one has ended and its writes are visible;
/// and lets the one after this start as soon as SMs are free. Without it, neither does anything.
__device__ __forceinline__ void wait_for_preceding_kernel() { asm volatile("griddepcontrol.wait;\n" ::: "memory"); }
__device__ __forceinline__ void let_next_kernel_start() {
  asm volatile("griddepcontrol.launch_dependents;\n" ::: "memory");
}

/// The two halves of a barrier of the cluster; what was written before arriving is visible after waiting.
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;\n" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;\n" ::: "memory"); }

/// Writes to the shared memory of block `rank` of the cluster, at the address that `here` has in this block's.
__device__ __forceinline__ void store_to_rank(float* here, int rank, float value) {
  std::uint32_t remote;
  asm("mapa.shared::cluster.u32 %0, %1, %2;\n"
      : "=r"(remote)
      : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(here))), "r"(rank));
  asm volatile("st.shared::cluster.f32 [%0], %1;\n" : : "r"(remote), "f"(value) : "memory");
}

}  // namespace millet::hopper
