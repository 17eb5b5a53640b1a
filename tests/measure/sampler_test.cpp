// SPDX-License-Identifier: Apache-2.0
#include "millet/measure/sampler.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "error/fails_with.hpp"

namespace millet {
namespace {

/// What fake batches did, in order: "a0" is batch 0 of contender a.
using Trace = std::vector<std::string>;

Contender fake(const std::string& name, int batches, double seconds, Trace& trace) {
  Contender contender;
  contender.name = name;
  for (int i = 0; i < batches; ++i) {
    contender.batches.push_back([=, &trace]() -> Expected<double> {
      trace.push_back(name + std::to_string(i));
      return seconds;
    });
  }
  return contender;
}

SamplerOptions exactly(int samples, int warm_ups) {
  SamplerOptions options;
  options.seconds = 3600;
  options.minimum_samples = samples;
  options.maximum_samples = samples;
  options.warm_ups = warm_ups;
  return options;
}

TEST(Sample, TakesTheMinimumEvenWithoutTime) {
  Trace trace;
  const std::vector<Contender> contenders{fake("a", 1, 2.0, trace), fake("b", 1, 3.0, trace)};
  for (const bool interleave : {true, false}) {
    SamplerOptions options;
    options.seconds = 0;
    options.minimum_samples = 7;
    options.interleave = interleave;
    const auto measurements = sample(contenders, options);
    ASSERT_TRUE(measurements) << measurements.error().message;
    ASSERT_EQ(measurements->size(), 2U);
    EXPECT_EQ((*measurements)[0].seconds, std::vector<double>(7, 2.0));
    EXPECT_EQ((*measurements)[1].seconds, std::vector<double>(7, 3.0));
    EXPECT_EQ((*measurements)[0].statistics.n, 7);
    EXPECT_EQ((*measurements)[1].statistics.median, 3.0);
    EXPECT_EQ((*measurements)[0].evidence, Evidence::measured);
    EXPECT_GT((*measurements)[0].clock_before_ghz, 0.0);
    EXPECT_GT((*measurements)[0].clock_after_ghz, 0.0);
  }
}

TEST(Sample, StopsAtTheMaximum) {
  Trace trace;
  const std::vector<Contender> contenders{fake("a", 1, 1e-6, trace)};
  for (const bool interleave : {true, false}) {
    SamplerOptions options;
    options.seconds = 3600;
    options.maximum_samples = 12;
    options.interleave = interleave;
    const auto measurements = sample(contenders, options);
    ASSERT_TRUE(measurements);
    EXPECT_EQ(measurements->front().seconds.size(), 12U);
  }
}

TEST(Sample, StopsWhenTheTimeIsUsedUp) {
  Contender slow;
  slow.batches.push_back([]() -> Expected<double> {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return 5e-3;
  });
  const std::vector<Contender> contenders{slow, slow};
  for (const bool interleave : {true, false}) {
    SamplerOptions options;
    options.seconds = 0.2;  // room for at most 40 batches of 5 ms
    options.minimum_samples = 2;
    options.warm_ups = 1;
    options.interleave = interleave;
    const auto start = std::chrono::steady_clock::now();
    const auto measurements = sample(contenders, options);
    const double used = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    ASSERT_TRUE(measurements);
    for (const Measurement& measurement : *measurements) {
      EXPECT_GE(measurement.seconds.size(), 2U);
      EXPECT_LE(measurement.seconds.size(), 20U);
    }
    EXPECT_GE(used, 0.1);  // it does use the time that it was given
  }
}

TEST(Sample, RotatesThroughTheBatches) {
  Trace trace;
  const std::vector<Contender> contenders{fake("a", 3, 1.0, trace)};
  ASSERT_TRUE(sample(contenders, exactly(5, 2)));
  // The rotation runs on from the warm-ups, so that no batch meets its own weights in the cache.
  EXPECT_EQ(trace, (Trace{"a0", "a1", "a2", "a0", "a1", "a2", "a0"}));
}

TEST(Sample, InterleavesOneSampleOfEachARound) {
  Trace trace;
  const std::vector<Contender> contenders{fake("a", 1, 1.0, trace), fake("b", 1, 1.0, trace), fake("c", 1, 1.0, trace)};
  ASSERT_TRUE(sample(contenders, exactly(20, 0)));
  ASSERT_EQ(trace.size(), 60U);
  std::vector<Trace> orders;
  for (std::size_t round = 0; round < 20; ++round) {
    Trace order(trace.begin() + static_cast<long>(3 * round), trace.begin() + static_cast<long>(3 * round + 3));
    orders.push_back(order);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, (Trace{"a0", "b0", "c0"})) << "round " << round;
  }
  std::sort(orders.begin(), orders.end());
  orders.erase(std::unique(orders.begin(), orders.end()), orders.end());
  EXPECT_GT(orders.size(), 1U) << "every round had the same order";
}

TEST(Sample, UntimedBatchesComeBeforeEachSampleAndGoOnWithTheRotation) {
  Trace trace;
  SamplerOptions options = exactly(2, 1);
  options.untimed_batches = 2;
  const std::vector contenders{fake("a", 4, 1.0, trace)};
  const auto measured = sample(contenders, options);
  ASSERT_TRUE(measured);
  EXPECT_EQ((*measured)[0].seconds.size(), 2U);
  EXPECT_EQ(trace, (Trace{"a0", "a1", "a2", "a3", "a0", "a1", "a2"}));
}

TEST(Sample, TheSeedDecidesTheOrder) {
  const auto trace_of = [](std::uint64_t seed) {
    Trace trace;
    const std::vector<Contender> contenders{fake("a", 1, 1.0, trace), fake("b", 1, 1.0, trace),
                                            fake("c", 1, 1.0, trace)};
    SamplerOptions options = exactly(20, 0);
    options.seed = seed;
    EXPECT_TRUE(sample(contenders, options));
    return trace;
  };
  EXPECT_EQ(trace_of(1), trace_of(1));
  EXPECT_NE(trace_of(1), trace_of(2));
}

TEST(Sample, OneAfterTheOtherWhereNotInterleaved) {
  Trace trace;
  const std::vector<Contender> contenders{fake("a", 1, 1.0, trace), fake("b", 1, 1.0, trace)};
  SamplerOptions options = exactly(2, 1);
  options.interleave = false;
  ASSERT_TRUE(sample(contenders, options));
  EXPECT_EQ(trace, (Trace{"a0", "a0", "a0", "b0", "b0", "b0"}));
}

TEST(Sample, TimesAreOfOneLaunch) {
  Trace trace;
  Contender contender = fake("a", 1, 6.0, trace);
  contender.launches_per_batch = 4;
  const std::vector<Contender> contenders{contender};
  const auto measurements = sample(contenders, exactly(2, 0));
  ASSERT_TRUE(measurements);
  EXPECT_EQ(measurements->front().seconds, (std::vector<double>{1.5, 1.5}));
}

TEST(Sample, PassesTheCacheStateOn) {
  Trace trace;
  Contender contender = fake("a", 1, 1.0, trace);
  contender.cache = {false, 3, 300, 1000};
  const std::vector<Contender> contenders{contender};
  const auto measurements = sample(contenders, exactly(1, 0));
  ASSERT_TRUE(measurements);
  EXPECT_FALSE(measurements->front().cache.cold);
  EXPECT_EQ(measurements->front().cache.copies, 3);
  EXPECT_EQ(measurements->front().cache.footprint_bytes, 300);
  EXPECT_EQ(measurements->front().cache.last_level_cache_bytes, 1000);
}

TEST(Sample, ReturnsTheFirstErrorOfWarmUpsAndSamples) {
  for (const bool interleave : {true, false}) {
    for (const int healthy : {0, 1, 4}) {
      int calls = 0;
      Contender contender;
      contender.batches.push_back([&]() -> Expected<double> {
        if (calls++ < healthy) return 1.0;
        return fail(ErrorCode::unavailable, "the device fell off in call {}", calls);
      });
      const std::vector<Contender> contenders{contender};
      SamplerOptions options = exactly(10, 2);
      options.interleave = interleave;
      EXPECT_TRUE(fails_with(sample(contenders, options), ErrorCode::unavailable,
                             {"the device fell off in call " + std::to_string(healthy + 1)}));
      EXPECT_EQ(calls, healthy + 1) << "it went on after the error";
    }
  }
}

TEST(Sample, NoContenderIsNoMeasurement) {
  const auto measurements = sample({}, SamplerOptions{});
  ASSERT_TRUE(measurements);
  EXPECT_TRUE(measurements->empty());
}

TEST(HotEager, Takes200SamplesAfter30WarmUpsOfEachInTurn) {
  Trace trace;
  const std::vector<Contender> contenders{fake("a", 1, 1.0, trace)};
  const auto measurements = sample(contenders, hot_eager_options(3600));
  ASSERT_TRUE(measurements);
  EXPECT_EQ(measurements->front().seconds.size(), 200U);
  EXPECT_EQ(trace.size(), 230U);
  EXPECT_FALSE(hot_eager_options(1).interleave);
}

/// A backend that knows nothing but to run launches.
Backend backend_that_batches(Index launches_per_sample) {
  Backend backend{};
  backend.launches_per_sample = launches_per_sample;
  backend.prepare_batch = [](std::vector<Launch> launches, Replay, Stream stream) -> Expected<TimedBatch> {
    if (launches.empty()) return fail(ErrorCode::invalid_argument, "an empty batch");
    return TimedBatch([launches = std::move(launches), stream]() -> Expected<double> {
      for (const Launch& launch : launches) {
        if (auto done = launch(stream); !done) return fail(std::move(done));
      }
      return static_cast<double>(launches.size());
    });
  };
  return backend;
}

std::vector<Launch> numbered_launches(int count, std::vector<int>& trace) {
  std::vector<Launch> launches;
  for (int i = 0; i < count; ++i) {
    launches.push_back([i, &trace](Stream) -> Expected<void> {
      trace.push_back(i);
      return {};
    });
  }
  return launches;
}

TEST(MakeContender, OneBatchALaunchWhereCallsAreLong) {
  std::vector<int> trace;
  const auto contender = make_contender(backend_that_batches(1), "x", numbered_launches(3, trace), Replay::eager,
                                        CacheState{true, 3, 30, 10});
  ASSERT_TRUE(contender);
  EXPECT_EQ(contender->name, "x");
  EXPECT_EQ(contender->cache.copies, 3);
  EXPECT_EQ(contender->launches_per_batch, 1);
  ASSERT_EQ(contender->batches.size(), 3U);
  for (const TimedBatch& batch : contender->batches) EXPECT_EQ(batch().value(), 1.0);
  EXPECT_EQ(trace, (std::vector<int>{0, 1, 2}));
}

TEST(MakeContender, WholeRotationsInABatchWhereCallsAreShort) {
  std::vector<int> trace;
  const auto contender =
      make_contender(backend_that_batches(5), "x", numbered_launches(3, trace), Replay::graph, CacheState{});
  ASSERT_TRUE(contender);
  ASSERT_EQ(contender->batches.size(), 1U);
  EXPECT_EQ(contender->launches_per_batch, 6);
  EXPECT_EQ(contender->batches.front()().value(), 6.0);
  EXPECT_EQ(trace, (std::vector<int>{0, 1, 2, 0, 1, 2}));
}

TEST(MakeContender, ReturnsTheErrorOfTheBackend) {
  Backend backend = backend_that_batches(1);
  backend.prepare_batch = [](std::vector<Launch>, Replay, Stream) -> Expected<TimedBatch> {
    return fail(ErrorCode::unsupported, "no graphs here");
  };
  std::vector<int> trace;
  for (const Index launches_per_sample : {1, 8}) {
    backend.launches_per_sample = launches_per_sample;
    EXPECT_TRUE(fails_with(make_contender(backend, "x", numbered_launches(2, trace), Replay::graph, CacheState{}),
                           ErrorCode::unsupported, {"no graphs here"}));
  }
}

TEST(MakeContender, RefusesToTimeNothing) {
  EXPECT_TRUE(fails_with(make_contender(Backend{}, "empty", {}, Replay::eager, CacheState{}),
                         ErrorCode::invalid_argument, {"'empty' has no launches"}));
}

TEST(Sample, RefusesAContenderWithoutBatches) {
  std::vector<Contender> contenders(1);
  contenders[0].name = "empty";
  EXPECT_TRUE(fails_with(sample(contenders, SamplerOptions{}), ErrorCode::invalid_argument, {"'empty' has 0 batches"}));
}

TEST(ClockProbe, SeesAPlausibleClock) {
  const double ghz = probe_clock_ghz();
  EXPECT_GT(ghz, 0.02);  // also under emulators and sanitizers
  EXPECT_LT(ghz, 10.0);
}

}  // namespace
}  // namespace millet
