// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "millet/device/host_info.hpp"
#include "millet/host_device.hpp"

namespace millet {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Vector types of one register for each level; GCC and clang lower the operators to that level's instructions.
template <int Bytes>
struct Registers {
  typedef std::uint64_t Word __attribute__((vector_size(Bytes)));
  typedef float Float __attribute__((vector_size(Bytes)));
};

// Adds up all 64-bit words. Eight accumulators, since the sum's latency must not limit the loads.
template <int Bytes>
MILLET_INLINE std::uint64_t add_words(const std::byte* data, Index bytes) {
  using Word = typename Registers<Bytes>::Word;
  Word sums[8] = {};
  for (Index offset = 0; offset + 8 * Bytes <= bytes; offset += 8 * Bytes) {
    const auto* line = reinterpret_cast<const Word*>(data + offset);
    for (int i = 0; i < 8; ++i) sums[i] += line[i];
  }
  Word sum = {};
  for (const Word& partial : sums) sum += partial;
  std::uint64_t result = 0;
  for (std::size_t i = 0; i < sizeof(Word) / sizeof(std::uint64_t); ++i) result += sum[i];
  return result;
}

// 12 chains: latency 4 times 2 pipes, with room for a longer latency; 16 registers hold them with the two factors.
template <int Bytes>
MILLET_INLINE float multiply_add(Index steps) {
  using Float = typename Registers<Bytes>::Float;
  Float sums[12];
  for (int i = 0; i < 12; ++i) sums[i] = Float{} + static_cast<float>(i);
  Float factor = Float{} + 0.999F;
  Float term = Float{} + 0.001F;
  for (Index step = 0; step < steps; ++step) {
    // The compiler may not know the factors, or it would compute the loop's result itself.
    asm volatile("" : "+x"(factor), "+x"(term));
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) sums[i] = sums[i] * factor + term;
  }
  Float sum = {};
  for (const Float& partial : sums) sum += partial;
  float result = 0;
  for (std::size_t i = 0; i < sizeof(Float) / sizeof(float); ++i) result += sum[i];
  return result;
}

struct Loops {
  std::uint64_t (*read)(const std::byte*, Index);
  float (*fma)(Index);
  Index floats_per_register;
};

#if MILLET_X86_TIERS
MILLET_TARGET_AVX512 std::uint64_t read_avx512(const std::byte* data, Index bytes) {
  return add_words<64>(data, bytes);
}
MILLET_TARGET_AVX512 float fma_avx512(Index steps) { return multiply_add<64>(steps); }
MILLET_TARGET_AVX2 std::uint64_t read_avx2(const std::byte* data, Index bytes) { return add_words<32>(data, bytes); }
MILLET_TARGET_AVX2 float fma_avx2(Index steps) { return multiply_add<32>(steps); }
#endif
std::uint64_t read_baseline(const std::byte* data, Index bytes) { return add_words<16>(data, bytes); }
float fma_baseline(Index steps) { return multiply_add<16>(steps); }

Loops loops_for(HostIsa isa) {
#if MILLET_X86_TIERS
  if (isa == HostIsa::avx512) return {read_avx512, fma_avx512, 16};
  if (isa == HostIsa::avx2) return {read_avx2, fma_avx2, 8};
#endif
  static_cast<void>(isa);
  return {read_baseline, fma_baseline, 4};
}

// Runs `body(thread)` on `threads` threads `repeats` times and returns the median wall time of one repetition, in which
// all threads start together. At least five repetitions, then until `seconds` are over.
template <class Body>
double median_seconds(Index threads, double seconds, const Body& body) {
  std::vector<double> times;
  std::barrier line(threads);
  bool more = true;  // written by thread 0 between two barriers
  const auto work = [&](Index thread) {
    const auto start = Clock::now();
    body(thread);  // warm-up
    for (;;) {
      line.arrive_and_wait();
      if (!more) return;
      const auto begin = Clock::now();
      body(thread);
      line.arrive_and_wait();
      if (thread == 0) {
        times.push_back(seconds_since(begin));
        more = times.size() < 5 || seconds_since(start) < seconds;
      }
    }
  };
  std::vector<std::jthread> others;
  for (Index thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
  work(0);
  others.clear();
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

}  // namespace

Ceilings measure_host_ceilings(double seconds, Index threads) {
  const Loops loops = loops_for(host_isa());
  const Index cache = std::max<Index>(host_device_info(threads, "").last_level_cache_bytes, Index{1} << 20);
  constexpr Index huge_page = Index{2} << 20;
  const Index slice = round_up_to_tile(tiles_to_cover(cache * 5 / 2, threads), huge_page);  // of one thread
  const Index largest = slice * threads;

  const auto release = [](std::byte* data) { std::free(data); };
  const std::unique_ptr<std::byte, decltype(release)> buffer(
      static_cast<std::byte*>(std::aligned_alloc(huge_page, static_cast<std::size_t>(largest))), release);
  Ceilings ceilings;
  ceilings.threads = threads;
  if (buffer == nullptr) {
    ceilings.source = fmt::format("not measured: no memory for a buffer of {} bytes", largest);
    return ceilings;
  }
  const bool huge = advise_huge_pages(buffer.get(), largest);
  std::fill_n(buffer.get(), largest, std::byte{1});  // zero pages could be shared and would not be read from memory

  std::atomic<std::uint64_t> sink{0};
  const auto read_rate = [&](Index bytes_per_thread, double time) {
    // A sample of at least 4 MiB a thread, so that the clock's resolution does not matter in the small caches.
    const Index passes = std::max<Index>(1, (Index{4} << 20) / bytes_per_thread);
    const double median = median_seconds(threads, time, [&](Index thread) {
      std::uint64_t sum = 0;
      for (Index pass = 0; pass < passes; ++pass) sum += loops.read(buffer.get() + thread * slice, bytes_per_thread);
      sink.fetch_add(sum, std::memory_order_relaxed);
    });
    return static_cast<double>(bytes_per_thread * passes * threads) / median;
  };
  const Index half_cache = std::min(slice, round_up_to_tile(tiles_to_cover(cache / 2, threads), Index{1} << 20));
  for (const Index bytes : {Index{32} << 10, Index{1} << 20, half_cache}) {
    ceilings.read_by_level.push_back({bytes * threads, read_rate(bytes, 0.1 * seconds)});
  }
  ceilings.read_bytes_per_second = read_rate(slice, 0.5 * seconds);

  constexpr Index steps = 200'000;
  const double fma_seconds = median_seconds(
      threads, 0.2 * seconds, [&](Index) { sink.fetch_add(loops.fma(steps) > 0 ? 1 : 0, std::memory_order_relaxed); });
  ceilings.fma_flops_per_second =
      static_cast<double>(steps * 12 * 2 * loops.floats_per_register * threads) / fma_seconds;
  ceilings.source =
      fmt::format("measured in this run: {} read loop over {} MiB ({} pages), {} f32 multiply-add loop, {} thread(s)",
                  to_string(host_isa()), largest >> 20, huge ? "2 MB" : "4 KB", to_string(host_isa()), threads);
  return ceilings;
}

}  // namespace millet
