// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/gfx950_emulated/emulator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "millet/backends/gfx950/instructions.hpp"
#include "millet/numeric/e4m3.hpp"
#include "millet/numeric/e8m0.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace millet::gfx950_emulated {

namespace {

using boost::context::fiber;
using gfx950::wave_lanes;

constexpr int largest_group = 1024;
constexpr std::uint64_t largest_grid = std::uint64_t{1} << 28;
constexpr std::size_t lds_bytes = 160 * 1024;
/// Accesses of a lane between two waits; more is a loop that waits for memory that nobody will write.
constexpr std::uint32_t most_accesses = 1U << 24;

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t stack_bytes = 256 * 1024;
#else
constexpr std::size_t stack_bytes = 64 * 1024;
#endif

/// splitmix64: the same sequence with every standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t below(std::uint64_t n) noexcept {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return (z ^ (z >> 31)) % n;
  }

 private:
  std::uint64_t state_;
};

// ---- Memory that kernels may touch ----

struct Allocation {
  std::uintptr_t begin = 0, end = 0;

  [[nodiscard]] bool holds(std::uintptr_t at, std::size_t bytes) const noexcept {
    return at >= begin && at <= end && bytes <= end - at;
  }
};

class Registry {
 public:
  static Registry& get() {
    static Registry registry;
    return registry;
  }

  Expected<void> add(const void* memory, Index bytes) {
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    if (memory == nullptr || bytes <= 0 || static_cast<std::uint64_t>(bytes) > UINTPTR_MAX - begin)
      return fail(ErrorCode::invalid_argument, "register_memory: {} bytes at {} are no allocation", bytes,
                  fmt::ptr(memory));
    const std::uintptr_t end = begin + static_cast<std::uintptr_t>(bytes);
    const std::scoped_lock lock(mutex_);
    const auto after = ends_.lower_bound(begin);
    if ((after != ends_.end() && after->first < end) || (after != ends_.begin() && std::prev(after)->second > begin))
      return fail(ErrorCode::invalid_argument, "register_memory: {} bytes at {} overlap another allocation", bytes,
                  fmt::ptr(memory));
    ends_.emplace(begin, end);
    return {};
  }

  Expected<void> remove(const void* memory) {
    const std::scoped_lock lock(mutex_);
    if (ends_.erase(reinterpret_cast<std::uintptr_t>(memory)) == 0)
      return fail(ErrorCode::invalid_argument, "unregister_memory: {} is not a registered allocation",
                  fmt::ptr(memory));
    removals_.fetch_add(1, std::memory_order_release);
    return {};
  }

  /// Grows with each removal: what find() gave is good for as long as this stays.
  [[nodiscard]] std::uint64_t removals() const noexcept { return removals_.load(std::memory_order_acquire); }

  [[nodiscard]] std::optional<Allocation> find(std::uintptr_t at, std::size_t bytes) {
    const std::scoped_lock lock(mutex_);
    auto next = ends_.upper_bound(at);
    if (next == ends_.begin()) return std::nullopt;
    --next;
    const Allocation allocation{next->first, next->second};
    if (!allocation.holds(at, bytes)) return std::nullopt;
    return allocation;
  }

  /// For messages.
  [[nodiscard]] std::string nearest(std::uintptr_t at) {
    const std::scoped_lock lock(mutex_);
    if (ends_.empty()) return "there is none";
    auto best = ends_.upper_bound(at);
    if (best == ends_.end()) {
      --best;
    } else if (best != ends_.begin()) {
      const auto before = std::prev(best);
      const std::uintptr_t distance = at < before->second ? 0 : at - before->second;
      if (distance <= best->first - at) best = before;
    }
    return fmt::format("the nearest is {} bytes at {:#x}", best->second - best->first, best->first);
  }

 private:
  std::mutex mutex_;
  std::map<std::uintptr_t, std::uintptr_t> ends_;  // by begin; disjoint
  std::atomic<std::uint64_t> removals_{0};
};

// ---- The arithmetic of an MFMA ----

