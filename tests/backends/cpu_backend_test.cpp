// SPDX-License-Identifier: Apache-2.0
// The cpu backend as a whole: choosing the instruction set, the caller's floating-point mode, threads.

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "error/fails_with.hpp"
#include "millet/backends/cpu/instruction_set.hpp"
#include "millet/backends/cpu/tiles/threads.hpp"
#include "millet/backends/registry.hpp"
#include "millet/dispatch/kernel_instance.hpp"

namespace millet::cpu {
namespace {

TEST(CpuInstructionSet, TheBestThatRunsHereUnlessToldOtherwise) {
  const auto best = choose_instruction_set("");
  ASSERT_TRUE(best) << best.error().message;
  bool before_best = true;
  for (const InstructionSet& set : instruction_sets()) {
    if (&set == *best) before_best = false;
    EXPECT_FALSE(before_best && set.runs_here()) << set.name;
    const auto chosen = choose_instruction_set(set.name);
    if (set.runs_here()) {
      ASSERT_TRUE(chosen) << chosen.error().message;
      EXPECT_EQ(*chosen, &set);
    } else {
      EXPECT_TRUE(fails_with(chosen, ErrorCode::unavailable,
                             {"MILLET_CPU_ISA is '" + std::string(set.name) + "'", "lacks", "baseline"}));
    }
  }
  EXPECT_EQ(instruction_sets().back().name, "baseline");
  EXPECT_TRUE(instruction_sets().back().runs_here());
}

TEST(CpuInstructionSet, AnUnknownNameIsAnError) {
  for (const char* name : {"AVX2", "avx2 ", "sse", "best"}) {
    EXPECT_TRUE(fails_with(choose_instruction_set(name), ErrorCode::invalid_argument,
                           {"MILLET_CPU_ISA is '" + std::string(name) + "'", "baseline"}));
  }
}

/// A dense product whose activations and weights hold every code but NaN, under small scales: f32 subnormals appear
/// among the decoded weights and in C.
struct Case {
  GemmProblem problem;
  HostActivations a;
  MxMatrix<> b;
};
Case make_case(Index m, Index n, Index k) {
  std::mt19937 random(5);
  const auto fill = [&](MxMatrix<>& matrix, int smallest_scale, int largest_scale) {
    for (E4M3& code : matrix.values()) code.bits = static_cast<std::uint8_t>(random() % 2 * 128 + random() % 127);
    for (E8M0& scale : matrix.scales()) {
      scale.bits =
          static_cast<std::uint8_t>(smallest_scale + static_cast<int>(random()) % (largest_scale - smallest_scale));
    }
  };
  Case c{{m, n, k, ActivationFormat::mx, OutputType::f32}, {}, MxMatrix<>(RowMajor(n, k), row_major_scales(n, k))};
  c.a.mx = MxMatrix<>(RowMajor(m, k), row_major_scales(m, k));
  fill(c.a.mx, 55, 130);
  fill(c.b, 60, 130);
  return c;
}

std::vector<float> run(const GemmKernel& kernel, const Case& c, int policy) {
  const Backend& backend = **find_backend("cpu");
  const auto instance = KernelInstance<GemmProblem>::create(backend, kernel, policy, {c.problem, &c.a, &c.b});
  if (!instance || !instance->run(Stream{})) return {};
  return instance->output().value();
}

// Every state of DAZ and FTZ, with and without another rounding: the same bits, and the mode is as it was.
TEST(CpuBackend, TheHostProgramsFloatingPointModeDoesNotMatterAndStays) {
#if defined(__x86_64__)
  constexpr unsigned daz = 0x0040;
  constexpr unsigned ftz = 0x8000;
  constexpr unsigned truncate = 0x6000;
  constexpr unsigned flags = 0x3F;  // raised by almost any arithmetic
  const Backend& backend = **find_backend("cpu");
  const Case c = make_case(6, 83, 416);
  for (const GemmKernel& kernel : backend.gemm_kernels) {
    const auto instance = KernelInstance<GemmProblem>::create(backend, kernel, 0, {c.problem, &c.a, &c.b}).value();
    ASSERT_TRUE(instance.run(Stream{}));
    const std::vector<float> expected = instance.output().value();
    for (const unsigned mode : {0U, daz, ftz, daz | ftz, daz | ftz | truncate}) {
      ASSERT_TRUE(instance.fill_output(std::byte{0xFF}));
      const unsigned saved = _mm_getcsr();
      const unsigned before = (saved & ~(daz | ftz | truncate)) | mode;
      _mm_setcsr(before);
      const bool done = static_cast<bool>(instance.run(Stream{}));
      const unsigned after = _mm_getcsr();
      _mm_setcsr(saved);
      ASSERT_TRUE(done);
      EXPECT_EQ(before & ~flags, after & ~flags) << kernel.id << fmt::format(", mode {:#x}", mode);
      const std::vector<float> got = instance.output().value();
      EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0)
          << kernel.id << fmt::format(", mode {:#x}", mode);
    }
  }
#else
  GTEST_SKIP() << "this processor's modes are not ours to set";
#endif
}

// One order of additions, so: all kernels and policies, the same bits.
TEST(CpuBackend, KernelsAndPoliciesAgreeBitForBit) {
  const Backend& backend = **find_backend("cpu");
  for (const Index m : {1, 8}) {
    const Case c = make_case(m, 131, 608);
    const std::vector<float> expected = run(backend.gemm_kernels[0], c, 0);
    ASSERT_EQ(expected.size(), static_cast<std::size_t>(m * 131));
    for (const GemmKernel& kernel : backend.gemm_kernels) {
      for (int policy = 0; policy < kernel.policy_count; ++policy) {
        const std::vector<float> got = run(kernel, c, policy);
        ASSERT_EQ(got.size(), expected.size());
        EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0) << kernel.id << policy;
      }
    }
  }
}

#if defined(_OPENMP)
TEST(CpuBackend, TheNumberOfThreadsDoesNotMatter) {
  const Backend& backend = **find_backend("cpu");
  const int threads_before = omp_get_max_threads();
  for (const Index m : {1, 20}) {
    const Case c = make_case(m, 211, 416);
    for (const GemmKernel& kernel : backend.gemm_kernels) {
      if (!kernel.supports(c.problem)) continue;
      omp_set_num_threads(1);
      const std::vector<float> expected = run(kernel, c, 0);
      for (const int threads : {2, 3, 5, 16}) {
        omp_set_num_threads(threads);
        EXPECT_EQ(thread_count(), threads);
        const std::vector<float> got = run(kernel, c, 0);
        ASSERT_EQ(got.size(), expected.size());
        EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0) << kernel.id << threads;
      }
    }
  }
  omp_set_num_threads(threads_before);
}
#endif

TEST(CpuThreads, EveryItemOnce) {
  for (const Index items : {0, 1, 2, 7, 100}) {
    std::vector<int> shared(static_cast<std::size_t>(items));
    share_out(items, [&](Index first, Index last) {
      for (Index i = first; i < last; ++i) ++shared[static_cast<std::size_t>(i)];
    });
    std::vector<int> handed(static_cast<std::size_t>(items));
    hand_out(items, [&](Index i) { ++handed[static_cast<std::size_t>(i)]; });
    EXPECT_EQ(shared, std::vector<int>(static_cast<std::size_t>(items), 1));
    EXPECT_EQ(handed, std::vector<int>(static_cast<std::size_t>(items), 1));
  }
}

}  // namespace
}  // namespace millet::cpu
