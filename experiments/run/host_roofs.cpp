// SPDX-License-Identifier: Apache-2.0
#include "run/host_roofs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace millet {

namespace {

constexpr Index least_cold_bytes = Index{8} << 20;
constexpr Index least_hot_bytes = Index{4} << 20;

Index hot_passes(Index weight_bytes) noexcept {
  return tiles_to_cover(least_hot_bytes, std::max<Index>(1, weight_bytes));
}

}  // namespace

Index roof_sample_bytes(Protocol protocol, Index weight_bytes) noexcept {
  return protocol == Protocol::cold_graph ? std::max(weight_bytes, least_cold_bytes)
                                          : weight_bytes * hot_passes(weight_bytes);
}

Contender read_contender(const HostRoofLoops& loops, Protocol protocol, Index weight_bytes) {
  Contender contender;
  contender.name = "read loop";
  if (protocol == Protocol::hot_eager) {
    contender.batches.emplace_back(
        [&loops, weight_bytes]() -> Expected<double> { return loops.read(0, weight_bytes, hot_passes(weight_bytes)); });
    return contender;
  }
  const Index bytes = roof_sample_bytes(protocol, weight_bytes);
  const Index slice = loops.buffer_bytes() / loops.threads();
  constexpr Index page = 4096;
  const Index step = round_up_to_tile(tiles_to_cover(bytes, loops.threads()), page);
  contender.batches.emplace_back([&loops, bytes, slice, step, offset = Index{0}]() mutable -> Expected<double> {
    const Index here = offset;
    offset = (offset + step) % slice;
    return loops.read(here, bytes, 1);
  });
  return contender;
}

Index roof_sample_steps(const HostRoofLoops& loops, double flops) noexcept {
  constexpr Index least = 200'000;
  return std::max(least, static_cast<Index>(std::ceil(flops / loops.multiply_add_flops(1))));
}

Contender multiply_add_contender(const HostRoofLoops& loops, Index steps) {
  Contender contender;
  contender.name = "multiply-add loop";
  contender.batches.emplace_back([&loops, steps]() -> Expected<double> { return loops.multiply_add(steps); });
  return contender;
}

Ceilings ceilings_of_case(const Ceilings& at_start, const HostRoofs& rounds, Protocol protocol) {
  if (rounds.read.evidence != Evidence::measured || rounds.multiply_add.evidence != Evidence::measured) {
    return at_start;
  }
  Ceilings ceilings = at_start;
  ceilings.read_bytes_per_second = rounds.read_bytes / rounds.read.statistics.median;
  ceilings.fma_flops_per_second = rounds.flops / rounds.multiply_add.statistics.median;
  const bool cold = protocol == Protocol::cold_graph;
  ceilings.source =
      fmt::format("measured {}: {}; a sample does as much as a call, and reads {}; caches at the start of the run",
                  cold ? "in each case's own rounds" : "beside each case's own samples", rounds.description,
                  cold ? "on in the buffer, 8 MiB at least" : "the same bytes again");
  return ceilings;
}

}  // namespace millet