std::atomic<bool> contiguous_k{false};

/// What the lanes of a wave give to an operation, and get.
struct WaveOperands {
  gfx950::Vec8u first[wave_lanes], second[wave_lanes];
  gfx950::Vec4f d[wave_lanes];  // c before, the result after
  std::uint32_t first_scale[wave_lanes], second_scale[wave_lanes];
  std::uint32_t value[wave_lanes];  // of uniform, ballot and shuffle
  int source[wave_lanes];           // of shuffle: the lane whose value is wanted
  std::uint32_t shuffled[wave_lanes];
  std::uint64_t mask;  // ballot's result
};

using OperandValues = double[gfx950::mfma_k][gfx950::mfma_rows];
using OperandScales = std::uint8_t[gfx950::mfma_blocks][gfx950::mfma_rows];

void decode(const gfx950::Vec8u* operand, const std::uint32_t* scale, int scale_byte, bool contiguous,
            OperandValues& values, OperandScales& scales) {
  for (int lane = 0; lane < wave_lanes; ++lane) {
    const int row = gfx950::mfma_row(lane);
    std::uint8_t codes[gfx950::mfma_lane_bytes];
    std::memcpy(codes, &operand[lane], sizeof(codes));
    for (int byte = 0; byte < gfx950::mfma_lane_bytes; ++byte) {
      const int k =
          contiguous ? gfx950::mfma_group(lane) * gfx950::mfma_lane_bytes + byte : gfx950::mfma_k_of_byte(lane, byte);
      values[k][row] = static_cast<double>(e4m3_table.value[codes[byte]]);
    }
    scales[gfx950::mfma_scale_block(lane)][row] = static_cast<std::uint8_t>(scale[lane] >> (8 * scale_byte));
  }
}

/// 2^(exponents of a and b), from 2^-254 to 2^254; NaN if either is.
double power(E8M0 a, E8M0 b) noexcept {
  if (a.is_nan() || b.is_nan()) return __builtin_nan("");
  return __builtin_bit_cast(double, static_cast<std::uint64_t>(1023 + a.exponent() + b.exponent()) << 52);
}

/// The sum of a block's 32 products is exact: products of e4m3 are multiples of 2^-18 below 2^18, so a sum takes 41
/// bits. So is its product with the scales. c and then the blocks 0 to 3 are added in double and rounded to f32 once.
/// How the hardware rounds between the blocks is not documented; where all partial sums are exact in f32 it cannot
/// matter.
void multiply(WaveOperands& wave, int first_byte, int second_byte) {
  constexpr int rows = gfx950::mfma_rows;
  constexpr int block_k = gfx950::mfma_k / gfx950::mfma_blocks;
  OperandValues first, second;
  OperandScales first_scales, second_scales;
  const bool contiguous = contiguous_k.load(std::memory_order_relaxed);
  decode(wave.first, wave.first_scale, first_byte, contiguous, first, first_scales);
  decode(wave.second, wave.second_scale, second_byte, contiguous, second, second_scales);

  double d[rows][rows];
  for (int lane = 0; lane < wave_lanes; ++lane)
    for (int i = 0; i < 4; ++i)
      d[gfx950::mfma_d_row(lane, i)][gfx950::mfma_d_column(lane)] = static_cast<double>(wave.d[lane][i]);
  for (int row = 0; row < rows; ++row) {
    for (int block = 0; block < gfx950::mfma_blocks; ++block) {
      double sum[rows] = {};
      for (int k = block * block_k; k < (block + 1) * block_k; ++k) {
        const double x = first[k][row];
        for (int column = 0; column < rows; ++column) sum[column] += x * second[k][column];
      }
      for (int column = 0; column < rows; ++column)
        d[row][column] += sum[column] * power(E8M0{first_scales[block][row]}, E8M0{second_scales[block][column]});
    }
  }
  for (int lane = 0; lane < wave_lanes; ++lane)
    for (int i = 0; i < 4; ++i)
      wave.d[lane][i] = static_cast<float>(d[gfx950::mfma_d_row(lane, i)][gfx950::mfma_d_column(lane)]);
}

