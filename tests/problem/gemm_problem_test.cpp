// SPDX-License-Identifier: Apache-2.0
#include "millet/problem/gemm_problem.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "error/fails_with.hpp"

namespace millet {
namespace {

constexpr Index largest = std::numeric_limits<Index>::max();

TEST(GemmProblem, KeepsItsFields) {
  const Expected<GemmProblem> problem = make_gemm_problem(4, 2304, 6144, ActivationFormat::f32, OutputType::f32);
  ASSERT_TRUE(problem) << problem.error().message;
  EXPECT_EQ(*problem, (GemmProblem{4, 2304, 6144, ActivationFormat::f32, OutputType::f32}));
  EXPECT_EQ(*make_gemm_problem(1, 1, 32), (GemmProblem{1, 1, 32, ActivationFormat::mx, OutputType::bf16}));
}

TEST(GemmProblem, CountsHandComputedWork) {
  const GemmProblem p = *make_gemm_problem(4, 2304, 6144);
  EXPECT_EQ(p.flops(), 113246208.0);
  EXPECT_EQ(p.weight_bytes(), 14598144.0);               // 2304 * 6144 codes and a 32nd of that in scales
  EXPECT_EQ(p.bytes(), 14598144.0 + 25344.0 + 18432.0);  // + 4 * 6144 * 33 / 32 + 4 * 2304 * 2
  const GemmProblem bf16 = *make_gemm_problem(4, 2304, 6144, ActivationFormat::bf16);
  EXPECT_EQ(bf16.bytes(), 14598144.0 + 49152.0 + 18432.0);  // A is 4 * 6144 * 2
  const GemmProblem f32 = *make_gemm_problem(4, 2304, 6144, ActivationFormat::f32, OutputType::f32);
  EXPECT_EQ(f32.bytes(), 14598144.0 + 98304.0 + 36864.0);  // A and C have 4 bytes an element
}

TEST(GemmProblem, CountsBeyond64Bits) {
  const GemmProblem p = *make_gemm_problem(1 << 20, 1 << 30, 1 << 30);
  EXPECT_EQ(p.flops(), 0x1p81);
}

TEST(GemmProblem, NamesTheExtentThatIsTooSmall) {
  constexpr ErrorCode code = ErrorCode::invalid_problem;
  for (const Index bad : {Index{0}, Index{-1}, Index{-32}, std::numeric_limits<Index>::min()}) {
    const std::string value = std::to_string(bad);
    EXPECT_TRUE(fails_with(make_gemm_problem(bad, 8, 32), code, {"GemmProblem: m must be at least 1, got m=" + value}));
    EXPECT_TRUE(fails_with(make_gemm_problem(8, bad, 32), code, {"GemmProblem: n must be at least 1, got n=" + value}));
    EXPECT_TRUE(fails_with(make_gemm_problem(8, 8, bad), code, {"GemmProblem: k must be at least 1, got k=" + value}));
  }
}

TEST(GemmProblem, RejectsPartialScaleBlocksAndSaysHowToPad) {
  EXPECT_TRUE(fails_with(make_gemm_problem(1, 8, 100), ErrorCode::invalid_problem,
                         {"multiple of the 32-element scale block, got k=100", "zero-pad A and B to k=128"}));
  for (Index k = 1; k <= 96; ++k) EXPECT_EQ(make_gemm_problem(1, 8, k).has_value(), k % 32 == 0) << k;
  // So close to the largest Index that the padded k does not exist: no advice then.
  const Expected<GemmProblem> huge = make_gemm_problem(1, 1, largest);
  EXPECT_TRUE(fails_with(huge, ErrorCode::invalid_problem, {"got k=9223372036854775807"}));
  EXPECT_EQ(huge.error().message.find("zero-pad"), std::string::npos);
}

TEST(GemmProblem, RejectsOperandsThatOffsetsCannotReach) {
  constexpr Index big = Index{1} << 30;
  constexpr ErrorCode code = ErrorCode::invalid_problem;
  EXPECT_TRUE(make_gemm_problem(big, 1, big));  // 2^62 bytes of f32 activations, exactly the limit
  EXPECT_TRUE(fails_with(make_gemm_problem(big + 1, 1, big), code, {"1073741825 x 1073741824 x 4 bytes", "2^62"}));
  EXPECT_TRUE(fails_with(make_gemm_problem(1, big + 1, big), code, {"1073741825 x 1073741824 x 4 bytes"}));
  EXPECT_TRUE(fails_with(make_gemm_problem(big + 1, big, 32), code, {"1073741825 x 1073741824 x 4 bytes"}));
  // Products of 2^64 and more, which wrap to 0 or to something small.
  EXPECT_TRUE(fails_with(make_gemm_problem(Index{1} << 32, 1, Index{1} << 32), code, {"passes the limit of 2^62"}));
  EXPECT_TRUE(fails_with(make_gemm_problem(largest, largest, largest - 31), code, {"passes the limit of 2^62"}));
  EXPECT_TRUE(fails_with(make_gemm_problem(1, 1, largest - 31), code, {"1 x 9223372036854775776 x 4 bytes"}));
}

TEST(GemmProblem, PrintsWhatDiffersFromTheDefault) {
  EXPECT_EQ(to_string(*make_gemm_problem(4, 2304, 6144)), "m=4 n=2304 k=6144");
  EXPECT_EQ(to_string(*make_gemm_problem(1, 8, 32, ActivationFormat::bf16, OutputType::f32)),
            "m=1 n=8 k=32 a=bf16 c=f32");
}

TEST(GemmProblem, NamesOfTypesComeBack) {
  for (const OutputType type : {OutputType::bf16, OutputType::f32}) EXPECT_EQ(parse_output_type(to_string(type)), type);
  for (const ActivationFormat format : {ActivationFormat::mx, ActivationFormat::bf16, ActivationFormat::f32}) {
    EXPECT_EQ(parse_activation_format(to_string(format)), format);
  }
  EXPECT_EQ(parse_output_type("mx"), std::nullopt);
  EXPECT_EQ(parse_output_type(""), std::nullopt);
  EXPECT_EQ(parse_activation_format("MX"), std::nullopt);
  EXPECT_EQ(bytes_per_element(OutputType::bf16), 2);
  EXPECT_EQ(bytes_per_element(OutputType::f32), 4);
}

}  // namespace
}  // namespace millet
