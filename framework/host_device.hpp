// SPDX-License-Identifier: Apache-2.0
#pragma once

// The only place that knows which compiler pass or host architecture is at work.

/// Marks a function that kernels call on the device and tests call on the host.
#if defined(__CUDACC__) || defined(__HIP__)
#define MILLET_HD __host__ __device__
#else
#define MILLET_HD
#endif

/// Inlining that a kernel's speed depends on (an ISA-specific caller must absorb the body to vectorize it).
#if defined(__CUDACC__)
#define MILLET_INLINE __forceinline__
#else
#define MILLET_INLINE inline __attribute__((always_inline))
#endif

/// MILLET_X86_TIERS: 1 where one host binary carries code for several x86-64 levels, chosen at run time. The function
/// attributes keep the wider instructions inside the functions that carry them; compiling whole files with -mavx2
/// would let the linker pick an AVX2 copy of a shared inline function for a machine that has none.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__CUDACC__) && !defined(__HIP__)
#define MILLET_X86_TIERS 1
#define MILLET_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define MILLET_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#else
#define MILLET_X86_TIERS 0
#endif

/// MILLET_HAS_MXCSR: 1 where a thread's floating-point mode is x86's MXCSR register.
#if defined(__x86_64__) && !defined(__CUDACC__) && !defined(__HIP__)
#define MILLET_HAS_MXCSR 1
#else
#define MILLET_HAS_MXCSR 0
#endif

/// What the host's instruction set is called in records and tuned tables; x86-64 gets its level appended at run time.
#if defined(__x86_64__)
#define MILLET_HOST_ARCHITECTURE "x86-64"
#elif defined(__aarch64__)
#define MILLET_HOST_ARCHITECTURE "aarch64"
#else
#define MILLET_HOST_ARCHITECTURE "host"
#endif