// ---- Lanes ----

/// What a lane that is not running waits for.
enum class Wait : std::uint8_t { nothing, barrier, ballot, uniform, shuffle, mfma, ended };

constexpr const char* name(Wait wait) noexcept {
  switch (wait) {
    case Wait::barrier:
      return "waits at a barrier";
    case Wait::ballot:
      return "is in ballot";
    case Wait::uniform:
      return "is in uniform";
    case Wait::shuffle:
      return "is in shuffle";
    case Wait::mfma:
      return "is in an mfma";
    case Wait::ended:
      return "has ended";
    case Wait::nothing:
      break;
  }
  return "runs";
}

struct Lane {
  int thread = 0;
  Wait wait = Wait::nothing;
  int selector = 0;  // the operation's template parameters
  Site site;
  std::uint32_t accesses = 0;    // since it last waited
  std::size_t declarations = 0;  // of LDS
  fiber suspended;               // this lane, while the scheduler runs
  fiber scheduler;               // the scheduler, while this lane runs
  boost::context::stack_context stack;
  void* fake_stack = nullptr;  // AddressSanitizer's, while the lane is suspended

  [[nodiscard]] int wave() const noexcept { return thread / wave_lanes; }
  [[nodiscard]] int in_wave() const noexcept { return thread % wave_lanes; }
};

