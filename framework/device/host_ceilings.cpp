// SPDX-License-Identifier: Apache-2.0
#include "millet/device/host_ceilings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
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

// What the loops compute goes here, so that no compiler can leave them out.
std::atomic<std::uint64_t> sink{0};

// The median of at least five samples; more until `seconds` are over. The first, a warm-up, does not count.
template <class Sample>
double median_seconds(double seconds, const Sample& sample) {
  const auto start = Clock::now();
  static_cast<void>(sample());
  std::vector<double> times;
  while (times.size() < 5 || seconds_since(start) < seconds) times.push_back(sample());
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

}  // namespace

HostRoofLoops::HostRoofLoops(Index threads, OnEachThread on_each_thread)
    : threads_(threads), on_each_thread_(on_each_thread), buffer_(nullptr, [](std::byte* data) { std::free(data); }) {
  const Index cache = std::max<Index>(host_device_info(threads, "").last_level_cache_bytes, Index{1} << 20);
  constexpr Index huge_page = Index{2} << 20;
  const Index slice = round_up_to_tile(tiles_to_cover(cache * 5 / 2, threads), huge_page);
  buffer_.reset(static_cast<std::byte*>(std::aligned_alloc(huge_page, static_cast<std::size_t>(slice * threads))));
  if (buffer_ == nullptr) return;
  slice_ = slice;
  huge_pages_ = advise_huge_pages(buffer_.get(), slice * threads);
  // Zero pages could be shared and would not be read from memory.
  run_on_each_thread([&](Index thread) { std::fill_n(buffer_.get() + thread * slice_, slice_, std::byte{1}); });
}

void HostRoofLoops::run_on_each_thread(const std::function<void(Index)>& work) const {
  if (threads_ == 1) return work(0);
  if (on_each_thread_ != nullptr) return on_each_thread_(work);
  std::vector<std::jthread> others;
  for (Index thread = 1; thread < threads_; ++thread) others.emplace_back(work, thread);
  work(0);
}

double HostRoofLoops::read(Index offset, Index bytes, Index passes) const {
  const auto loop = loops_for(host_isa()).read;
  const Index part = tiles_to_cover(bytes, threads_);
  const auto start = Clock::now();
  run_on_each_thread([&](Index thread) {
    const std::byte* const slice = buffer_.get() + thread * slice_;
    std::uint64_t sum = 0;
    for (Index pass = 0; pass < passes; ++pass) {
      Index here = offset;
      for (Index left = part; left > 0;) {
        const Index count = std::min(left, slice_ - here);
        sum += loop(slice + here, count);
        left -= count;
        here = 0;
      }
    }
    sink.fetch_add(sum, std::memory_order_relaxed);
  });
  return seconds_since(start);
}

double HostRoofLoops::multiply_add(Index steps) const {
  const auto loop = loops_for(host_isa()).fma;
  const auto start = Clock::now();
  run_on_each_thread([&](Index) { sink.fetch_add(loop(steps) > 0 ? 1 : 0, std::memory_order_relaxed); });
  return seconds_since(start);
}

double HostRoofLoops::multiply_add_flops(Index steps) const noexcept {
  return static_cast<double>(steps * 12 * 2 * loops_for(host_isa()).floats_per_register * threads_);
}

std::string HostRoofLoops::description() const {
  return fmt::format("{} read loop over {} MiB ({} pages), {} f32 multiply-add loop, {} thread(s)",
                     to_string(host_isa()), buffer_bytes() >> 20, huge_pages_ ? "2 MB" : "4 KB", to_string(host_isa()),
                     threads_);
}

Ceilings measure_host_ceilings(double seconds, Index threads, OnEachThread on_each_thread) {
  const HostRoofLoops loops(threads, on_each_thread);
  Ceilings ceilings;
  ceilings.threads = threads;
  if (loops.buffer_bytes() == 0) {
    ceilings.source = "not measured: no memory for a buffer of two and a half times the last-level cache";
    return ceilings;
  }
  const Index slice = loops.buffer_bytes() / threads;
  const auto read_rate = [&](Index bytes_per_thread, double time) {
    // A sample of at least 16 MiB a thread: neither the clock's resolution nor the start of the threads matters then.
    const Index passes = tiles_to_cover(Index{16} << 20, bytes_per_thread);
    const Index bytes = bytes_per_thread * threads;
    return static_cast<double>(bytes * passes) / median_seconds(time, [&] { return loops.read(0, bytes, passes); });
  };
  const Index half_cache = std::min(slice, round_up_to_tile(slice / 5, Index{1} << 20));
  for (const Index bytes : {Index{32} << 10, Index{1} << 20, half_cache}) {
    ceilings.read_by_level.push_back({bytes * threads, read_rate(bytes, 0.1 * seconds)});
  }
  ceilings.read_bytes_per_second = read_rate(slice, 0.5 * seconds);
  constexpr Index steps = 200'000;
  ceilings.fma_flops_per_second =
      loops.multiply_add_flops(steps) / median_seconds(0.2 * seconds, [&] { return loops.multiply_add(steps); });
  ceilings.source = "measured in this run: " + loops.description();
  return ceilings;
}

}  // namespace millet
