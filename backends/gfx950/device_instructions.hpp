// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/backends/gfx950/instructions.hpp"

// The instruction vocabulary as compiler builtins, for clang's amdgcn target without any ROCm header.
// Cache bits: LLVM AMDGPU usage guide, "memory model gfx942" (gfx950 is the same): bit 0 sc0, bit 1 nt, bit 4 sc1.

#define MILLET_GPU __device__ inline __attribute__((always_inline))

namespace millet::gfx950 {

MILLET_GPU int thread_id() { return static_cast<int>(__builtin_amdgcn_workitem_id_x()); }
MILLET_GPU int lane_id() { return thread_id() % wave_lanes; }
/// Scalar: the same for all lanes, and the compiler knows it.
MILLET_GPU int wave_id() { return __builtin_amdgcn_readfirstlane(thread_id() / wave_lanes); }
MILLET_GPU std::uint32_t group_id_x() { return __builtin_amdgcn_workgroup_id_x(); }
MILLET_GPU std::uint32_t group_id_y() { return __builtin_amdgcn_workgroup_id_y(); }

/// The first lane's value in a scalar register; call it only with a value that all lanes share.
MILLET_GPU std::uint32_t uniform(std::uint32_t x) { return __builtin_amdgcn_readfirstlane(x); }
MILLET_GPU std::uint64_t ballot(bool x) { return __builtin_amdgcn_ballot_w64(x); }

/// Lane `lane`'s x in a scalar register; `lane` must be the same for all lanes.
MILLET_GPU std::uint32_t read_lane(std::uint32_t x, int lane) {
  return static_cast<std::uint32_t>(__builtin_amdgcn_readlane(static_cast<int>(x), lane));
}

/// Memory that loads reach by a 32-bit byte offset; what starts at or reaches beyond its end reads as zero, dword by
/// dword.
struct Buffer {
  __amdgpu_buffer_rsrc_t resource;
};
/// \param bytes  at most largest_buffer. Both parameters must be the same for all lanes.
MILLET_GPU Buffer make_buffer(const void* base, Index bytes) {
  constexpr int raw_32_bit_data = 0x00027000;  // dword 3 of a gfx9 resource: untyped, out-of-range by byte offset
  return {__builtin_amdgcn_make_buffer_rsrc(const_cast<void*>(base), 0, static_cast<int>(bytes), raw_32_bit_data)};
}

template <Cache C>
inline constexpr int cache_bits = C == Cache::streaming ? 2
                                  : C == Cache::device  ? 16
                                                        : 0;

template <Cache C = Cache::normal>
MILLET_GPU Vec4u load_b128(const Buffer& from, std::uint32_t offset, std::uint32_t uniform_offset = 0) {
  return __builtin_amdgcn_raw_buffer_load_b128(from.resource, static_cast<int>(offset),
                                               static_cast<int>(uniform_offset), cache_bits<C>);
}
template <Cache C = Cache::normal>
MILLET_GPU std::uint32_t load_b32(const Buffer& from, std::uint32_t offset, std::uint32_t uniform_offset = 0) {
  return __builtin_amdgcn_raw_buffer_load_b32(from.resource, static_cast<int>(offset), static_cast<int>(uniform_offset),
                                              cache_bits<C>);
}
template <Cache C = Cache::normal>
MILLET_GPU std::uint32_t load_u8(const Buffer& from, std::uint32_t offset, std::uint32_t uniform_offset = 0) {
  return __builtin_amdgcn_raw_buffer_load_b8(from.resource, static_cast<int>(offset), static_cast<int>(uniform_offset),
                                             cache_bits<C>);
}
/// Outside the buffer nothing is stored.
template <Cache C = Cache::normal>
MILLET_GPU void store_b128(const Buffer& to, std::uint32_t offset, Vec4u value) {
  __builtin_amdgcn_raw_buffer_store_b128(value, to.resource, static_cast<int>(offset), 0, cache_bits<C>);
}

/// Memory of the device, said so: of a pointer that was itself loaded the compiler cannot know it, and a flat access
/// also counts as one of LDS.
template <class T>
using Global = __attribute__((address_space(1))) T;
/// An integer, or four, as long as a T, since objects have no copies in other address spaces.
template <class T>
using Bits = std::conditional_t<
    sizeof(T) == 2, std::uint16_t,
    std::conditional_t<sizeof(T) == 4, std::uint32_t, std::conditional_t<sizeof(T) == 8, std::uint64_t, Vec4u>>>;

/// Memory by its 64-bit address.
template <class T>
MILLET_GPU T load(const T* from) {
  return __builtin_bit_cast(T, *(const Global<Bits<T>>*)from);
}
template <class T>
MILLET_GPU void store(T* to, T value) {
  *(Global<Bits<T>>*)to = __builtin_bit_cast(Bits<T>, value);
}

/// Adds and returns what was there before: one operation for the whole device.
MILLET_GPU std::uint32_t fetch_add(std::uint32_t* at, std::uint32_t x) {
  return __hip_atomic_fetch_add((Global<std::uint32_t>*)at, x, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
}
/// A plain dword past the L2 of one die, as Cache::device.
MILLET_GPU void store_device(std::uint32_t* to, std::uint32_t value) {
  __hip_atomic_store((Global<std::uint32_t>*)to, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
}

/// Waits until this wave's loads have come and its stores have reached the point where the device sees them.
MILLET_GPU void wait_for_memory() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_waitcnt(0);
  asm volatile("" ::: "memory");
}

/// All waves of the work-group; what was written to LDS before is seen after.
MILLET_GPU void barrier() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}

/// The compiler moves no instruction across: all loads above are issued before the first use below.
MILLET_GPU void schedule_fence() { __builtin_amdgcn_sched_barrier(0); }

/// What x depends on is computed before the next pin or fence, not put off to where x is used.
MILLET_GPU void pin(Vec4f& x) { asm volatile("" : "+v"(x)); }
/// What depends on x is computed after this, not before a loop around it.
MILLET_GPU void pin(Vec8u& x) { asm volatile("" : "+v"(x)); }

/// x, from which the compiler computes addresses anew here instead of keeping them in registers around a loop.
MILLET_GPU std::uint32_t not_hoisted(std::uint32_t x) {
  asm volatile("" : "+s"(x));
  return x;
}

template <class T>
MILLET_GPU const T* not_hoisted(const T* x) {
  asm volatile("" : "+s"(x));
  return x;
}
/// The same of a value that differs from lane to lane.
MILLET_GPU int lanes_not_hoisted(int x) {
  asm volatile("" : "+v"(x));
  return x;
}

/// Scalar kernel arguments that are loaded together by here, instead of in rounds, each where it is first used.
template <class... T>
MILLET_GPU void loaded_by_here(T... arguments) {
  ([](auto argument) { asm volatile("" : : "s"(argument)); }(arguments), ...);
}

/// `arguments`, which are the kernel's, loaded anew by whoever uses them behind this, instead of kept in scalar
/// registers from the start.
template <class Arguments>
MILLET_GPU Arguments reloaded(const Arguments&) {
  // In the constant address space, so that these stay scalar loads.
  using Words = const __attribute__((address_space(4))) std::uint32_t*;
  auto from = (Words)__builtin_amdgcn_kernarg_segment_ptr();
  asm volatile("" : "+s"(from));
  struct {
    std::uint32_t word[sizeof(Arguments) / 4];
  } copy;
  for (std::size_t i = 0; i < sizeof(Arguments) / 4; ++i) copy.word[i] = from[i];
  return __builtin_bit_cast(Arguments, copy);
}

/// Four bytes of the eight in high:low, starting at byte `shift` % 4.
MILLET_GPU std::uint32_t align_bytes(std::uint32_t high, std::uint32_t low, std::uint32_t shift) {
  return __builtin_amdgcn_alignbyte(high, low, shift);
}

/// Lane `lane`'s x.
MILLET_GPU std::uint32_t shuffle(std::uint32_t x, int lane) {
  return static_cast<std::uint32_t>(__builtin_amdgcn_ds_bpermute(lane * 4, static_cast<int>(x)));
}

/// Lane `Lane`'s x of the 16 lanes to which this one belongs: on the vector units, without LDS.
template <int Lane>
MILLET_GPU std::uint32_t broadcast_in_group(std::uint32_t x) {
  constexpr int row_newbcast = 0x150;  // of lane 0; rows of 16 lanes
  constexpr int all = 0xF;
  return static_cast<std::uint32_t>(__builtin_amdgcn_mov_dpp(static_cast<int>(x), row_newbcast + Lane, all, all, true));
}

/// x * 2^exponent, in one rounding.
MILLET_GPU float ldexp_f32(float x, int exponent) { return __builtin_ldexpf(x, exponent); }

/// Four values rounded to the nearest e4m3 codes, ties to even, in the bytes of a dword; a above 464 would be NaN.
MILLET_GPU std::uint32_t convert_e4m3(float a, float b, float c, float d) {
  const int low = __builtin_amdgcn_cvt_pk_fp8_f32(a, b, 0, false);
  return static_cast<std::uint32_t>(__builtin_amdgcn_cvt_pk_fp8_f32(c, d, low, true));
}

/// The values of e4m3 codes in bytes 0 and 1 of a dword, or in bytes 2 and 3; exact. \tparam Pair  0 or 1
template <int Pair>
MILLET_GPU Vec2f decode_e4m3(std::uint32_t codes) {
  return __builtin_amdgcn_cvt_pk_f32_fp8(static_cast<int>(codes), Pair != 0);
}

/// a * b + c in one rounding.
MILLET_GPU float fma_f32(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

/// a * b + c of both elements, each in one rounding.
MILLET_GPU Vec2f packed_fma(Vec2f a, Vec2f b, Vec2f c) { return __builtin_elementwise_fma(a, b, c); }

/// D = first * second^T + c over 128 k, each block of 32 k times its two scales, rows of the first operand being D's
/// rows. A scale is byte `Byte` of its lane's dword: 0xFF is NaN, 0 is 2^-127. The scales must not be constants, which
/// the compiler would fold into the unscaled instruction.
template <int FirstByte, int SecondByte>
MILLET_GPU Vec4f mfma_scale_16x16x128(Vec8u first, std::uint32_t first_scale, Vec8u second, std::uint32_t second_scale,
                                      Vec4f c) {
  constexpr int e4m3 = 0;
  using Vec8i = int __attribute__((ext_vector_type(8)));
  return __builtin_amdgcn_mfma_scale_f32_16x16x128_f8f6f4(
      __builtin_bit_cast(Vec8i, first), __builtin_bit_cast(Vec8i, second), c, e4m3, e4m3, FirstByte,
      static_cast<int>(first_scale), SecondByte, static_cast<int>(second_scale));
}

/// Memory of a work-group.
template <class T>
struct LdsArray {
  T* data;
  MILLET_GPU T read(int i) const { return data[i]; }
  MILLET_GPU void write(int i, T value) const { data[i] = value; }
};

}  // namespace millet::gfx950

/// Declares `name`, an LdsArray of `count` elements that the work-group shares, at the start of a kernel's body.
#define MILLET_LDS(type, count, name)    \
  __shared__ type name##_storage[count]; \
  const ::millet::gfx950::LdsArray<type> name { name##_storage }