[[nodiscard]] bool same_site(const Site& a, const Site& b) noexcept {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

[[nodiscard]] std::string describe(const Lane& lane) {
  if (lane.wait == Wait::ended) return fmt::format("lane {} has ended", lane.in_wave());
  const std::string_view file = lane.site.file_name();
  return fmt::format("lane {} {} ({}:{})", lane.in_wave(), name(lane.wait), file.substr(file.rfind('/') + 1),
                     lane.site.line());
}

/// Unwinds a lane, after the fault was recorded or because another lane has faulted. Not a std::exception, so that a
/// kernel's own handlers, if it had any, let it pass.
struct Unwind {};

/// Who touched an element of LDS, by barrier interval; 0 is never.
struct Cell {
  std::uint32_t written = 0, read = 0;
  std::uint16_t writer = 0, reader = 0, other_reader = 0;
};
constexpr std::uint16_t nobody = 0xFFFF;

struct Declaration {
  LdsBlock block;
  std::size_t element_bytes;
  Site site;
};

/// The lanes of a thread's launches, and the work-group that runs.
class Engine {
 public:
  Engine() : lds_(std::make_unique<Lds>()) { lanes_.reserve(largest_group); }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() {
    if (running()) {  // exit() inside a kernel: this is a lane's stack, and none can be unwound
      for (auto& lane : lanes_) static_cast<void>(lane.release());
      return;
    }
    stopping_ = true;
    for (const auto& lane : lanes_) {
      resume(*lane);  // returns from its entry function
      release_stack(lane->stack);
    }
  }

  Expected<void> run(const LaunchShape& shape, const std::function<void()>& body, std::uint64_t seed) {
    counts = {};
    body_ = &body;
    failure_.reset();
    threads_ = shape.threads;
    if (interval_ > 1U << 31) {  // so that it never wraps within a launch
      interval_ = 0;
      std::fill(cells_.begin(), cells_.end(), Cell{});
    }
    while (static_cast<int>(lanes_.size()) < threads_) add_lane();
    operands_.resize(static_cast<std::size_t>(threads_ / wave_lanes));

    Random random(seed);
    std::vector<std::uint32_t> order(std::size_t{shape.groups_x} * shape.groups_y);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    for (const std::uint32_t group : order) {
      group_x_ = static_cast<int>(group % shape.groups_x);
      group_y_ = static_cast<int>(group / shape.groups_x);
      run_group(random);
      if (failure_) return fail(ErrorCode::device_error, "{}", *failure_);
    }
    return {};
  }

  [[nodiscard]] const Lane& lane() const noexcept { return *current_; }
  [[nodiscard]] bool running() const noexcept { return current_ != nullptr; }
  [[nodiscard]] LaneIds ids() const noexcept { return {current_->thread, group_x_, group_y_}; }
  [[nodiscard]] WaveOperands& operands() { return operands_[static_cast<std::size_t>(current_->wave())]; }

  [[noreturn]] void fault(const std::string& what) {
    record(what, *current_);
    throw Unwind{};
  }

  void check(const void* address, std::size_t bytes, const char* what) {
    if (++current_->accesses > most_accesses)
      fault(fmt::format("{} accesses to memory without reaching a barrier: does it wait for another work-group?",
                        most_accesses));
    if (bytes == 0) return;
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    const std::uint64_t removals = Registry::get().removals();
    if (removals == known_removals_) {
      for (const Allocation& known : known_)
        if (known.holds(at, bytes)) return;
    } else {
      for (Allocation& known : known_) known = {};
      known_removals_ = removals;
    }
    const std::optional<Allocation> found = Registry::get().find(at, bytes);
    if (!found)
      fault(fmt::format("{} of {} bytes at {:#x} reaches outside of every allocation ({})", what, bytes, at,
                        Registry::get().nearest(at)));
    known_[next_known_++ % std::size(known_)] = *found;
  }

  /// Suspends the running lane until the scheduler resumes it.
  void wait(Wait what, Site site, int selector) {
    Lane& lane = *current_;
    lane.wait = what;
    lane.site = site;
    lane.selector = selector;
    lane.accesses = 0;
    suspend(lane);
    if (unwinding_) throw Unwind{};
  }

  LdsBlock declare(std::size_t element_bytes, std::size_t alignment, int count, Site site) {
    const std::size_t index = current_->declarations++;
    if (index < declarations_.size()) {
      const Declaration& there = declarations_[index];
      if (there.block.count != count || there.element_bytes != element_bytes || !same_site(there.site, site))
        fault(fmt::format(
            "LDS declaration {} is {} elements of {} bytes on line {} here, and {} of {} on line {} in "
            "another lane",
            index, count, element_bytes, site.line(), there.block.count, there.element_bytes, there.site.line()));
      return there.block;
    }
    if (count <= 0) fault(fmt::format("LDS array of {} elements", count));
    const std::size_t align = std::max<std::size_t>(alignment, 16);
    const std::size_t offset = (lds_used_ + align - 1) / align * align;
    const std::size_t bytes = element_bytes * static_cast<std::size_t>(count);
    if (offset > lds_bytes || bytes > lds_bytes - offset)
      fault(fmt::format("LDS array of {} bytes after {} others exceeds the {} bytes of a work-group", bytes, lds_used_,
                        lds_bytes));
    const std::size_t first_cell = cells_used_;
    std::memset(lds_->bytes + offset, 0xFF, bytes);
    lds_used_ = offset + bytes;
    cells_used_ += static_cast<std::size_t>(count);
    if (cells_.size() < cells_used_) cells_.resize(cells_used_);
    const LdsBlock block{static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(first_cell), count};
    declarations_.push_back({block, element_bytes, site});
    return block;
  }

  const std::byte* read_lds(const LdsBlock& block, int i, std::size_t element_bytes) {
    Cell& cell = cell_of(block, i);
    const auto me = static_cast<std::uint16_t>(current_->thread);
    if (cell.written < group_begin_) fault(fmt::format("reads LDS that nobody wrote: {}", element(block, i)));
    if (cell.written == interval_ && cell.writer != me) race("reads", block, i, "wrote", cell.writer);
    if (cell.read != interval_) {
      cell.read = interval_;
      cell.reader = me;
      cell.other_reader = nobody;
    } else if (cell.reader != me) {
      cell.other_reader = me;
    }
    ++counts.lds_reads;
    return lds_->bytes + block.offset + static_cast<std::size_t>(i) * element_bytes;
  }

  std::byte* write_lds(const LdsBlock& block, int i, std::size_t element_bytes) {
    Cell& cell = cell_of(block, i);
    const auto me = static_cast<std::uint16_t>(current_->thread);
    if (cell.written == interval_ && cell.writer != me) race("writes", block, i, "wrote", cell.writer);
    if (cell.read == interval_) {
      if (cell.reader != me) race("writes", block, i, "read", cell.reader);
      if (cell.other_reader != nobody) race("writes", block, i, "read", cell.other_reader);
    }
    cell.written = interval_;
    cell.writer = me;
    ++counts.lds_writes;
    return lds_->bytes + block.offset + static_cast<std::size_t>(i) * element_bytes;
  }

  Counts counts{};

 private:
  struct alignas(64) Lds {
    std::byte bytes[lds_bytes];
  };

  // -- fibers --

  void add_lane() {
    auto added = std::make_unique<Lane>();
    Lane& lane = *added;
    lane.thread = static_cast<int>(lanes_.size());
    lane.stack = boost::context::protected_fixedsize_stack(stack_bytes).allocate();
    // Stacks that all start at the same offset in a page would compete for the same few cache sets.
    const std::size_t colour = static_cast<std::size_t>(lane.thread % 16) * 256;
    const boost::context::preallocated top(static_cast<char*>(lane.stack.sp) - colour, lane.stack.size - colour,
                                           lane.stack);
    creating_fiber([&] {
      lane.suspended = fiber(std::allocator_arg, top, KeepStack{},
                             [this, &lane](fiber&& scheduler) { return lane_main(lane, std::move(scheduler)); });
    });
    lanes_.push_back(std::move(added));
  }

  /// The engine frees the stacks itself, after the fibers have returned.
  struct KeepStack {
    using traits_type = boost::context::stack_traits;
    boost::context::stack_context allocate() { return {}; }
    void deallocate(boost::context::stack_context&) noexcept {}
  };

  static void release_stack(boost::context::stack_context& stack) {
#if defined(__SANITIZE_ADDRESS__)
    const std::size_t guard = boost::context::stack_traits::page_size();
    __asan_unpoison_memory_region(static_cast<char*>(stack.sp) - stack.size + guard, stack.size - guard);
#endif
    boost::context::protected_fixedsize_stack(stack_bytes).deallocate(stack);
  }

  /// A lane's fiber: one work-group a turn, until the engine goes.
  fiber lane_main(Lane& lane, fiber&& scheduler) {
    finish_switch_to_lane(lane);
    lane.scheduler = std::move(scheduler);
    while (!stopping_) {
      run_body(lane);
      lane.wait = Wait::ended;
      suspend(lane);
    }
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(nullptr, scheduler_stack_, scheduler_stack_bytes_);
#endif
    return std::move(lane.scheduler);
  }

  /// Nothing suspends inside a handler: the list of caught exceptions belongs to the thread, not to the fiber.
  void run_body(Lane& lane) {
    try {
      (*body_)();
    } catch (const Unwind&) {
    } catch (const boost::context::detail::forced_unwind&) {
      throw;
    } catch (const std::exception& e) {
      record(fmt::format("the kernel threw: {}", e.what()), lane);
    } catch (...) {
      record("the kernel threw", lane);
    }
  }

  void suspend(Lane& lane) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&lane.fake_stack, scheduler_stack_, scheduler_stack_bytes_);
#endif
    lane.scheduler = std::move(lane.scheduler).resume();
    finish_switch_to_lane(lane);
  }

  void finish_switch_to_lane([[maybe_unused]] Lane& lane) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(lane.fake_stack, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
  }

  void resume(Lane& lane) {
    current_ = &lane;
#if defined(__SANITIZE_ADDRESS__)
    const std::size_t guard = boost::context::stack_traits::page_size();
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, static_cast<char*>(lane.stack.sp) - lane.stack.size + guard,
                                   lane.stack.size - guard);
