// SPDX-License-Identifier: Apache-2.0
// Every finite amax in every mode against the formulas in floating point.
#include <gtest/gtest.h>

#include "numeric/oracle.hpp"
#include "quantize/scale_oracle.hpp"

namespace millet {
namespace {

class Exhaustive : public testing::TestWithParam<ScaleMode> {};

TEST_P(Exhaustive, ScaleIsTheFormulaOfTheMode) {
  for (std::uint32_t amax = 0; amax < 0x7F800000U; ++amax) {
    const bool equal = scale_for_amax(amax, GetParam()).bits == oracle::scale_code(oracle::float_of(amax), GetParam());
    ASSERT_TRUE(equal) << std::hex << amax;
  }
  for (std::uint32_t amax = 0x7F800000U; amax < 0x80000000U; ++amax) {
    ASSERT_TRUE(scale_for_amax(amax, GetParam()).is_nan()) << std::hex << amax;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Exhaustive, testing::ValuesIn(scale_modes),
                         [](const auto& tested) { return std::string(to_string(tested.param)); });

}  // namespace
}  // namespace millet
