// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "millet/layout/mapping.hpp"
#include "millet/measure/statistics.hpp"

namespace millet {

/// Where a number comes from. Every cell of a table has one; a speedup is printed only between two measured numbers of
/// the same device and run.
enum class Evidence { measured, emulated, modelled, published, not_run };

[[nodiscard]] constexpr std::string_view to_string(Evidence evidence) noexcept {
  switch (evidence) {
    case Evidence::measured:
      return "measured";
    case Evidence::emulated:
      return "emulated";
    case Evidence::modelled:
      return "modelled";
    case Evidence::published:
      return "published";
    case Evidence::not_run:
      return "not_run";
  }
  return "unknown_evidence";
}

/// The two ways of timing.
enum class Protocol {
  cold_graph,  ///< weights rotate over more than twice the last-level cache; graph replay where the device has graphs
  hot_eager,   ///< the same operands every call, 200 calls after 30 warm-ups, as aiter #3783 reports
};

[[nodiscard]] constexpr std::string_view to_string(Protocol protocol) noexcept {
  return protocol == Protocol::cold_graph ? "cold+graph" : "hot+eager";
}

/// What the caches held when a sample was taken.
struct CacheState {
  bool cold = true;           ///< the rotation's footprint passes twice the last-level cache
  Index copies = 1;           ///< weight copies in the rotation
  Index footprint_bytes = 0;  ///< of all copies
  Index last_level_cache_bytes = 0;
};

/// Weight copies that a cold rotation needs: enough to pass twice the cache, and one more, so that a copy is evicted
/// before it comes round again.
[[nodiscard]] constexpr Index copies_for_cold(Index last_level_cache_bytes, Index weight_bytes) noexcept {
  return tiles_to_cover(2 * last_level_cache_bytes, weight_bytes) + 1;
}

/// Times of one contender in one case.
struct Measurement {
  std::vector<double> seconds;  ///< per launch, in the order taken
  Statistics statistics;        ///< of `seconds`
  Evidence evidence = Evidence::not_run;
  CacheState cache;
  double clock_before_ghz = 0;  ///< effective host clock around the samples; 0 where it was not probed
  double clock_after_ghz = 0;

  /// Whether the clock fell by more than a tenth: the samples stand, but flagged.
  [[nodiscard]] bool throttled() const noexcept { return clock_after_ghz < 0.9 * clock_before_ghz; }
};

}  // namespace millet