#endif
    lane.suspended = std::move(lane.suspended).resume();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
    current_ = nullptr;
  }

  /// Boost.Context enters a new fiber's stack and comes back. AddressSanitizer must not give frames of that stack a
  /// place in this one's fake stack, so it is told of a switch, to here.
  template <class Create>
  static void creating_fiber(const Create& create) {
#if defined(__SANITIZE_ADDRESS__)
    pthread_attr_t attributes;
    void* stack = nullptr;
    std::size_t bytes = 0;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &stack, &bytes);
    pthread_attr_destroy(&attributes);
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, stack, bytes);
    create();
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#else
    create();
#endif
  }

  // -- a work-group --

  void run_group(Random& random) {
    const int waves = threads_ / wave_lanes;
    declarations_.clear();
    lds_used_ = cells_used_ = 0;
    group_begin_ = ++interval_;
    for (int t = 0; t < threads_; ++t) {
      Lane& lane = *lanes_[static_cast<std::size_t>(t)];
      lane.wait = Wait::nothing;
      lane.declarations = 0;
      lane.accesses = 0;
    }
    ready_.clear();
    for (int wave = 0; wave < waves; ++wave) ready_.push_back(wave);
    int at_barrier = 0;
    int ended = 0;
    while (ended < waves) {
      if (ready_.empty()) {  // some wait at the barrier
        if (at_barrier < waves) {
          report_missing_at_barrier(waves);
          break;
        }
        ++counts.barriers;
        ++interval_;
        at_barrier = 0;
        for (int wave = 0; wave < waves; ++wave) ready_.push_back(wave);
      }
      const std::size_t chosen = random.below(ready_.size());
      const int wave = ready_[chosen];
      run_wave(wave, static_cast<int>(random.below(wave_lanes)));
      if (failure_) break;
      const Wait reached = lane_of(wave, 0).wait;
      if (reached == Wait::barrier || reached == Wait::ended) {
        ready_[chosen] = ready_.back();
        ready_.pop_back();
        ++(reached == Wait::barrier ? at_barrier : ended);
      }
    }
    if (failure_) unwind();
  }

  [[nodiscard]] Lane& lane_of(int wave, int lane) noexcept {
    return *lanes_[static_cast<std::size_t>(wave * wave_lanes + lane)];
  }

  /// Runs all lanes of a wave until each waits, checks that they wait for the same, and computes the result of that.
  void run_wave(int wave, int first_lane) {
    for (int i = 0; i < wave_lanes; ++i) {
      Lane& lane = lane_of(wave, (first_lane + i) % wave_lanes);
      resume(lane);
      if (failure_) return;
    }
    const Lane& zero = lane_of(wave, 0);
    for (int i = 1; i < wave_lanes; ++i) {
      const Lane& lane = lane_of(wave, i);
      if (lane.wait == zero.wait &&
          (zero.wait == Wait::ended || (lane.selector == zero.selector && same_site(lane.site, zero.site))))
        continue;
      record(fmt::format("divergent: {}, {}", describe(zero), describe(lane)), lane);
      return;
    }
    WaveOperands& operands = operands_[static_cast<std::size_t>(wave)];
    if (zero.wait == Wait::mfma) {
      ++counts.wave_mfma;
      multiply(operands, zero.selector / 4, zero.selector % 4);
    } else if (zero.wait == Wait::ballot) {
      operands.mask = 0;
      for (int i = 0; i < wave_lanes; ++i) operands.mask |= std::uint64_t{operands.value[i]} << i;
    } else if (zero.wait == Wait::shuffle) {
      for (int i = 0; i < wave_lanes; ++i) {
        if (operands.source[i] < 0 || operands.source[i] >= wave_lanes) {
          record(fmt::format("shuffle() from lane {}, which is outside of [0, 64)", operands.source[i]),
                 lane_of(wave, i));
          return;
        }
        operands.shuffled[i] = operands.value[operands.source[i]];
      }
    } else if (zero.wait == Wait::uniform) {
      for (int i = 1; i < wave_lanes; ++i)
        if (operands.value[i] != operands.value[0]) {
          record(fmt::format("uniform() of different values: {:#x} in lane 0, {:#x} in lane {}", operands.value[0],
                             operands.value[i], i),
                 lane_of(wave, i));
          return;
        }
    }
  }

  void report_missing_at_barrier(int waves) {
    int waiting = 0;
    int gone = 0;
    for (int wave = 0; wave < waves; ++wave) (lane_of(wave, 0).wait == Wait::barrier ? waiting : gone) = wave;
    record(fmt::format("a barrier that not all waves reach: wave {} waits (line {}), wave {} has ended", waiting,
                       lane_of(waiting, 0).site.line(), gone),
           lane_of(gone, 0));
  }

  /// Lets every lane that has begun leave its kernel.
  void unwind() {
    unwinding_ = true;
    for (int t = 0; t < threads_; ++t) {
      Lane& lane = *lanes_[static_cast<std::size_t>(t)];
      if (lane.wait != Wait::ended && lane.wait != Wait::nothing) resume(lane);
    }
    unwinding_ = false;
  }

  void record(const std::string& what, const Lane& lane) {
    if (failure_) return;
    failure_ = fmt::format("gfx950 emulator: {}; work-group ({}, {}), wave {}, lane {}", what, group_x_, group_y_,
                           lane.wave(), lane.in_wave());
  }

  // -- LDS --

  [[nodiscard]] static std::string element(const LdsBlock& block, int i) {
    return fmt::format("element {} of the array of {} at LDS byte {}", i, block.count, block.offset);
  }

  Cell& cell_of(const LdsBlock& block, int i) {
    if (i < 0 || i >= block.count) fault(fmt::format("LDS index out of bounds: {}", element(block, i)));
    return cells_[block.first_cell + static_cast<std::size_t>(i)];
  }

  [[noreturn]] void race(const char* what, const LdsBlock& block, int i, const char* did, int other) {
    fault(fmt::format("LDS race: {} {}, which wave {} lane {} {} since the last barrier", what, element(block, i),
                      other / wave_lanes, other % wave_lanes, did));
  }

  std::vector<std::unique_ptr<Lane>> lanes_;  // by thread; grows to the largest group so far
  std::vector<WaveOperands> operands_;        // by wave
  Lane* current_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  std::optional<std::string> failure_;
  std::vector<int> ready_;  // waves that can go on
  int threads_ = 0;
  int group_x_ = 0, group_y_ = 0;
  bool stopping_ = false;
  bool unwinding_ = false;

  Allocation known_[8];  // found lately
  std::size_t next_known_ = 0;
  std::uint64_t known_removals_ = 0;

  std::unique_ptr<Lds> lds_;
  std::vector<Cell> cells_;  // one an element, by order of declaration
  std::vector<Declaration> declarations_;
  std::size_t lds_used_ = 0, cells_used_ = 0;
  std::uint32_t interval_ = 0;     // between barriers; never reused
  std::uint32_t group_begin_ = 0;  // the work-group's first

