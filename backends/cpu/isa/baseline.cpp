// SPDX-License-Identifier: Apache-2.0
// Any processor: vectors of 4 f32 that the compiler maps to what there is (SSE2, NEON), or to scalars.
#include "millet/backends/cpu/tiles/strip_kernels.hpp"

namespace millet::cpu {

namespace {

struct Baseline {
  static constexpr int W = 4;
  static constexpr int accumulators = 8;
  static constexpr int tile_rows = 3;
  static constexpr int tile_strips = 1;
  static constexpr int strips_at_once(int m) noexcept { return m == 1 ? 2 : 1; }

  typedef float Float __attribute__((vector_size(16)));
  typedef std::int32_t Int __attribute__((vector_size(16)));
  typedef std::uint32_t Codes __attribute__((vector_size(16)));
  typedef std::int16_t Half __attribute__((vector_size(16)));
  typedef std::uint8_t Byte __attribute__((vector_size(16)));

  static MILLET_INLINE Codes load_codes(const std::uint8_t* p) noexcept {
    Codes codes;
    __builtin_memcpy(&codes, p, sizeof(codes));
    return codes;
  }

  // Two codes a shift, in 16-bit lanes; the arithmetic shift copies the sign above the exponent, and the mask leaves
  // its first copy.
  template <int Pair>
  static MILLET_INLINE void decode_normal(Codes codes, Float (&w)[2]) noexcept {
    constexpr std::uint32_t mask = 0x87F00000U;
    const auto halves = reinterpret_cast<Half>(codes);
    const auto both = reinterpret_cast<Codes>((Pair == 0 ? halves << 8 : halves) >> 4);
    w[0] = reinterpret_cast<Float>((both << 16) & mask);
    w[1] = reinterpret_cast<Float>(both & mask);
  }

  // A subnormal's exponent field counts a power of two too little, and an implicit one too much: twice the value less
  // the smallest normal is right there, and larger than the value elsewhere.
  template <int Pair>
  static MILLET_INLINE void decode_exact(Codes codes, Float (&w)[2]) noexcept {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const Int code = reinterpret_cast<Int>(codes >> (8 * (Pair + 2 * j))) & 0xFF;
      const auto normal =
          reinterpret_cast<Float>(((code & 0x7F) << 20) + ((exact_weight_exponent - weight_exponent) << 23));
      const Float subnormal = normal + normal - smallest_exact_normal;
      const auto finite = reinterpret_cast<Int>(normal < subnormal ? normal : subnormal);
      w[j] = reinterpret_cast<Float>(finite | ((code & 0x80) << 24));
    }
  }

  /// Twice a code drops its sign; then NaN is the largest byte.
  struct NanScan {
    Byte largest{};

    MILLET_INLINE void add(Codes codes) noexcept {
      const auto bytes = reinterpret_cast<Byte>(codes);
      const Byte doubled = bytes + bytes;
      largest = doubled > largest ? doubled : largest;
    }
    [[nodiscard]] MILLET_INLINE Float poison(Float sum) const noexcept {
      const auto nans = reinterpret_cast<Int>(largest == 0xFE);
      return reinterpret_cast<Float>(reinterpret_cast<Int>(sum) | (nans != 0));
    }
  };

  static MILLET_INLINE Float scale_factor(const std::uint8_t* codes, int offset) noexcept {
    const Int fields = {codes[0], codes[1], codes[2], codes[3]};
    return reinterpret_cast<Float>((fields + offset) << 23);
  }

  static MILLET_INLINE Float zero() noexcept { return Float{}; }
  static MILLET_INLINE Float broadcast(const float* p) noexcept { return Float{*p, *p, *p, *p}; }
  static MILLET_INLINE Float load(const float* p) noexcept {
    Float x;
    __builtin_memcpy(&x, p, sizeof(x));
    return x;
  }
  static MILLET_INLINE void store(float* p, Float x) noexcept { __builtin_memcpy(p, &x, sizeof(x)); }
  static MILLET_INLINE Float multiply(Float a, Float b) noexcept { return a * b; }
  static MILLET_INLINE Float multiply_add(Float a, Float b, Float c) noexcept { return a * b + c; }
};

}  // namespace

const StripKernels& baseline_kernels() noexcept { return kernels_of<Baseline>; }

}  // namespace millet::cpu
