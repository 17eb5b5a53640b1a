// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "millet/backends/gfx950/instructions.hpp"
#include "millet/backends/gfx950_emulated/emulator.hpp"
#include "millet/numeric/e4m3.hpp"

// The instruction vocabulary of backends/gfx950/device_instructions.hpp, for the host: same names, same calls.
// Operations of a whole wave have a last parameter that no caller gives: the place of the call.

#define MILLET_GPU inline

namespace millet::gfx950 {

MILLET_GPU int thread_id() { return gfx950_emulated::current_lane().thread; }
MILLET_GPU int lane_id() { return thread_id() % wave_lanes; }
MILLET_GPU int wave_id() { return thread_id() / wave_lanes; }
MILLET_GPU std::uint32_t group_id_x() { return static_cast<std::uint32_t>(gfx950_emulated::current_lane().group_x); }
MILLET_GPU std::uint32_t group_id_y() { return static_cast<std::uint32_t>(gfx950_emulated::current_lane().group_y); }

/// The value that all lanes share; a fault where they do not.
MILLET_GPU std::uint32_t uniform(std::uint32_t x, gfx950_emulated::Site site = gfx950_emulated::Site::current()) {
  return gfx950_emulated::wave_uniform(x, site);
}
/// Bit l is lane l's x.
MILLET_GPU std::uint64_t ballot(bool x, gfx950_emulated::Site site = gfx950_emulated::Site::current()) {
  return gfx950_emulated::wave_ballot(x, site);
}

/// Lane `lane`'s x; a fault where lanes name different ones.
MILLET_GPU std::uint32_t read_lane(std::uint32_t x, int lane,
                                   gfx950_emulated::Site site = gfx950_emulated::Site::current()) {
  const auto same = static_cast<int>(gfx950_emulated::wave_uniform(static_cast<std::uint32_t>(lane), site));
  return gfx950_emulated::wave_shuffle(x, same, site);
}

/// Memory that loads reach by a 32-bit byte offset; what starts at or reaches beyond its end reads as zero, dword by
/// dword. The part within must lie in one registered allocation when it is touched.
struct Buffer {
  const std::byte* base;
  Index bytes;