#if defined(__SANITIZE_ADDRESS__)
  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_bytes_ = 0;
#endif
};

/// One a thread that runs kernels; keeps the lanes' stacks from launch to launch.
thread_local std::unique_ptr<Engine> thread_engine;

Engine& running_engine() {
  Engine* engine = thread_engine.get();
  if (engine == nullptr || !engine->running())
    throw std::logic_error("a gfx950 instruction outside of a kernel that run_grid runs");
  return *engine;
}

}  // namespace

Expected<void> run_grid(const LaunchShape& shape, const std::function<void()>& lane_body, std::uint64_t order_seed) {
  if (shape.threads <= 0 || shape.threads > largest_group || shape.threads % wave_lanes != 0)
    return fail(ErrorCode::invalid_argument, "run_grid: threads must be a multiple of {} up to {}, got {}", wave_lanes,
                largest_group, shape.threads);
  const std::uint64_t groups = std::uint64_t{shape.groups_x} * shape.groups_y;
  if (groups == 0 || groups > largest_grid)
    return fail(ErrorCode::invalid_argument, "run_grid: a grid of {} x {} work-groups must have 1 to 2^28",
                shape.groups_x, shape.groups_y);
  if (thread_engine == nullptr) thread_engine = std::make_unique<Engine>();
  if (thread_engine->running()) return fail(ErrorCode::invalid_argument, "run_grid: called from inside a kernel");
  return thread_engine->run(shape, lane_body, order_seed);
}

