// SPDX-License-Identifier: Apache-2.0
#include "millet/report/record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace millet {

namespace {

// FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv. Not a defence against forgery, and needs to be none.
std::string fnv1a_hex(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3U;
  }
  return fmt::format("{:016x}", hash);
}

constexpr double ns_per_second = 1e9;

// The interval is symmetric; with few, scattered samples its lower end would be a negative time.
double lower_end_ns(const Statistics& s) { return std::max(0.0, s.ci95_lo) * ns_per_second; }

}  // namespace

std::string case_id(const RecordCase& c) {
  // Lengths before texts, so that no two cases have one canonical string.
  std::string canonical =
      fmt::format("case 1 m={} n={} k={} experts={} slots={} a_div={} block_m={} weighted={:d} threads={} seed={}", c.m,
                  c.n, c.k, c.experts, c.slots, c.a_div, c.block_m, c.weighted, c.threads, c.seed);
  for (const std::string_view text :
       {std::string_view(c.operation), std::string_view(c.activation), std::string_view(c.output),
        std::string_view(c.scale_mode), std::string_view(c.weight_layout), std::string_view(c.backend),
        std::string_view(c.kernel), std::string_view(c.policy), std::string_view(c.execution_space),
        std::string_view(c.protocol)}) {
    canonical += fmt::format(" {}:{}", text.size(), text);
  }
  if (c.epilogue) canonical += fmt::format(" epilogue={}:{}", c.epilogue->size(), *c.epilogue);
  if (c.weights) canonical += fmt::format(" weights={}:{}", c.weights->size(), *c.weights);
  return fnv1a_hex(canonical);
}

std::string build_id(const RecordBuild& b) {
  std::string canonical = fmt::format("build 1 dirty={:d}", b.dirty);
  const auto add = [&](std::string_view text) { canonical += fmt::format(" {}:{}", text.size(), text); };
  for (const std::string& text : {b.git, b.compiler, b.flags, b.type, b.sanitizer}) add(text);
  for (const auto& [name, version] : b.libraries) {
    add(name);
    add(version);
  }
  return fnv1a_hex(canonical);
}

RecordResult record_result(const Measurement& measurement) {
  const Statistics& s = measurement.statistics;
  RecordResult result{s.n,
                      s.median * ns_per_second,
                      lower_end_ns(s),
                      s.ci95_hi * ns_per_second,
                      s.minimum * ns_per_second,
                      s.mad * ns_per_second,
                      {}};
  result.samples_ns.reserve(measurement.seconds.size());
  for (const double seconds : measurement.seconds) result.samples_ns.push_back(seconds * ns_per_second);
  return result;
}

RecordBaseline record_baseline(std::string name, std::string role, const Measurement& measurement) {
  const Statistics& s = measurement.statistics;
  return {std::move(name), std::move(role), s.n, s.median * ns_per_second, lower_end_ns(s), s.ci95_hi * ns_per_second};
}

RecordCache record_cache(const CacheState& cache, Protocol protocol) {
  const char* mode = protocol == Protocol::hot_eager ? "hot" : cache.cold ? "cold" : "warm";
  return {mode, cache.copies, cache.footprint_bytes, cache.last_level_cache_bytes};
}

RecordRoof record_roof(const Work& work, const Ceilings& ceilings, double median_ns) {
  RecordRoof roof;
  roof.read_bytes_per_second = ceilings.read_bytes_per_second;
  roof.fma_flops_per_second = ceilings.fma_flops_per_second;
  roof.source = ceilings.source;
  for (const ReadRate& rate : ceilings.read_by_level) {
    roof.read_by_level.push_back({rate.footprint_bytes, rate.bytes_per_second});
  }
  const Roofline roofline{ceilings};
  const double memory_ns = ceilings.read_bytes_per_second > 0 ? roofline.memory_seconds(work) * ns_per_second : 0.0;
  const double compute_ns = ceilings.fma_flops_per_second > 0 ? roofline.compute_seconds(work) * ns_per_second : 0.0;
  roof.lower_bound_ns = std::max(memory_ns, compute_ns);
  if (median_ns > 0) {
    roof.pct_of_read = 100.0 * memory_ns / median_ns;
    roof.pct_of_fma = 100.0 * compute_ns / median_ns;
    roof.above_roof = roof.lower_bound_ns > roof_tolerance * median_ns;
  }
  return roof;
}

}  // namespace millet
