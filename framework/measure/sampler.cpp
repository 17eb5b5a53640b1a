// SPDX-License-Identifier: Apache-2.0
#include "millet/measure/sampler.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>

namespace millet {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Takes samples of one contender and remembers where its rotation stands.
class Rotation {
 public:
  explicit Rotation(const Contender& contender) : contender_(&contender) {}

  Expected<double> next() {
    const TimedBatch& batch = contender_->batches[at_++ % contender_->batches.size()];
    Expected<double> seconds = batch();
    if (seconds) *seconds /= static_cast<double>(contender_->launches_per_batch);
    return seconds;
  }

 private:
  const Contender* contender_;
  std::size_t at_ = 0;
};

}  // namespace

double probe_clock_ghz() noexcept {
  // The best of short runs: whatever interrupts one of them says nothing about the clock.
  constexpr int runs = 10;
  constexpr int steps = 50'000;
  double best = 0;
  std::uint64_t value = 1;
  for (int run = 0; run < runs; ++run) {
    const auto start = Clock::now();
    // The empty asm makes every addition depend on the one before it; compilers cannot merge or vectorize them.
    for (int i = 0; i < steps; ++i) {
      value += 1;
      asm volatile("" : "+r"(value));
    }
    best = std::max(best, static_cast<double>(steps) / seconds_since(start) * 1e-9);
  }
  return best;
}

Expected<Contender> make_contender(const Backend& backend, std::string name, std::vector<Launch> launches,
                                   Replay replay, CacheState cache) {
  if (launches.empty()) return fail(ErrorCode::invalid_argument, "make_contender: '{}' has no launches", name);
  Contender contender;
  contender.name = std::move(name);
  contender.cache = cache;
  if (backend.launches_per_sample > 1) {
    // Whole rotations, as many as make the wanted number of launches.
    const std::size_t rotation = launches.size();
    while (launches.size() < static_cast<std::size_t>(backend.launches_per_sample)) {
      for (std::size_t i = 0; i < rotation; ++i) launches.push_back(launches[i]);
    }
    contender.launches_per_batch = static_cast<Index>(launches.size());
    auto batch = backend.prepare_batch(std::move(launches), replay, Stream{});
    if (!batch) return fail(std::move(batch));
    contender.batches.push_back(*std::move(batch));
    return contender;
  }
  for (Launch& launch : launches) {
    auto batch = backend.prepare_batch({std::move(launch)}, replay, Stream{});
    if (!batch) return fail(std::move(batch));
    contender.batches.push_back(*std::move(batch));
  }
  return contender;
}

SamplerOptions hot_eager_options(double seconds) {
  SamplerOptions options;
  options.seconds = seconds;
  options.maximum_samples = 200;
  options.warm_ups = 30;
  options.interleave = false;
  return options;
}

Expected<std::vector<Measurement>> sample(std::span<const Contender> contenders, const SamplerOptions& options) {
  for (const Contender& contender : contenders) {
    if (contender.batches.empty() || contender.launches_per_batch < 1) {
      return fail(ErrorCode::invalid_argument,
                  "sample: '{}' has {} batches of {} launches; it needs at least one of each", contender.name,
                  contender.batches.size(), contender.launches_per_batch);
    }
  }
  std::vector<Measurement> measurements(contenders.size());
  std::vector<Rotation> rotations(contenders.begin(), contenders.end());

  // Adds one sample of contender i.
  const auto take = [&](std::size_t i) -> Expected<void> {
    for (int untimed = 0; untimed < options.untimed_batches; ++untimed) {
      if (auto done = rotations[i].next(); !done) return fail(std::move(done));
    }
    auto seconds = rotations[i].next();
    if (!seconds) return fail(std::move(seconds));
    measurements[i].seconds.push_back(*seconds);
    return {};
  };
  const auto warm_up = [&](std::size_t i, double limit) -> Expected<void> {
    const auto start = Clock::now();
    for (int warm = 0; warm < options.warm_ups && (warm == 0 || seconds_since(start) < limit); ++warm) {
      if (auto seconds = rotations[i].next(); !seconds) return fail(std::move(seconds));
    }
    return {};
  };
  // Whether another sample is due, given the time that its contenders have used of theirs.
  const auto more = [&](std::size_t taken, double used, double granted) {
    const auto count = static_cast<int>(taken);
    return count < options.minimum_samples || (count < options.maximum_samples && used < granted);
  };

  const double clock_before = probe_clock_ghz();
  if (options.interleave) {
    const auto start = Clock::now();
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      if (auto done = warm_up(i, options.seconds / static_cast<double>(contenders.size())); !done)
        return fail(std::move(done));
    }
    std::vector<std::size_t> order(contenders.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::mt19937_64 random(options.seed);
    for (std::size_t round = 0; !order.empty() && more(round, seconds_since(start), options.seconds); ++round) {
      std::shuffle(order.begin(), order.end(), random);
      for (const std::size_t i : order) {
        if (auto done = take(i); !done) return fail(std::move(done));
      }
    }
  } else {
    const double share = options.seconds / static_cast<double>(std::max<std::size_t>(1, contenders.size()));
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const auto start = Clock::now();
      if (auto done = warm_up(i, 0.3 * share); !done) return fail(std::move(done));
      while (more(measurements[i].seconds.size(), seconds_since(start), share)) {
        if (auto done = take(i); !done) return fail(std::move(done));
      }
    }
  }
  const double clock_after = probe_clock_ghz();
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    measurements[i].statistics = summarize(measurements[i].seconds);
    measurements[i].evidence = Evidence::measured;
    measurements[i].cache = contenders[i].cache;
    measurements[i].clock_before_ghz = clock_before;
    measurements[i].clock_after_ghz = clock_after;
  }
  return measurements;
}

}  // namespace millet