const Counts& last_counts() noexcept {
  static constexpr Counts none{};
  return thread_engine == nullptr ? none : thread_engine->counts;
}

Expected<void> register_memory(const void* memory, Index bytes) { return Registry::get().add(memory, bytes); }
Expected<void> unregister_memory(const void* memory) { return Registry::get().remove(memory); }

void set_contiguous_k_for_testing(bool contiguous) noexcept { contiguous_k = contiguous; }

LaneIds current_lane() { return running_engine().ids(); }

void fault(const std::string& what) { running_engine().fault(what); }

void check_load(const void* from, std::size_t bytes, gfx950::Cache cache) {
  Engine& engine = running_engine();
  engine.check(from, bytes, "load");
  ++engine.counts.lane_loads;
  switch (cache) {
    case gfx950::Cache::normal:
      engine.counts.bytes_loaded_normal += bytes;
      break;
    case gfx950::Cache::streaming:
      engine.counts.bytes_loaded_streaming += bytes;
      break;
    case gfx950::Cache::device:
      engine.counts.bytes_loaded_device += bytes;
      break;
  }
}

void check_store(const void* to, std::size_t bytes) {
  Engine& engine = running_engine();
  engine.check(to, bytes, "store");
  ++engine.counts.lane_stores;
  engine.counts.bytes_stored += bytes;
}

