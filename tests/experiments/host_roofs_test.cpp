// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "run/host_roofs.hpp"

namespace millet {
namespace {

using testing::HasSubstr;

Measurement measured(double seconds) {
  Measurement measurement;
  measurement.seconds = {seconds};
  measurement.statistics = summarize(measurement.seconds);
  measurement.evidence = Evidence::measured;
  return measurement;
}

TEST(HostRoofs, RatesOfACaseComeFromItsOwnRounds) {
  const Ceilings at_start{20e9, 90e9, {{32768, 160e9}}, 2, "at the start"};
  const HostRoofs rounds{2, "loops of a test", 1e6, 4e6, measured(1e-4), measured(1e-3)};
  const Ceilings ceilings = ceilings_of_case(at_start, rounds, Protocol::cold_graph);
  EXPECT_DOUBLE_EQ(ceilings.read_bytes_per_second, 1e10);
  EXPECT_DOUBLE_EQ(ceilings.fma_flops_per_second, 4e9);
  EXPECT_EQ(ceilings.threads, 2);
  ASSERT_EQ(ceilings.read_by_level.size(), 1U);
  EXPECT_THAT(ceilings.source, HasSubstr("own rounds: loops of a test"));
  EXPECT_THAT(ceilings_of_case(at_start, rounds, Protocol::hot_eager).source, HasSubstr("the same bytes again"));
}

TEST(HostRoofs, WithoutSamplesThoseOfTheStartStand) {
  const Ceilings at_start{20e9, 90e9, {}, 1, "at the start"};
  const Ceilings ceilings = ceilings_of_case(at_start, HostRoofs{}, Protocol::cold_graph);
  EXPECT_EQ(ceilings.source, "at the start");
  EXPECT_DOUBLE_EQ(ceilings.read_bytes_per_second, 20e9);
}

TEST(HostRoofs, SamplesAreLongEnoughAndHotOnesOfTheSameBytes) {
  EXPECT_EQ(roof_sample_bytes(Protocol::cold_graph, 1000), Index{8} << 20);
  EXPECT_EQ(roof_sample_bytes(Protocol::cold_graph, Index{9} << 20), Index{9} << 20);
  EXPECT_EQ(roof_sample_bytes(Protocol::hot_eager, Index{5} << 20), Index{5} << 20);
  EXPECT_EQ(roof_sample_bytes(Protocol::hot_eager, Index{1} << 20), Index{4} << 20);
}

// Samples go round the buffer and over its end; the rates are below what any processor reads.
TEST(HostRoofs, LoopsAreTimed) {
  const HostRoofLoops loops(1);
  ASSERT_GT(loops.buffer_bytes(), 0);
  EXPECT_THAT(loops.description(), HasSubstr("1 thread(s)"));
  for (const Protocol protocol : {Protocol::cold_graph, Protocol::hot_eager}) {
    const Index weights = loops.buffer_bytes() / 2 + 4096;
    const Contender contender = read_contender(loops, protocol, weights);
    const double least = static_cast<double>(roof_sample_bytes(protocol, weights)) / 1e12;
    for (int sample = 0; sample < 3; ++sample) {
      const auto seconds = contender.batches[0]();
      ASSERT_TRUE(seconds);
      EXPECT_GT(*seconds, least) << to_string(protocol);
    }
  }
  // More than the buffer holds: it is read again, not counted again.
  const Index many = 40 * loops.buffer_bytes();
  const auto long_sample = read_contender(loops, Protocol::cold_graph, many).batches[0]();
  ASSERT_TRUE(long_sample);
  EXPECT_GT(*long_sample, static_cast<double>(many) / 1e12);
  for (const double flops : {1.0, 1e9}) {
    const Index steps = roof_sample_steps(loops, flops);
    EXPECT_GE(loops.multiply_add_flops(steps), std::max(flops, 1e6));
    const auto seconds = multiply_add_contender(loops, steps).batches[0]();
    ASSERT_TRUE(seconds);
    EXPECT_GT(*seconds, loops.multiply_add_flops(steps) / 1e12);
  }
}

}  // namespace
}  // namespace millet