  /// Of `size` bytes at offset + uniform_offset, which do not wrap, those in whole words of `word` bytes that lie
  /// within.
  [[nodiscard]] std::size_t bytes_within(std::uint64_t at, std::size_t size, std::size_t word) const noexcept {
    const auto end = static_cast<std::uint64_t>(bytes);
    return at >= end ? 0 : std::min(size, static_cast<std::size_t>(end - at) / word * word);
  }
};
/// \param bytes  at most largest_buffer. Both parameters must be the same for all lanes.
MILLET_GPU Buffer make_buffer(const void* base, Index bytes) {
  if (bytes < 0 || bytes > largest_buffer)
    gfx950_emulated::fault("make_buffer of " + std::to_string(bytes) + " bytes, which must be 0 to 2^31 - 1");
  return {static_cast<const std::byte*>(base), bytes};
}

/// A buffer load of one T in whole words of `Word` bytes.
template <class T, std::size_t Word, Cache C>
MILLET_GPU T load_words(const Buffer& from, std::uint32_t offset, std::uint32_t uniform_offset) {
  T value{};
  const std::uint64_t at = std::uint64_t{offset} + uniform_offset;
  const std::size_t within = from.bytes_within(at, sizeof(T), Word);
  gfx950_emulated::check_load(within == 0 ? nullptr : from.base + at, within, C);
  if (within != 0) std::memcpy(&value, from.base + at, within);
  return value;
}
template <Cache C = Cache::normal>
MILLET_GPU Vec4u load_b128(const Buffer& from, std::uint32_t offset, std::uint32_t uniform_offset = 0) {
  return load_words<Vec4u, 4, C>(from, offset, uniform_offset);
}
template <Cache C = Cache::normal>
MILLET_GPU std::uint32_t load_b32(const Buffer& from, std::uint32_t offset, std::uint32_t uniform_offset = 0) {
  return load_words<std::uint32_t, 4, C>(from, offset, uniform_offset);
}
template <Cache C = Cache::normal>
MILLET_GPU std::uint32_t load_u8(const Buffer& from, std::uint32_t offset, std::uint32_t uniform_offset = 0) {
  return load_words<std::uint8_t, 1, C>(from, offset, uniform_offset);
}
/// Outside the buffer nothing is stored.
template <Cache C = Cache::normal>
MILLET_GPU void store_b128(const Buffer& to, std::uint32_t offset, Vec4u value) {
  const std::size_t within = to.bytes_within(offset, sizeof(value), 4);
  gfx950_emulated::check_store(within == 0 ? nullptr : to.base + offset, within);
  if (within != 0) std::memcpy(const_cast<std::byte*>(to.base) + offset, &value, within);
}

/// A fault where an address is not a multiple of T's alignment, which the device compiler takes for granted.
template <class T>
MILLET_GPU void check_alignment(const T* at) {
  if (reinterpret_cast<std::uintptr_t>(at) % alignof(T) != 0)
    gfx950_emulated::fault("address " + std::to_string(reinterpret_cast<std::uintptr_t>(at)) + " of a " +
                           std::to_string(sizeof(T)) + "-byte access is not a multiple of " +
                           std::to_string(alignof(T)));
}

/// Memory by its 64-bit address, aligned for T.
template <class T>
MILLET_GPU T load(const T* from) {
  static_assert(std::is_trivially_copyable_v<T>);
  check_alignment(from);
  gfx950_emulated::check_load(from, sizeof(T), Cache::normal);
  T value;
  std::memcpy(&value, static_cast<const void*>(from), sizeof(T));
  return value;
}
template <class T>
MILLET_GPU void store(T* to, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  check_alignment(to);
  gfx950_emulated::check_store(to, sizeof(T));
  std::memcpy(static_cast<void*>(to), &value, sizeof(T));
}

/// Adds and returns what was there before: one operation for the whole device.
MILLET_GPU std::uint32_t fetch_add(std::uint32_t* at, std::uint32_t x) {
  check_alignment(at);
  gfx950_emulated::check_store(at, sizeof(*at));
  return std::exchange(*at, *at + x);
}
/// A plain dword past the L2 of one die, as Cache::device.
MILLET_GPU void store_device(std::uint32_t* to, std::uint32_t value) { store(to, value); }

/// Nothing to wait for: loads and stores are done when they return.
MILLET_GPU void wait_for_memory() {}

/// All waves of the work-group; what was written to LDS before is seen after.
MILLET_GPU void barrier(gfx950_emulated::Site site = gfx950_emulated::Site::current()) {
  gfx950_emulated::group_barrier(site);
}

/// Orders the device compiler's instructions; nothing here.
MILLET_GPU void schedule_fence() {}

/// Keep the device compiler from putting work off or computing addresses ahead; nothing here.
MILLET_GPU void pin(Vec4f&) {}
MILLET_GPU void pin(Vec8u&) {}
template <class T>
MILLET_GPU T not_hoisted(T x) {
  return x;
}
MILLET_GPU int lanes_not_hoisted(int x) { return x; }
template <class... T>
MILLET_GPU void loaded_by_here(T...) {}
template <class Arguments>
MILLET_GPU Arguments reloaded(const Arguments& arguments) {
  return arguments;
}

/// Four bytes of the eight in high:low, starting at byte `shift` % 4.
MILLET_GPU std::uint32_t align_bytes(std::uint32_t high, std::uint32_t low, std::uint32_t shift) {
  return static_cast<std::uint32_t>(((std::uint64_t{high} << 32) | low) >> (8 * (shift % 4)));
}

/// Lane `lane`'s x.
MILLET_GPU std::uint32_t shuffle(std::uint32_t x, int lane,
                                 gfx950_emulated::Site site = gfx950_emulated::Site::current()) {
  return gfx950_emulated::wave_shuffle(x, lane, site);
}

/// Lane `Lane`'s x of the 16 lanes to which this one belongs.
template <int Lane>
MILLET_GPU std::uint32_t broadcast_in_group(std::uint32_t x,
                                            gfx950_emulated::Site site = gfx950_emulated::Site::current()) {
  static_assert(Lane >= 0 && Lane < mfma_rows);
  return gfx950_emulated::wave_shuffle(x, mfma_group(lane_id()) * mfma_rows + Lane, site);
}

/// x * 2^exponent, in one rounding.
MILLET_GPU float ldexp_f32(float x, int exponent) { return std::ldexp(x, exponent); }

/// Four values rounded to the nearest e4m3 codes, ties to even, in the bytes of a dword; above 464 it is NaN.
MILLET_GPU std::uint32_t convert_e4m3(float a, float b, float c, float d) {
  std::uint32_t codes = 0;
  for (const float x : {d, c, b, a}) codes = codes << 8 | E4M3::round(x, 0, Overflow::to_nan).bits;
  return codes;
}

/// The values of e4m3 codes in bytes 0 and 1 of a dword, or in bytes 2 and 3; exact. \tparam Pair  0 or 1
template <int Pair>
MILLET_GPU Vec2f decode_e4m3(std::uint32_t codes) {
  static_assert(Pair == 0 || Pair == 1);
  return Vec2f{e4m3_table.value[codes >> 16 * Pair & 0xFF], e4m3_table.value[codes >> (16 * Pair + 8) & 0xFF]};
}

/// a * b + c in one rounding.
MILLET_GPU float fma_f32(float a, float b, float c) { return std::fma(a, b, c); }

/// a * b + c of both elements, each in one rounding.
MILLET_GPU Vec2f packed_fma(Vec2f a, Vec2f b, Vec2f c) {
  return Vec2f{std::fma(+a[0], +b[0], +c[0]), std::fma(+a[1], +b[1], +c[1])};
}

/// D = first * second^T + c over 128 k, each block of 32 k times its two scales, rows of the first operand being D's
/// rows. A scale is byte `Byte` of its lane's dword: 0xFF is NaN, 0 is 2^-127. emulator.cpp says how it rounds.
template <int FirstByte, int SecondByte>
MILLET_GPU Vec4f mfma_scale_16x16x128(Vec8u first, std::uint32_t first_scale, Vec8u second, std::uint32_t second_scale,
                                      Vec4f c, gfx950_emulated::Site site = gfx950_emulated::Site::current()) {
  static_assert(FirstByte >= 0 && FirstByte < 4 && SecondByte >= 0 && SecondByte < 4);
  gfx950_emulated::wave_mfma(reinterpret_cast<const std::uint32_t*>(&first), first_scale, FirstByte,
                             reinterpret_cast<const std::uint32_t*>(&second), second_scale, SecondByte,
                             reinterpret_cast<float*>(&c), site);
  return c;
}

/// Memory of a work-group.
template <class T>
struct LdsArray {
  static_assert(std::is_trivially_copyable_v<T>);
  gfx950_emulated::LdsBlock block;

  T read(int i) const {
    T value;
    std::memcpy(&value, gfx950_emulated::lds_for_read(block, i, sizeof(T)), sizeof(T));
    return value;
  }
  void write(int i, T value) const {
    std::memcpy(gfx950_emulated::lds_for_write(block, i, sizeof(T)), &value, sizeof(T));
  }
};

/// What MILLET_LDS calls: the n-th call of every lane gives the same memory.
template <class T>
MILLET_GPU LdsArray<T> declare_lds(int count, gfx950_emulated::Site site = gfx950_emulated::Site::current()) {
  return {gfx950_emulated::declare_lds(sizeof(T), alignof(T), count, site)};
}

}  // namespace millet::gfx950

/// Declares `name`, an LdsArray of `count` elements that the work-group shares, at the start of a kernel's body.
#define MILLET_LDS(type, count, name) \
  const ::millet::gfx950::LdsArray<type> name = ::millet::gfx950::declare_lds<type>(count)