std::uint64_t wave_ballot(bool x, Site site) {
  Engine& engine = running_engine();
  engine.operands().value[engine.lane().in_wave()] = x ? 1 : 0;
  engine.wait(Wait::ballot, site, 0);
  return engine.operands().mask;
}

std::uint32_t wave_uniform(std::uint32_t x, Site site) {
  Engine& engine = running_engine();
  engine.operands().value[engine.lane().in_wave()] = x;
  engine.wait(Wait::uniform, site, 0);
  return x;
}

std::uint32_t wave_shuffle(std::uint32_t x, int source, Site site) {
  Engine& engine = running_engine();
  const int lane = engine.lane().in_wave();
  engine.operands().value[lane] = x;
  engine.operands().source[lane] = source;
  engine.wait(Wait::shuffle, site, 0);
  return engine.operands().shuffled[lane];
}

void wave_mfma(const std::uint32_t* first, std::uint32_t first_scale, int first_byte, const std::uint32_t* second,
               std::uint32_t second_scale, int second_byte, float* d, Site site) {
  Engine& engine = running_engine();
  const int lane = engine.lane().in_wave();
  WaveOperands& operands = engine.operands();
  std::memcpy(&operands.first[lane], first, sizeof(operands.first[lane]));
  std::memcpy(&operands.second[lane], second, sizeof(operands.second[lane]));
  operands.first_scale[lane] = first_scale;
  operands.second_scale[lane] = second_scale;
  std::memcpy(&operands.d[lane], d, sizeof(operands.d[lane]));
  engine.wait(Wait::mfma, site, 4 * first_byte + second_byte);
  std::memcpy(d, &operands.d[lane], sizeof(operands.d[lane]));
}

void group_barrier(Site site) { running_engine().wait(Wait::barrier, site, 0); }

LdsBlock declare_lds(std::size_t element_bytes, std::size_t alignment, int count, Site site) {
  return running_engine().declare(element_bytes, alignment, count, site);
}
const std::byte* lds_for_read(const LdsBlock& block, int i, std::size_t element_bytes) {
  return running_engine().read_lds(block, i, element_bytes);
}
std::byte* lds_for_write(const LdsBlock& block, int i, std::size_t element_bytes) {
  return running_engine().write_lds(block, i, element_bytes);
}

}  // namespace millet::gfx950_emulated
