// SPDX-License-Identifier: Apache-2.0
// The probe that a device must pass before it is timed: a device that is as documented passes, another one does not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "millet/backends/gfx950/tiles/arguments.hpp"
#include "millet/backends/gfx950_emulated/kernels.hpp"
#include "millet/dispatch/probe_arithmetic.hpp"

namespace millet::gfx950_emulated {

Backend backend() noexcept;

namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Probe, PassesWithTheDocumentedLaneMap) {
  const auto probed = backend().probe();
  EXPECT_TRUE(probed) << probed.error().message;
}

TEST(Probe, FailsWhereLanesHold32ContiguousK) {
  set_contiguous_k_for_testing(true);
  const auto probed = backend().probe();
  set_contiguous_k_for_testing(false);
  ASSERT_FALSE(probed);
  EXPECT_EQ(probed.error().code, ErrorCode::incorrect_result);
  // Group 1's first bytes are k 16 .. 31 of block 0; such a device takes them for k 32 .. 47.
  EXPECT_THAT(probed.error().message,
              AllOf(HasSubstr("at k = 16, of block 0"), HasSubstr("the scales of block 1 would give")));
}

/// A plain product of one thread, with mistakes that the probe must find.
enum class Mistake { none, scale_zero_is_zero, scale_255_is_a_power, nan_code_is_480 };
Mistake mistake = Mistake::none;

float scale_value(E8M0 scale) {
  if (scale.is_nan() && mistake == Mistake::scale_255_is_a_power) return 0x1p127F;
  if (scale.bits == 0 && mistake == Mistake::scale_zero_is_zero) return 0;
  return scale.value();
}
float code_value(E4M3 code) { return code.is_nan() && mistake == Mistake::nan_code_is_480 ? 480.0F : code.value(); }

Expected<void> multiply(const GemmProblem& p, const GemmOperandsRef& x, int, Workspace, Stream) {
  for (Index m = 0; m < p.m; ++m) {
    for (Index n = 0; n < p.n; ++n) {
      double sum = 0;
      for (Index k = 0; k < p.k; ++k) {
        const Index block = k / MxBlock::k;
        sum += static_cast<double>(code_value(static_cast<const E4M3*>(x.a.values)[m * x.a.value_stride + k])) *
               code_value(x.b.values[n * p.k + k]) * scale_value(x.a.scales[m * x.a.scale_stride + block]) *
               scale_value(x.b.scales[n * MxBlock::count(p.k) + block]);
      }
      static_cast<float*>(x.c.values)[m * x.c.row_stride + n] = static_cast<float>(sum);
    }
  }
  return {};
}

Expected<void> probe_with(Mistake made) {
  static const GemmKernel kernels[] = {[] {
    GemmKernel kernel = backend().gemm_kernels.back();  // of row-major weights
    kernel.workspace_bytes = [](const GemmProblem&, int) noexcept { return Index{0}; };
    kernel.run = multiply;
    return kernel;
  }()};
  Backend plain = backend();
  plain.gemm_kernels = kernels;
  mistake = made;
  return probe_arithmetic(plain);
}

TEST(Probe, FindsScalesAndCodesThatAreNotAsSpecified) {
  ASSERT_EQ(backend().gemm_kernels.back().weight_layout, &layout_descriptor<RowMajorWeights>);
  const auto right = probe_with(Mistake::none);
  EXPECT_TRUE(right) << right.error().message;
  for (const Mistake made : {Mistake::scale_zero_is_zero, Mistake::scale_255_is_a_power, Mistake::nan_code_is_480}) {
    const auto probed = probe_with(made);
    ASSERT_FALSE(probed) << static_cast<int>(made);
    EXPECT_THAT(probed.error().message, HasSubstr("scale 255 must give NaN")) << static_cast<int>(made);
  }
}

// What the rates of a device are computed from.
TEST(Ceilings, TheReadKernelReadsEachByteOnceAndThePeakKernelMultipliesAsOftenAsItSays) {
  constexpr Index bytes = 2 * gfx950::read_chunk + 4096;  // a partial chunk at the end
  const auto data = backend().allocate(bytes);
  const auto sink = backend().allocate(4);
  ASSERT_TRUE(data && sink);
  auto* const to = static_cast<float*>(sink->data());
  const gfx950::ReadArguments read{static_cast<const std::uint8_t*>(data->data()), bytes, to};
  auto done = run_kernel({gfx950::find_compiled_kernel("read_streaming"), 3, 1, &read, sizeof(read)}, 1);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(last_counts().bytes_loaded_streaming, static_cast<std::uint64_t>(bytes));
  EXPECT_EQ(*to, 0.0F);
  const gfx950::PeakArguments peak{5, to};
  done = run_kernel({gfx950::find_compiled_kernel("mfma_peak"), 2, 1, &peak, sizeof(peak)}, 1);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(last_counts().wave_mfma, 2U * 4 * gfx950::mfma_chains * 5);
}

}  // namespace
}  // namespace millet::gfx950_emulated
