// SPDX-License-Identifier: Apache-2.0
#include "machine.hpp"

#include <algorithm>
#include <bit>
#include <bitset>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include "millet/backends/gfx950/lane_maps.hpp"
#include "millet/numeric/e4m3.hpp"
#include "millet/numeric/e8m0.hpp"

namespace millet::gfx950_isa {

namespace {

using gfx950::wave_lanes;
using Lanes = std::uint32_t[wave_lanes];
using LaneMask = std::uint64_t;

constexpr LaneMask all_lanes = ~LaneMask{0};
constexpr std::uint64_t most_instructions = 1U << 24;  // of a wave; more is an endless loop
constexpr std::size_t most_resident_groups = 3;
constexpr std::uint32_t raw_buffer = 0x00027000;  // dword 3 of a resource: untyped, out-of-range by byte offset

struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Args>
[[noreturn]] void fault(fmt::format_string<Args...> text, Args&&... args) {
  throw Fault(fmt::format(text, std::forward<Args>(args)...));
}

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

// ---- Memory ----

struct Allocation {
  std::uintptr_t end = 0;
  bool stored = false;  ///< by the launch that runs
};
std::map<std::uintptr_t, Allocation>& allocations() {
  static std::map<std::uintptr_t, Allocation> by_begin;
  return by_begin;
}

/// Global memory as a launch sees it.
class Memory {
 public:
  Memory() {
    for (auto& [begin, allocation] : allocations()) allocation.stored = false;
  }

  /// \param group    that loads
  /// \param coherent whether the load goes past L2
  const void* for_load(std::uintptr_t at, std::size_t bytes, std::uint32_t group, bool coherent) {
    if (find(at, bytes).stored) {
      for (std::uintptr_t dword = at / 4; dword <= (at + bytes - 1) / 4; ++dword) {
        const auto stored = stored_.find(dword);
        if (stored == stored_.end() || stored->second.group == group) continue;
        if (!coherent || !stored->second.coherent)
          fault("loads at {:#x} what another work-group stored in the same launch, and {} does not go past L2 (sc1)",
                at, coherent ? "the store" : "the load");
      }
    }
    return reinterpret_cast<const void*>(at);
  }
  void* for_store(std::uintptr_t at, std::size_t bytes, std::uint32_t group, bool coherent) {
    find(at, bytes).stored = true;
    for (std::uintptr_t dword = at / 4; dword <= (at + bytes - 1) / 4; ++dword) stored_[dword] = {group, coherent};
    return reinterpret_cast<void*>(at);
  }
  void check(std::uintptr_t at, std::size_t bytes) { find(at, bytes); }

 private:
  struct Stored {
    std::uint32_t group;
    bool coherent;
  };

  Allocation& find(std::uintptr_t at, std::size_t bytes) {
    if (last_ != nullptr && at >= last_begin_ && at < last_->end && bytes <= last_->end - at) return *last_;
    auto next = allocations().upper_bound(at);
    if (next != allocations().begin()) {
      --next;
      if (at < next->second.end && bytes <= next->second.end - at) {
        last_begin_ = next->first;
        last_ = &next->second;
        return *last_;
      }
    }
    fault("touches {} bytes at {:#x}, which lie in no allocation", bytes, at);
  }

  std::uintptr_t last_begin_ = 0;
  Allocation* last_ = nullptr;
  std::unordered_map<std::uintptr_t, Stored> stored_;
};

// ---- Work-groups and waves ----

struct LdsDword {
  std::uint32_t written_in = 0, read_in = 0;  ///< intervals between barriers, from 1; 0: never
  std::uint16_t writer = 0;
  std::uint16_t readers = 0;  ///< a bit for each wave
};

struct Group {
  std::uint32_t x = 0, y = 0, id = 0;
  std::uint32_t interval = 1;
  std::vector<std::uint8_t> lds;
  std::vector<LdsDword> lds_state;
};

/// An outstanding operation: its destination registers, if any.
struct Outstanding {
  std::uint16_t first = 0;
  std::uint8_t count = 0;
  bool load = false;    ///< of global memory, by a vector instruction
  bool scalar = false;  ///< of a scalar instruction
  bool lds_write = false;
  int round = 0;
  std::uint32_t streamed = 0;
  std::uint32_t stores = 0;  ///< entries of Wave::stores
};

struct DelayedStore {
  std::uintptr_t at;
  std::uint32_t bytes;
  bool coherent;
  std::array<std::uint32_t, 4> data;
};

enum class WaveState : std::uint8_t { ready, at_barrier, ended };

struct Wave {
  Group* group = nullptr;
  int index = 0;
  std::uint32_t pc = 0;
  WaveState state = WaveState::ready;
  bool scc = false;
  bool scc_defined = false;
  std::array<std::uint32_t, scalar_registers> scalars{};
  std::bitset<scalar_registers> scalar_defined, scalar_outstanding;
  std::vector<std::uint32_t> vectors;    ///< 64 lanes of each register
  std::vector<LaneMask> vector_defined;  ///< lanes
  std::bitset<gfx950_isa::vector_registers> vector_outstanding;
  std::deque<Outstanding> vector_memory, lds_and_scalar;
  std::deque<DelayedStore> stores;

  std::uint64_t instructions = 0;
  int retired_round = 0, retired_scalar_round = 0;
  int rounds = 0, scalar_rounds = 0;
  std::uint64_t in_flight = 0, in_flight_at_first_wait = 0, most_in_flight = 0;
  std::uint64_t before_streaming = 0;
  bool waited = false, streams = false;
  bool loads_overlap = false;  ///< a vector load's destination was that of an outstanding one

  [[nodiscard]] LaneMask mask(int first) const noexcept {
    return scalars[static_cast<std::size_t>(first)] |
           static_cast<LaneMask>(scalars[static_cast<std::size_t>(first) + 1]) << 32;
  }
  [[nodiscard]] LaneMask executing() const noexcept { return mask(exec); }
  [[nodiscard]] std::uint32_t* lanes(int reg) noexcept { return &vectors[static_cast<std::size_t>(reg) * wave_lanes]; }
};

// ---- The arithmetic of an MFMA: as backends/gfx950_emulated/emulator.cpp says ----

/// One operand: values by (k, row) and scales by (block, row).
struct MfmaOperand {
  double values[gfx950::mfma_k][gfx950::mfma_rows];
  std::uint8_t scales[gfx950::mfma_blocks][gfx950::mfma_rows];

  /// \param dwords  8 registers
  void decode(const std::uint32_t* dwords, const std::uint32_t* scale, int scale_byte) {
    for (int lane = 0; lane < wave_lanes; ++lane) {
      const int row = gfx950::mfma_row(lane);
      for (int byte = 0; byte < gfx950::mfma_lane_bytes; ++byte) {
        const std::uint32_t code = dwords[byte / 4 * wave_lanes + lane] >> (8 * (byte % 4)) & 0xFF;
        values[gfx950::mfma_k_of_byte(lane, byte)][row] = static_cast<double>(e4m3_table.value[code]);
      }
      scales[gfx950::mfma_scale_block(lane)][row] = static_cast<std::uint8_t>(scale[lane] >> (8 * scale_byte));
    }
  }
};

double power(E8M0 a, E8M0 b) noexcept {
  if (a.is_nan() || b.is_nan()) return std::numeric_limits<double>::quiet_NaN();
  return __builtin_bit_cast(double, static_cast<std::uint64_t>(1023 + a.exponent() + b.exponent()) << 52);
}

/// \param d  4 registers: c before, the result after
void multiply(const MfmaOperand& first, const MfmaOperand& second, float* d) {
  constexpr int rows = gfx950::mfma_rows;
  constexpr int block_k = gfx950::mfma_k / gfx950::mfma_blocks;
  double sums[rows][rows];
  for (int lane = 0; lane < wave_lanes; ++lane)
    for (int i = 0; i < 4; ++i)
      sums[gfx950::mfma_d_row(lane, i)][gfx950::mfma_d_column(lane)] = static_cast<double>(d[i * wave_lanes + lane]);
  for (int row = 0; row < rows; ++row) {
    for (int block = 0; block < gfx950::mfma_blocks; ++block) {
      double dots[rows] = {};
      for (int k = block * block_k; k < (block + 1) * block_k; ++k) {
        const double x = first.values[k][row];
        for (int column = 0; column < rows; ++column) dots[column] += x * second.values[k][column];
      }
      for (int column = 0; column < rows; ++column)
        sums[row][column] += dots[column] * power(E8M0{first.scales[block][row]}, E8M0{second.scales[block][column]});
    }
  }
  for (int lane = 0; lane < wave_lanes; ++lane)
    for (int i = 0; i < 4; ++i)
      d[i * wave_lanes + lane] = static_cast<float>(sums[gfx950::mfma_d_row(lane, i)][gfx950::mfma_d_column(lane)]);
}

float as_float(std::uint32_t x) noexcept { return __builtin_bit_cast(float, x); }
std::uint32_t as_bits(float x) noexcept { return __builtin_bit_cast(std::uint32_t, x); }
std::int32_t as_signed(std::uint32_t x) noexcept { return static_cast<std::int32_t>(x); }
std::uint32_t low(std::uint64_t x) noexcept { return static_cast<std::uint32_t>(x); }
std::uint32_t high(std::uint64_t x) noexcept { return static_cast<std::uint32_t>(x >> 32); }
std::uint64_t join(std::uint32_t lo, std::uint32_t hi) noexcept { return lo | static_cast<std::uint64_t>(hi) << 32; }

std::uint32_t reversed(std::uint32_t x) noexcept {
  std::uint32_t r = 0;
  for (int i = 0; i < 32; ++i) r |= (x >> i & 1) << (31 - i);
  return r;
}
std::uint32_t to_u32(float x) noexcept {
  if (!(x > 0.0F)) return 0;  // NaN too
  return x >= 4294967296.0F ? 0xFFFFFFFFU : static_cast<std::uint32_t>(x);
}
/// 1 / x to less than one unit in the last place, which is what the device promises: the nearest float, or with
/// `rounding` -1 or 1 the next one below or above.
float reciprocal(float x, int rounding) noexcept {
  const double exact = 1.0 / static_cast<double>(x);
  const auto nearest = static_cast<float>(exact);
  if (!std::isfinite(nearest) || rounding == 0) return nearest;
  if (rounding < 0 && static_cast<double>(nearest) > exact) return std::nextafter(nearest, -HUGE_VALF);
  if (rounding > 0 && static_cast<double>(nearest) < exact) return std::nextafter(nearest, HUGE_VALF);
  return nearest;
}
std::uint32_t permuted(std::uint32_t a, std::uint32_t b, std::uint32_t selector) noexcept {
  const std::uint64_t bytes = join(b, a);
  std::uint32_t r = 0;
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t s = selector >> (8 * i) & 0xFF;
    std::uint32_t byte = 0xFF;
    if (s < 8) byte = low(bytes >> (8 * s)) & 0xFF;
    if (s >= 8 && s < 12) byte = (bytes >> (16 * (s - 8) + 15) & 1) != 0 ? 0xFF : 0;
    if (s == 12) byte = 0;
    r |= byte << (8 * i);
  }
  return r;
}

// ---- Execution ----

class Machine {
 public:
  Machine(const Dispatch& launch, std::uint64_t seed, Counts& counts)
      : launch_(launch),
        kernel_(*launch.kernel),
        code_(launch.program->instructions()),
        random_(seed),
        counts_(counts) {
    reciprocal_rounding_ = static_cast<int>(random_.below(3)) - 1;
    registers_ = kernel_.accumulation_registers > 0 ? gfx950_isa::vector_registers : kernel_.vector_registers;
  }

  void run();

 private:
  struct Resident {
    Group group;
    std::vector<Wave> waves;
  };

  void start(Resident& x, std::uint32_t id);
  void run_wave(Wave& wave, std::uint64_t quantum);
  void end(Wave& wave);
  void execute(const Instruction& x);
  bool execute_scalar(const Instruction& x);
  bool execute_vector(const Instruction& x);
  void execute_mfma(const Instruction& x);
  void load_scalar(const Instruction& x, std::uint32_t count);
  void buffer_access(const Instruction& x, std::uint32_t bytes, bool store);
  void global_access(const Instruction& x, std::uint32_t bytes, bool store);
  void atomic_add(const Instruction& x);
  void lds_access(const Instruction& x, std::uint32_t bytes, bool write);
  void permute_lanes(const Instruction& x);
  void wait(const Instruction& x);
  void retire(Wave& wave, const Outstanding& done);
  void perform_stores(Wave& wave, std::uint32_t count);

  // Scalar operands.
  std::uint32_t read_scalar(int reg) const {
    const auto at = static_cast<std::size_t>(reg);
    if (wave_->scalar_outstanding[at]) fault("reads s{} while a load to it is outstanding", reg);
    if (!wave_->scalar_defined[at]) fault("reads s{}, which nothing has defined", reg);
    return wave_->scalars[at];
  }
  void write_scalar(int reg, std::uint32_t value, bool defined = true) {
    const auto at = static_cast<std::size_t>(reg);
    if (wave_->scalar_outstanding[at]) fault("writes s{} while a load to it is outstanding", reg);
    wave_->scalars[at] = value;
    wave_->scalar_defined[at] = defined;
  }
  std::uint32_t scalar(const Instruction& x, std::size_t i) const {
    const Operand& o = operand(x, i);
    if (o.kind == Operand::Kind::constant) return static_cast<std::uint32_t>(o.value);
    if (o.kind != Operand::Kind::scalar || o.count != 1) fault("operand {} is no scalar", i);
    return read_scalar(o.first);
  }
  std::uint64_t scalar64(const Instruction& x, std::size_t i) const {
    const Operand& o = operand(x, i);
    if (o.kind == Operand::Kind::constant) return static_cast<std::uint64_t>(o.value);
    if (o.kind != Operand::Kind::scalar || o.count != 2) fault("operand {} is no pair of scalars", i);
    return join(read_scalar(o.first), read_scalar(o.first + 1));
  }
  void set(const Instruction& x, std::uint32_t value) {
    const Operand& o = operand(x, 0);
    if (o.kind != Operand::Kind::scalar || o.count != 1) fault("the destination is no scalar");
    write_scalar(o.first, value);
  }
  void set64(const Instruction& x, std::uint64_t value, std::size_t i = 0, bool defined = true) {
    const Operand& o = operand(x, i);
    if (o.kind != Operand::Kind::scalar || o.count != 2) fault("the destination is no pair of scalars");
    write_scalar(o.first, low(value), defined);
    write_scalar(o.first + 1, high(value), defined);
  }
  /// Copies of what nothing has defined are as undefined, and no fault.
  void copy_scalars(const Instruction& x, int count) {
    const Operand& to = operand(x, 0);
    const Operand& from = operand(x, 1);
    if (to.kind != Operand::Kind::scalar || to.count != count) fault("the destination is not {} scalars", count);
    std::uint32_t values[2] = {static_cast<std::uint32_t>(from.value), static_cast<std::uint32_t>(from.value >> 32)};
    bool defined[2] = {true, true};
    if (from.kind == Operand::Kind::scalar) {
      if (from.count != count) fault("the source is not {} scalars", count);
      for (int i = 0; i < count; ++i) {
        const auto at = static_cast<std::size_t>(from.first + i);
        if (wave_->scalar_outstanding[at]) fault("reads s{} while a load to it is outstanding", at);
        values[i] = wave_->scalars[at];
        defined[i] = wave_->scalar_defined[at];
      }
    } else if (from.kind != Operand::Kind::constant) {
      fault("operand 1 is no scalar");
    }
    for (int i = 0; i < count; ++i) write_scalar(to.first + i, values[i], defined[i]);
  }
  void set_scc(bool value) {
    wave_->scc = value;
    wave_->scc_defined = true;
  }
  bool scc() const {
    if (!wave_->scc_defined) fault("reads SCC, which nothing has defined");
    return wave_->scc;
  }
  static const Operand& operand(const Instruction& x, std::size_t i) {
    if (i >= x.operand_count) fault("has no operand {}", i);
    return x.operands[i];
  }

  // Vector operands.
  void check_vector(int reg) const {
    if (reg >= registers_) fault("names v{} of {}", reg, registers_);
    if (wave_->vector_outstanding[static_cast<std::size_t>(reg)])
      fault("uses v{} while a load to it is outstanding", reg);
  }
  /// Lanes of a source; a scalar or constant in all of them. Takes its undefined lanes from `defined_`.
  const std::uint32_t* source(const Instruction& x, std::size_t i, std::size_t word = 0) {
    const Operand& o = operand(x, i);
    if (o.kind == Operand::Kind::vector) {
      if (word >= o.count) fault("operand {} has {} registers", i, o.count);
      const int reg = o.first + static_cast<int>(word);
      check_vector(reg);
      defined_ &= wave_->vector_defined[static_cast<std::size_t>(reg)];
      if (!o.negated && !o.absolute) return wave_->lanes(reg);
      Lanes& lanes = scratch_[i][word];
      std::transform(wave_->lanes(reg), wave_->lanes(reg) + wave_lanes, lanes,
                     [&o](std::uint32_t lane) { return with_sign(o, lane); });
      return lanes;
    }
    std::uint32_t value = 0;
    if (o.kind == Operand::Kind::constant) {
      value = word == 0 ? static_cast<std::uint32_t>(o.value) : static_cast<std::uint32_t>(o.value >> 32);
    } else if (o.kind == Operand::Kind::scalar) {
      if (word >= o.count) fault("operand {} has {} registers", i, o.count);
      value = read_scalar(o.first + static_cast<int>(word));
    } else {
      fault("operand {} is no source", i);
    }
    Lanes& lanes = scratch_[i][word];
    std::fill(std::begin(lanes), std::end(lanes), with_sign(o, value));
    return lanes;
  }
  static std::uint32_t with_sign(const Operand& o, std::uint32_t value) {
    constexpr std::uint32_t sign = 0x80000000U;
    if (o.absolute) value &= ~sign;
    return o.negated ? value ^ sign : value;
  }
  void write_vector(int reg, const std::uint32_t* values, LaneMask lanes, LaneMask defined) {
    check_vector(reg);
    std::uint32_t* const to = wave_->lanes(reg);
    if (lanes == all_lanes) {
      std::memcpy(to, values, sizeof(Lanes));
    } else {
      for (int lane = 0; lane < wave_lanes; ++lane)
        if ((lanes >> lane & 1) != 0) to[lane] = values[lane];
    }
    LaneMask& known = wave_->vector_defined[static_cast<std::size_t>(reg)];
    known = (known & ~lanes) | (defined & lanes);
  }
  const Operand& vector_destination(const Instruction& x, int count) const {
    const Operand& o = operand(x, 0);
    if (o.kind != Operand::Kind::vector || o.count != count) fault("the destination is not {} vector registers", count);
    return o;
  }
  void require_defined(LaneMask lanes, const char* what) const {
    const LaneMask missing = lanes & ~defined_;
    if (missing != 0) fault("{} of lane {} is not defined", what, std::countr_zero(missing));
  }
  static void select_part(const std::uint32_t*& lanes, Select select, Lanes& to) {
    if (select == Select::dword) return;
    const int index = static_cast<int>(select);
    const bool byte = select <= Select::byte_3;
    const int shift =
        byte ? 8 * (index - static_cast<int>(Select::byte_0)) : 16 * (index - static_cast<int>(Select::word_0));
    for (int lane = 0; lane < wave_lanes; ++lane) to[lane] = lanes[lane] >> shift & (byte ? 0xFFU : 0xFFFFU);
    lanes = to;
  }

  /// DPP row_newbcast: one lane's value of the first source for all of its row of 16.
  void broadcast_rows(const Instruction& x, const std::uint32_t*& lanes, Lanes& to) {
    constexpr int row = 16;
    if (wave_->executing() != all_lanes) fault("a broadcast with lanes that do not execute is not implemented");
    LaneMask defined = 0;
    for (int lane = 0; lane < wave_lanes; ++lane) {
      const int from = lane / row * row + x.broadcast;
      to[lane] = lanes[from];
      defined |= (defined_ >> from & 1) << lane;
    }
    lanes = to;
    defined_ = defined;
  }

  template <class F>
  void map1(const Instruction& x, F f) {
    const std::uint32_t* a = source(x, 1);
    Lanes part;
    if (x.dpp) broadcast_rows(x, a, part);
    Lanes r;
    for (int lane = 0; lane < wave_lanes; ++lane) r[lane] = f(a[lane]);
    write_vector(vector_destination(x, 1).first, r, wave_->executing(), defined_);
  }
  template <class F>
  void map2(const Instruction& x, F f, std::size_t first = 1) {
    Lanes parts[2];
    const std::uint32_t* a = source(x, first);
    if (x.dpp) broadcast_rows(x, a, parts[0]);
    const std::uint32_t* b = source(x, first + 1);
    if (x.sdwa) {
      select_part(a, x.select[0], parts[0]);
      select_part(b, x.select[1], parts[1]);
    }
    Lanes r;
    for (int lane = 0; lane < wave_lanes; ++lane) r[lane] = f(a[lane], b[lane]);
    write_vector(vector_destination(x, 1).first, r, wave_->executing(), defined_);
  }
  template <class F>
  void map3(const Instruction& x, F f, std::size_t third = 3) {
    const std::uint32_t* a = source(x, 1);
    const std::uint32_t* b = source(x, 2);
    const std::uint32_t* c = source(x, third);
    Lanes r;
    for (int lane = 0; lane < wave_lanes; ++lane) r[lane] = f(a[lane], b[lane], c[lane]);
    write_vector(vector_destination(x, 1).first, r, wave_->executing(), defined_);
  }
  template <class F>
  void compare(const Instruction& x, F f) {
    const std::uint32_t* a = source(x, 1);
    const std::uint32_t* b = source(x, 2);
    LaneMask r = 0;
    for (int lane = 0; lane < wave_lanes; ++lane) r |= static_cast<LaneMask>(f(a[lane], b[lane])) << lane;
    require_defined(wave_->executing(), "an operand");
    set64(x, r & wave_->executing());
  }
  template <class F>
  void compare64(const Instruction& x, F f) {
    const std::uint32_t* a[2] = {source(x, 1, 0), source(x, 1, 1)};
    const std::uint32_t* b[2] = {source(x, 2, 0), source(x, 2, 1)};
    LaneMask r = 0;
    for (int lane = 0; lane < wave_lanes; ++lane)
      r |= static_cast<LaneMask>(f(join(a[0][lane], a[1][lane]), join(b[0][lane], b[1][lane]))) << lane;
    require_defined(wave_->executing(), "an operand");
    set64(x, r & wave_->executing());
  }
  /// f(lane, low word, high word)
  template <class F>
  void write_pair(const Instruction& x, LaneMask low_defined, LaneMask high_defined, F f) {
    Lanes lo, hi;
    for (int lane = 0; lane < wave_lanes; ++lane) f(lane, lo[lane], hi[lane]);
    const int to = vector_destination(x, 2).first;
    write_vector(to, lo, wave_->executing(), low_defined);
    write_vector(to + 1, hi, wave_->executing(), high_defined);
  }
  /// Sources of a packed operation's half.
  const std::uint32_t* packed_source(const Instruction& x, std::size_t i, bool high_half, Lanes& negated) {
    const auto bit = static_cast<int>(i) - 1;
    const bool second = ((high_half ? x.op_sel_hi : x.op_sel) >> bit & 1) != 0;
    const Operand& o = operand(x, i);
    if (o.kind == Operand::Kind::constant) fault("takes a constant, which is not implemented");
    const std::uint32_t* lanes = source(x, i, second ? 1 : 0);
    if (((high_half ? x.neg_hi : x.neg_lo) >> bit & 1) == 0) return lanes;
    for (int lane = 0; lane < wave_lanes; ++lane) negated[lane] = lanes[lane] ^ 0x80000000U;
    return negated;
  }
  template <int Sources, class F>
  void packed(const Instruction& x, F f) {
    Lanes r[2];
    LaneMask defined[2];
    for (int half = 0; half < 2; ++half) {
      Lanes negated[3];
      const std::uint32_t* s[3] = {};
      defined_ = all_lanes;
      for (std::size_t i = 0; i < Sources; ++i) s[i] = packed_source(x, i + 1, half == 1, negated[i]);
      if constexpr (Sources == 2) s[2] = s[1];
      for (int lane = 0; lane < wave_lanes; ++lane)
        r[half][lane] = as_bits(f(as_float(s[0][lane]), as_float(s[1][lane]), as_float(s[2][lane])));
      defined[half] = defined_;
    }
    const int to = vector_destination(x, 2).first;
    write_vector(to, r[0], wave_->executing(), defined[0]);
    write_vector(to + 1, r[1], wave_->executing(), defined[1]);
  }

  void shift_result(const Instruction& x, std::uint32_t value) {
    set(x, value);
    set_scc(value != 0);
  }
  void shift_result64(const Instruction& x, std::uint64_t value) {
    set64(x, value);
    set_scc(value != 0);
  }
  void save_exec(const Instruction& x, std::uint64_t next) {
    const LaneMask old = wave_->executing();
    set64(x, old);
    wave_->scalars[exec] = low(next);
    wave_->scalars[exec + 1] = high(next);
    set_scc(next != 0);
  }
  void begin_load(const Operand& to, std::deque<Outstanding>& queue, Outstanding entry) {
    entry.first = to.first;
    entry.count = to.count;
    for (int reg = to.first; reg < to.first + to.count; ++reg) {
      if (entry.scalar) {
        wave_->scalar_outstanding.set(static_cast<std::size_t>(reg));
      } else {
        wave_->vector_outstanding.set(static_cast<std::size_t>(reg));
      }
    }
    queue.push_back(entry);
  }
  /// Of a vector load to registers of an outstanding one: it comes later, since they retire in order.
  void allow_later_load(const Operand& to) {
    for (int reg = to.first; reg < to.first + to.count; ++reg) {
      const auto at = static_cast<std::size_t>(reg);
      if (!wave_->vector_outstanding[at]) continue;
      for (const Outstanding& entry : wave_->lds_and_scalar)
        if (!entry.scalar && reg >= entry.first && reg < entry.first + entry.count)
          return;  // a fault when it is written
      wave_->loads_overlap = true;
      wave_->vector_outstanding.reset(at);
    }
  }
  Outstanding vector_load_entry() {
    Outstanding entry;
    entry.load = true;
    entry.round = wave_->retired_round + 1;
    wave_->rounds = std::max(wave_->rounds, entry.round);
    return entry;
  }
  void count_streamed(Outstanding& entry, std::uint32_t bytes) {
    entry.streamed = bytes;
    if (!wave_->streams) wave_->before_streaming = wave_->instructions - 1;
    wave_->streams = true;
    wave_->in_flight += bytes;
    wave_->most_in_flight = std::max(wave_->most_in_flight, wave_->in_flight);
    counts_.bytes_streamed += bytes;
  }
  void delay_stores(const std::vector<DelayedStore>& list) {
    Outstanding entry;
    entry.stores = static_cast<std::uint32_t>(list.size());
    wave_->stores.insert(wave_->stores.end(), list.begin(), list.end());
    wave_->vector_memory.push_back(entry);
  }

  const Dispatch& launch_;
  const Kernel& kernel_;
  const std::vector<Instruction>& code_;
  Random random_;
  Counts& counts_;
  Memory memory_;
  int registers_ = 0;
  int reciprocal_rounding_ = 0;

  Wave* wave_ = nullptr;
  LaneMask defined_ = all_lanes;  ///< lanes in which all sources so far are
  Lanes scratch_[8][2];
  std::vector<DelayedStore> new_stores_;
  MfmaOperand mfma_first_, mfma_second_;
};

void Machine::run() {
  const std::uint32_t groups = launch_.groups_x * launch_.groups_y;
  std::vector<std::uint32_t> order(groups);
  std::iota(order.begin(), order.end(), 0U);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random_.below(i)]);
  std::vector<std::unique_ptr<Resident>> resident;
  std::vector<Wave*> ready;
  std::size_t next = 0;
  const std::size_t most = 1 + random_.below(most_resident_groups);
  std::vector<std::unique_ptr<Resident>> spare;
  while (next < order.size() || !resident.empty()) {
    while (next < order.size() && resident.size() < most) {
      if (spare.empty()) spare.push_back(std::make_unique<Resident>());
      resident.push_back(std::move(spare.back()));
      spare.pop_back();
      start(*resident.back(), order[next++]);
    }
    const std::size_t at = random_.below(resident.size());
    Resident& x = *resident[at];
    ready.clear();
    bool waits = false;
    for (Wave& wave : x.waves) {
      if (wave.state == WaveState::ready) ready.push_back(&wave);
      waits = waits || wave.state == WaveState::at_barrier;
    }
    if (!ready.empty()) {
      run_wave(*ready[random_.below(ready.size())], std::uint64_t{16} << random_.below(9));
    } else if (waits) {
      ++x.group.interval;
      for (Wave& wave : x.waves)
        if (wave.state == WaveState::at_barrier) wave.state = WaveState::ready;
    } else {
      spare.push_back(std::move(resident[at]));
      resident.erase(resident.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
}

void Machine::start(Resident& x, std::uint32_t id) {
  x.group.x = id % launch_.groups_x;
  x.group.y = id / launch_.groups_x;
  x.group.id = id;
  x.group.interval = 1;
  x.group.lds.resize(kernel_.lds_bytes);
  x.group.lds_state.assign((kernel_.lds_bytes + 3) / 4, {});
  x.waves.resize(static_cast<std::size_t>(launch_.threads / wave_lanes));
  for (std::size_t i = 0; i < x.waves.size(); ++i) {
    Wave& wave = x.waves[i];
    std::vector<std::uint32_t> vectors = std::move(wave.vectors);
    wave = Wave{};
    wave.vectors = std::move(vectors);
    wave.vectors.resize(static_cast<std::size_t>(registers_) * wave_lanes);
    wave.vector_defined.assign(static_cast<std::size_t>(registers_), 0);
    wave.group = &x.group;
    wave.index = static_cast<int>(i);
    wave.pc = kernel_.first;
    // Kernel arguments, work-group ids, work-item ids: what the ABI sets.
    const auto arguments = reinterpret_cast<std::uintptr_t>(launch_.arguments);
    const std::uint32_t initial[] = {low(arguments), high(arguments), x.group.x, x.group.y};
    for (std::size_t s = 0; s < std::size(initial); ++s) {
      wave.scalars[s] = initial[s];
      wave.scalar_defined.set(s);
    }
    for (const std::size_t s : {std::size_t{exec}, std::size_t{exec} + 1}) {
      wave.scalars[s] = ~0U;
      wave.scalar_defined.set(s);
    }
    for (int lane = 0; lane < wave_lanes; ++lane)
      wave.vectors[static_cast<std::size_t>(lane)] =
          static_cast<std::uint32_t>(i * wave_lanes) + static_cast<std::uint32_t>(lane);
    wave.vector_defined[0] = all_lanes;
  }
}

void Machine::run_wave(Wave& wave, std::uint64_t quantum) {
  wave_ = &wave;
  for (; quantum > 0 && wave.state == WaveState::ready; --quantum) {
    if (wave.pc >= code_.size()) fault("{}: a wave runs past the end of the code", kernel_.symbol);
    const Instruction& x = code_[wave.pc];
    try {
      if (++wave.instructions > most_instructions) fault("an endless loop");
      ++counts_.instructions[static_cast<std::size_t>(class_of(x.operation))];
      ++wave.pc;
      execute(x);
    } catch (const Fault& what) {
      fault("work-group ({}, {}), wave {}: line {} at {:#x}: {}: {}", wave.group->x, wave.group->y, wave.index, x.line,
            x.address, x.text, what.what());
    }
  }
  if (wave.state == WaveState::ended) end(wave);
}

void Machine::end(Wave& wave) {
  perform_stores(wave, static_cast<std::uint32_t>(wave.stores.size()));
  ++counts_.waves;
  counts_.load_rounds = std::max(counts_.load_rounds, wave.rounds);
  counts_.scalar_rounds = std::max(counts_.scalar_rounds, wave.scalar_rounds);
  counts_.most_in_flight = std::max(counts_.most_in_flight, wave.most_in_flight);
  if (!wave.streams) return;
  ++counts_.streaming_waves;
  counts_.in_flight_at_first_wait += wave.in_flight_at_first_wait;
  counts_.instructions_before_streaming += wave.before_streaming;
}

void Machine::perform_stores(Wave& wave, std::uint32_t count) {
  for (; count > 0 && !wave.stores.empty(); --count) {
    const DelayedStore& store = wave.stores.front();
    std::memcpy(memory_.for_store(store.at, store.bytes, wave.group->id, store.coherent), store.data.data(),
                store.bytes);
    wave.stores.pop_front();
  }
}

void Machine::retire(Wave& wave, const Outstanding& done) {
  for (std::size_t reg = done.first; reg < std::size_t{done.first} + done.count; ++reg) {
    if (done.scalar) {
      wave.scalar_outstanding.reset(reg);
    } else {
      wave.vector_outstanding.reset(reg);
    }
  }
  if (wave.loads_overlap) {  // a later load to one of these registers is outstanding still
    for (const Outstanding& later : wave.vector_memory) {
      if (&later == &done) continue;
      for (std::size_t reg = later.first; reg < std::size_t{later.first} + later.count; ++reg)
        wave.vector_outstanding.set(reg);
    }
  }
  if (done.load) wave.retired_round = std::max(wave.retired_round, done.round);
  if (done.scalar) wave.retired_scalar_round = std::max(wave.retired_scalar_round, done.round);
  wave.in_flight -= done.streamed;
  perform_stores(wave, done.stores);
}

void Machine::wait(const Instruction& x) {
  Wave& wave = *wave_;
  if (x.vmcnt >= 0) {
    auto& queue = wave.vector_memory;
    const auto keep = static_cast<std::size_t>(x.vmcnt);
    if (!wave.waited && wave.in_flight > 0 && queue.size() > keep &&
        std::any_of(queue.begin(), queue.end() - static_cast<std::ptrdiff_t>(keep),
                    [](const auto& e) { return e.load; })) {
      wave.waited = true;
      wave.in_flight_at_first_wait = wave.in_flight;
    }
    for (; queue.size() > keep; queue.pop_front()) retire(wave, queue.front());
  }
  if (x.lgkmcnt >= 0) {
    auto& queue = wave.lds_and_scalar;
    // Scalar loads return in any order, so that with any of them outstanding only zero says what has come.
    const bool any_scalar = std::any_of(queue.begin(), queue.end(), [](const auto& e) { return e.scalar; });
    if (any_scalar && x.lgkmcnt > 0) return;
    for (; queue.size() > static_cast<std::size_t>(x.lgkmcnt); queue.pop_front()) retire(wave, queue.front());
  }
}

void Machine::execute(const Instruction& x) {
  defined_ = all_lanes;
  Wave& wave = *wave_;
  switch (class_of(x.operation)) {
    case InstructionClass::salu:
      if (!execute_scalar(x)) fault("is not implemented");
      return;
    case InstructionClass::valu:
      if (!execute_vector(x)) fault("is not implemented");
      return;
    case InstructionClass::mfma:
      execute_mfma(x);
      return;
    case InstructionClass::wait:
      wait(x);
      return;
    case InstructionClass::scalar_load:
      load_scalar(x, 1U << (static_cast<int>(x.operation) - static_cast<int>(Operation::s_load_dword)));
      return;
    default:
      break;
  }
  const auto jump_if = [&](bool condition) {
    if (condition) wave.pc = x.target;
  };
  const auto vcc_mask = [&] { return join(read_scalar(vcc), read_scalar(vcc + 1)); };
  switch (x.operation) {
    case Operation::s_nop:
    case Operation::s_setprio:
    case Operation::s_sleep:
      return;
    case Operation::s_endpgm:
      wave.state = WaveState::ended;
      return;
    case Operation::s_barrier:
      for (const Outstanding& entry : wave.lds_and_scalar)
        if (entry.lds_write) fault("an LDS write of this wave is outstanding");
      wave.state = WaveState::at_barrier;
      return;
    case Operation::s_branch:
      return jump_if(true);
    case Operation::s_cbranch_scc0:
      return jump_if(!scc());
    case Operation::s_cbranch_scc1:
      return jump_if(scc());
    case Operation::s_cbranch_vccz:
      return jump_if(vcc_mask() == 0);
    case Operation::s_cbranch_vccnz:
      return jump_if(vcc_mask() != 0);
    case Operation::s_cbranch_execz:
      return jump_if(wave.executing() == 0);
    case Operation::s_cbranch_execnz:
      return jump_if(wave.executing() != 0);
    case Operation::buffer_load_ubyte:
      return buffer_access(x, 1, false);
    case Operation::buffer_load_ushort:
      return buffer_access(x, 2, false);
    case Operation::buffer_load_dword:
      return buffer_access(x, 4, false);
    case Operation::buffer_load_dwordx2:
      return buffer_access(x, 8, false);
    case Operation::buffer_load_dwordx3:
      return buffer_access(x, 12, false);
    case Operation::buffer_load_dwordx4:
      return buffer_access(x, 16, false);
    case Operation::buffer_store_byte:
      return buffer_access(x, 1, true);
    case Operation::buffer_store_short:
      return buffer_access(x, 2, true);
    case Operation::buffer_store_dword:
      return buffer_access(x, 4, true);
    case Operation::buffer_store_dwordx2:
      return buffer_access(x, 8, true);
    case Operation::buffer_store_dwordx4:
      return buffer_access(x, 16, true);
    case Operation::global_load_ubyte:
      return global_access(x, 1, false);
    case Operation::global_load_ushort:
      return global_access(x, 2, false);
    case Operation::global_load_dword:
      return global_access(x, 4, false);
    case Operation::global_load_dwordx2:
      return global_access(x, 8, false);
    case Operation::global_load_dwordx3:
      return global_access(x, 12, false);
    case Operation::global_load_dwordx4:
      return global_access(x, 16, false);
    case Operation::global_store_byte:
      return global_access(x, 1, true);
    case Operation::global_store_short:
    case Operation::global_store_short_d16_hi:
      return global_access(x, 2, true);
    case Operation::global_store_dword:
      return global_access(x, 4, true);
    case Operation::global_store_dwordx2:
      return global_access(x, 8, true);
    case Operation::global_store_dwordx3:
      return global_access(x, 12, true);
    case Operation::global_store_dwordx4:
      return global_access(x, 16, true);
    case Operation::global_atomic_add:
      return atomic_add(x);
    case Operation::ds_read_b32:
      return lds_access(x, 4, false);
    case Operation::ds_read_b64:
      return lds_access(x, 8, false);
    case Operation::ds_read_b128:
      return lds_access(x, 16, false);
    case Operation::ds_write2st64_b32:
      return lds_access(x, 4, true);
    case Operation::ds_read2st64_b32:
    case Operation::ds_read2_b32:
      return lds_access(x, 4, false);
    case Operation::ds_bpermute_b32:
      return permute_lanes(x);
    case Operation::ds_write_b32:
      return lds_access(x, 4, true);
    case Operation::ds_write_b64:
      return lds_access(x, 8, true);
    case Operation::ds_write_b128:
      return lds_access(x, 16, true);
    default:
      fault("is not implemented");
  }
}

bool Machine::execute_scalar(const Instruction& x) {
  using enum Operation;
  const auto a = [&] { return scalar(x, 1); };
  const auto b = [&] { return scalar(x, 2); };
  const auto a64 = [&] { return scalar64(x, 1); };
  const auto b64 = [&] { return scalar64(x, 2); };
  const auto immediate = [&] { return static_cast<std::int32_t>(static_cast<std::int16_t>(scalar(x, 1))); };
  const auto with_carry = [&](std::uint64_t sum) {
    set(x, low(sum));
    set_scc((sum >> 32 & 1) != 0);
  };
  const auto with_overflow = [&](std::int64_t sum) {
    set(x, low(static_cast<std::uint64_t>(sum)));
    set_scc(sum != static_cast<std::int32_t>(sum));
  };
  const auto select = [&](bool first, std::uint32_t s, std::uint32_t t) {
    set(x, first ? s : t);
    set_scc(first);
  };
  const auto lshl_add = [&](int shift) { with_carry((static_cast<std::uint64_t>(a()) << shift) + b()); };
  const auto c0 = [&] { return scalar(x, 0); };
  const auto c1 = [&] { return scalar(x, 1); };
  const auto signed_of = [&](std::size_t i) { return as_signed(scalar(x, i)); };
  switch (x.operation) {
    case s_mov_b32:
    case s_mov_b64:
      copy_scalars(x, x.operation == s_mov_b32 ? 1 : 2);
      break;
    case s_movk_i32:
      set(x, static_cast<std::uint32_t>(immediate()));
      break;
    case s_not_b32:
      shift_result(x, ~a());
      break;
    case s_not_b64:
      shift_result64(x, ~a64());
      break;
    case s_brev_b32:
      set(x, reversed(a()));
      break;
    case s_bcnt1_i32_b32:
      shift_result(x, static_cast<std::uint32_t>(std::popcount(a())));
      break;
    case s_bcnt1_i32_b64:
      shift_result(x, static_cast<std::uint32_t>(std::popcount(a64())));
      break;
    case s_ff1_i32_b32:
      set(x, a() == 0 ? ~0U : static_cast<std::uint32_t>(std::countr_zero(a())));
      break;
    case s_ff1_i32_b64:
      set(x, a64() == 0 ? ~0U : static_cast<std::uint32_t>(std::countr_zero(a64())));
      break;
    case s_abs_i32:
      shift_result(x, as_signed(a()) < 0 ? 0U - a() : a());
      break;
    case s_and_saveexec_b64:
      save_exec(x, a64() & wave_->executing());
      break;
    case s_andn2_saveexec_b64:
      save_exec(x, a64() & ~wave_->executing());
      break;
    case s_or_saveexec_b64:
      save_exec(x, a64() | wave_->executing());
      break;
    case s_add_u32:
      with_carry(std::uint64_t{a()} + b());
      break;
    case s_addc_u32:
      with_carry(std::uint64_t{a()} + b() + (scc() ? 1U : 0U));
      break;
    case s_sub_u32:
      with_carry(std::uint64_t{a()} - b());
      break;
    case s_subb_u32:
      with_carry(std::uint64_t{a()} - b() - (scc() ? 1U : 0U));
      break;
    case s_add_i32:
      with_overflow(std::int64_t{signed_of(1)} + signed_of(2));
      break;
    case s_sub_i32:
      with_overflow(std::int64_t{signed_of(1)} - signed_of(2));
      break;
    case s_addk_i32:
      with_overflow(std::int64_t{signed_of(0)} + immediate());
      break;
    case s_mulk_i32:
      set(x, low(static_cast<std::uint64_t>(std::int64_t{signed_of(0)} * immediate())));
      break;
    case s_mul_i32:
      set(x, a() * b());
      break;
    case s_mul_hi_u32:
      set(x, high(std::uint64_t{a()} * b()));
      break;
    case s_mul_hi_i32:
      set(x, high(static_cast<std::uint64_t>(std::int64_t{signed_of(1)} * signed_of(2))));
      break;
    case s_min_u32:
      select(a() < b(), a(), b());
      break;
    case s_max_u32:
      select(a() > b(), a(), b());
      break;
    case s_min_i32:
      select(signed_of(1) < signed_of(2), a(), b());
      break;
    case s_max_i32:
      select(signed_of(1) > signed_of(2), a(), b());
      break;
    case s_and_b32:
      shift_result(x, a() & b());
      break;
    case s_and_b64:
      shift_result64(x, a64() & b64());
      break;
    case s_or_b32:
      shift_result(x, a() | b());
      break;
    case s_or_b64:
      shift_result64(x, a64() | b64());
      break;
    case s_xor_b32:
      shift_result(x, a() ^ b());
      break;
    case s_xor_b64:
      shift_result64(x, a64() ^ b64());
      break;
    case s_andn2_b32:
      shift_result(x, a() & ~b());
      break;
    case s_andn2_b64:
      shift_result64(x, a64() & ~b64());
      break;
    case s_orn2_b32:
      shift_result(x, a() | ~b());
      break;
    case s_orn2_b64:
      shift_result64(x, a64() | ~b64());
      break;
    case s_nor_b64:
      shift_result64(x, ~(a64() | b64()));
      break;
    case s_nand_b64:
      shift_result64(x, ~(a64() & b64()));
      break;
    case s_lshl_b32:
      shift_result(x, a() << (b() & 31));
      break;
    case s_lshl_b64:
      shift_result64(x, a64() << (b() & 63));
      break;
    case s_lshr_b32:
      shift_result(x, a() >> (b() & 31));
      break;
    case s_lshr_b64:
      shift_result64(x, a64() >> (b() & 63));
      break;
    case s_ashr_i32:
      shift_result(x, static_cast<std::uint32_t>(signed_of(1) >> (b() & 31)));
      break;
    case s_ashr_i64:
      shift_result64(x, static_cast<std::uint64_t>(static_cast<std::int64_t>(a64()) >> (b() & 63)));
      break;
    case s_bfm_b32:
      set(x, ((1U << (a() & 31)) - 1) << (b() & 31));
      break;
    case s_bfe_u32:
    case s_bfe_i32: {
      const std::uint32_t offset = b() & 31;
      const std::uint32_t width = std::min(b() >> 16 & 127, 32 - offset);
      const auto field = width == 0 ? std::int64_t{0} : std::int64_t{a()} << (64 - width - offset) >> (64 - width);
      const std::uint64_t mask = (std::uint64_t{1} << width) - 1;
      shift_result(x, low(x.operation == s_bfe_u32 ? static_cast<std::uint64_t>(field) & mask
                                                   : static_cast<std::uint64_t>(field)));
      break;
    }
    case s_lshl1_add_u32:
      lshl_add(1);
      break;
    case s_lshl2_add_u32:
      lshl_add(2);
      break;
    case s_lshl3_add_u32:
      lshl_add(3);
      break;
    case s_lshl4_add_u32:
      lshl_add(4);
      break;
    case s_cselect_b32:
      set(x, scc() ? a() : b());
      break;
    case s_cselect_b64:
      set64(x, scc() ? a64() : b64());
      break;
    case s_bitcmp0_b32:
      set_scc((c0() >> (c1() & 31) & 1) == 0);
      break;
    case s_bitcmp1_b32:
      set_scc((c0() >> (c1() & 31) & 1) == 1);
      break;
    case s_cmp_eq_u32:
    case s_cmp_eq_i32:
      set_scc(c0() == c1());
      break;
    case s_cmp_lg_u32:
    case s_cmp_lg_i32:
      set_scc(c0() != c1());
      break;
    case s_cmp_gt_u32:
      set_scc(c0() > c1());
      break;
    case s_cmpk_gt_u32:
      set_scc(c0() > (c1() & 0xFFFF));
      break;
    case s_cmp_ge_u32:
      set_scc(c0() >= c1());
      break;
    case s_cmp_lt_u32:
      set_scc(c0() < c1());
      break;
    case s_cmp_le_u32:
      set_scc(c0() <= c1());
      break;
    case s_cmp_gt_i32:
      set_scc(signed_of(0) > signed_of(1));
      break;
    case s_cmp_ge_i32:
      set_scc(signed_of(0) >= signed_of(1));
      break;
    case s_cmp_lt_i32:
      set_scc(signed_of(0) < signed_of(1));
      break;
    case s_cmp_le_i32:
      set_scc(signed_of(0) <= signed_of(1));
      break;
    case s_cmp_eq_u64:
      set_scc(scalar64(x, 0) == scalar64(x, 1));
      break;
    case s_cmp_lg_u64:
      set_scc(scalar64(x, 0) != scalar64(x, 1));
      break;
    default:
      return false;
  }
  return true;
}

bool Machine::execute_vector(const Instruction& x) {
  using enum Operation;
  using U = std::uint32_t;
  const LaneMask executing = wave_->executing();
  if (x.sdwa && x.operation != v_or_b32 && x.operation != v_and_b32 && x.operation != v_lshlrev_b32 &&
      x.operation != v_lshrrev_b32 && x.operation != v_add_u32 && x.operation != v_max_u32 &&
      x.operation != v_cvt_pk_f32_fp8)
    fault("SDWA of it is not implemented");
  switch (x.operation) {
    case v_nop:
      break;
    case v_mov_b32:
      map1(x, [](U a) { return a; });
      break;
    case v_mov_b64: {
      const U* lo = source(x, 1, 0);
      const LaneMask low_defined = defined_;
      defined_ = all_lanes;
      const U* hi = source(x, 1, 1);
      write_pair(x, low_defined, defined_, [&](int lane, U& l, U& h) {
        l = lo[lane];
        h = hi[lane];
      });
      break;
    }
    case v_not_b32:
      map1(x, [](U a) { return ~a; });
      break;
    case v_bfrev_b32:
      map1(x, reversed);
      break;
    case v_cvt_f32_u32:
      map1(x, [](U a) { return as_bits(static_cast<float>(a)); });
      break;
    case v_cvt_u32_f32:
      map1(x, [](U a) { return to_u32(as_float(a)); });
      break;
    case v_rcp_iflag_f32:
      map1(x, [this](U a) { return as_bits(reciprocal(as_float(a), reciprocal_rounding_)); });
      break;
    case v_readfirstlane_b32: {
      const U* a = source(x, 1);
      const int lane = executing == 0 ? 0 : std::countr_zero(executing);
      require_defined(LaneMask{1} << lane, "the operand");
      set(x, a[lane]);
      break;
    }
    case v_readlane_b32: {  // whatever exec says
      const U* a = source(x, 1);
      const U lane = scalar(x, 2) % wave_lanes;
      require_defined(LaneMask{1} << lane, "the operand");
      set(x, a[lane]);
      break;
    }
    case v_add_u32:
      map2(x, [](U a, U b) { return a + b; });
      break;
    case v_sub_u32:
      map2(x, [&x](U a, U b) { return x.clamp && a < b ? 0 : a - b; });
      break;
    case v_subrev_u32:
      map2(x, [](U a, U b) { return b - a; });
      break;
    case v_add_co_u32:
    case v_addc_co_u32: {
      const U* a = source(x, 2);
      const U* b = source(x, 3);
      LaneMask carry_in = 0;
      if (x.operation == v_addc_co_u32) {
        carry_in = scalar64(x, 4);
      }
      Lanes r;
      LaneMask carries = 0;
      for (int lane = 0; lane < wave_lanes; ++lane) {
        const std::uint64_t sum = std::uint64_t{a[lane]} + b[lane] + (carry_in >> lane & 1);
        r[lane] = low(sum);
        carries |= (sum >> 32) << lane;
      }
      const bool known = (executing & ~defined_) == 0;
      set64(x, carries & executing, 1, known);
      write_vector(vector_destination(x, 1).first, r, executing, defined_);
      break;
    }
    case v_and_b32:
      map2(x, [](U a, U b) { return a & b; });
      break;
    case v_or_b32:
      map2(x, [](U a, U b) { return a | b; });
      break;
    case v_xor_b32:
      map2(x, [](U a, U b) { return a ^ b; });
      break;
    case v_lshlrev_b32:
      map2(x, [](U a, U b) { return b << (a & 31); });
      break;
    case v_lshrrev_b32:
      map2(x, [](U a, U b) { return b >> (a & 31); });
      break;
    case v_ashrrev_i32:
      map2(x, [](U a, U b) { return static_cast<U>(as_signed(b) >> (a & 31)); });
      break;
    case v_lshlrev_b64:
    case v_lshrrev_b64: {
      const U* shift = source(x, 1);
      const U* lo = source(x, 2, 0);
      const U* hi = source(x, 2, 1);
      write_pair(x, defined_, defined_, [&](int lane, U& l, U& h) {
        const std::uint64_t value = join(lo[lane], hi[lane]);
        const std::uint64_t r =
            x.operation == v_lshlrev_b64 ? value << (shift[lane] & 63) : value >> (shift[lane] & 63);
        l = low(r);
        h = high(r);
      });
      break;
    }
    case v_min_u32:
      map2(x, [](U a, U b) { return std::min(a, b); });
      break;
    case v_max_u32:
      map2(x, [](U a, U b) { return std::max(a, b); });
      break;
    case v_min_i32:
      map2(x, [](U a, U b) { return as_signed(a) < as_signed(b) ? a : b; });
      break;
    case v_max_i32:
      map2(x, [](U a, U b) { return as_signed(a) > as_signed(b) ? a : b; });
      break;
    case v_mul_lo_u32:
      map2(x, [](U a, U b) { return a * b; });
      break;
    case v_mul_hi_u32:
      map2(x, [](U a, U b) { return high(std::uint64_t{a} * b); });
      break;
    case v_mul_u32_u24:
      map2(x, [](U a, U b) { return (a & 0xFFFFFF) * (b & 0xFFFFFF); });
      break;
    case v_mad_u32_u24:
      map3(x, [](U a, U b, U c) { return (a & 0xFFFFFF) * (b & 0xFFFFFF) + c; });
      break;
    case v_mad_u64_u32: {
      const U* a = source(x, 2);
      const U* b = source(x, 3);
      const U* lo = source(x, 4, 0);
      const LaneMask low_defined = defined_;
      const U* hi = source(x, 4, 1);
      LaneMask carries = 0;
      const bool known = (executing & ~defined_) == 0;
      write_pair(x, low_defined, defined_, [&](int lane, U& l, U& h) {
        const std::uint64_t product = std::uint64_t{a[lane]} * b[lane];
        const std::uint64_t sum = product + join(lo[lane], hi[lane]);
        carries |= static_cast<LaneMask>(sum < product) << lane;
        l = low(sum);
        h = high(sum);
      });
      set64(x, carries & executing, 1, known);
      break;
    }
    case v_add3_u32:
      map3(x, [](U a, U b, U c) { return a + b + c; });
      break;
    case v_xad_u32:
      map3(x, [](U a, U b, U c) { return (a ^ b) + c; });
      break;
    case v_lshl_add_u32:
      map3(x, [](U a, U b, U c) { return (a << (b & 31)) + c; });
      break;
    case v_lshl_add_u64: {
      const U* a[2] = {source(x, 1, 0), source(x, 1, 1)};
      const U* shift = source(x, 2);
      const U* c[2] = {source(x, 3, 0), source(x, 3, 1)};
      write_pair(x, defined_, defined_, [&](int lane, U& l, U& h) {
        const std::uint64_t sum = (join(a[0][lane], a[1][lane]) << (shift[lane] & 7)) + join(c[0][lane], c[1][lane]);
        l = low(sum);
        h = high(sum);
      });
      break;
    }
    case v_add_lshl_u32:
      map3(x, [](U a, U b, U c) { return (a + b) << (c & 31); });
      break;
    case v_lshl_or_b32:
      map3(x, [](U a, U b, U c) { return (a << (b & 31)) | c; });
      break;
    case v_and_or_b32:
      map3(x, [](U a, U b, U c) { return (a & b) | c; });
      break;
    case v_or3_b32:
      map3(x, [](U a, U b, U c) { return a | b | c; });
      break;
    case v_bfe_u32:
      map3(x, [](U a, U b, U c) { return a >> (b & 31) & ((1U << (c & 31)) - 1); });
      break;
    case v_bfe_i32:
      map3(x, [](U a, U b, U c) {
        const U width = c & 31;
        if (width == 0) return 0U;
        const U field = a >> (b & 31) & ((1U << width) - 1);
        return static_cast<U>(as_signed(field << (32 - width)) >> (32 - width));
      });
      break;
    case v_bfi_b32:
      map3(x, [](U a, U b, U c) { return (a & b) | (~a & c); });
      break;
    case v_alignbyte_b32:
      map3(x, [](U a, U b, U c) { return low(join(b, a) >> (8 * (c & 3))); });
      break;
    case v_alignbit_b32:
      map3(x, [](U a, U b, U c) { return low(join(b, a) >> (c & 31)); });
      break;
    case v_perm_b32:
      map3(x, permuted);
      break;
    case v_bitop3_b32:
      map3(x, [table = x.truth_table](U a, U b, U c) {
        U r = 0;
        for (U i = 0; i < 8; ++i)
          if ((table >> i & 1) != 0) r |= ((i & 4) != 0 ? a : ~a) & ((i & 2) != 0 ? b : ~b) & ((i & 1) != 0 ? c : ~c);
        return r;
      });
      break;
    case v_bcnt_u32_b32:
      map2(x, [](U a, U b) { return static_cast<U>(std::popcount(a)) + b; });
      break;
    case v_mbcnt_lo_u32_b32:
    case v_mbcnt_hi_u32_b32: {
      const U* a = source(x, 1);
      const U* b = source(x, 2);
      Lanes r;
      for (int lane = 0; lane < wave_lanes; ++lane) {
        const LaneMask below = (LaneMask{1} << lane) - 1;
        const U mask = x.operation == v_mbcnt_lo_u32_b32 ? low(below) : high(below);
        r[lane] = b[lane] + static_cast<U>(std::popcount(a[lane] & mask));
      }
      write_vector(vector_destination(x, 1).first, r, executing, defined_);
      break;
    }
    case v_cndmask_b32: {
      const LaneMask mask = scalar64(x, 3);
      const U* a = source(x, 1);
      const LaneMask a_defined = defined_;
      defined_ = all_lanes;
      const U* b = source(x, 2);
      Lanes r;
      for (int lane = 0; lane < wave_lanes; ++lane) r[lane] = (mask >> lane & 1) != 0 ? b[lane] : a[lane];
      write_vector(vector_destination(x, 1).first, r, executing, (mask & defined_) | (~mask & a_defined));
      break;
    }
    case v_max3_u32:
      map3(x, [](U a, U b, U c) { return std::max(std::max(a, b), c); });
      break;
    case v_ldexp_f32:
      map2(x, [](U a, U b) { return as_bits(std::ldexp(as_float(a), as_signed(b))); });
      break;
    case v_cvt_pk_f32_fp8: {
      const U* a = source(x, 1);
      if (x.select[0] != Select::dword && x.select[0] != Select::word_1) fault("this selection is not implemented");
      const int shift = x.select[0] == Select::word_1 ? 16 : 0;
      write_pair(x, defined_, defined_, [&](int lane, U& l, U& h) {
        l = as_bits(e4m3_table.value[a[lane] >> shift & 0xFF]);
        h = as_bits(e4m3_table.value[a[lane] >> (shift + 8) & 0xFF]);
      });
      break;
    }
    case v_cvt_pk_fp8_f32: {  // into half of the destination, whose other half stays
      const U* a = source(x, 1);
      const U* b = source(x, 2);
      const U* old = source(x, 0);
      const int shift = (x.op_sel & 4) != 0 ? 16 : 0;
      if ((x.op_sel & 3) != 0 || x.op_sel_hi != 7) fault("these modifiers are not implemented");
      Lanes r;
      for (int lane = 0; lane < wave_lanes; ++lane) {
        r[lane] = old[lane];
        if ((executing >> lane & 1) == 0) continue;
        const U codes = E4M3::round(as_float(a[lane]), 0, Overflow::to_nan).bits |
                        static_cast<U>(E4M3::round(as_float(b[lane]), 0, Overflow::to_nan).bits) << 8;
        r[lane] = (old[lane] & ~(0xFFFFU << shift)) | codes << shift;
      }
      write_vector(vector_destination(x, 1).first, r, executing, defined_);
      break;
    }
    case v_add_f32:
      map2(x, [](U a, U b) { return as_bits(as_float(a) + as_float(b)); });
      break;
    case v_mul_f32:
      map2(x, [](U a, U b) { return as_bits(as_float(a) * as_float(b)); });
      break;
    case v_sub_f32:
      map2(x, [](U a, U b) { return as_bits(as_float(a) - as_float(b)); });
      break;
    case v_subrev_f32:
      map2(x, [](U a, U b) { return as_bits(as_float(b) - as_float(a)); });
      break;
    case v_min_f32:  // of a NaN and a number the number
      map2(x, [](U a, U b) { return as_bits(std::fmin(as_float(a), as_float(b))); });
      break;
    case v_max_f32:
      map2(x, [](U a, U b) { return as_bits(std::fmax(as_float(a), as_float(b))); });
      break;
    case v_fma_f32:
    case v_fmamk_f32:  // with a constant as second or third source
    case v_fmaak_f32:
      map3(x, [](U a, U b, U c) { return as_bits(std::fma(as_float(a), as_float(b), as_float(c))); });
      break;
    case v_fmac_f32:  // to the destination
      map3(
          x, [](U a, U b, U c) { return as_bits(std::fma(as_float(a), as_float(b), as_float(c))); }, 0);
      break;
    case v_cmp_lt_f32:
      compare(x, [](U a, U b) { return as_float(a) < as_float(b); });
      break;
    case v_cmp_le_f32:
      compare(x, [](U a, U b) { return as_float(a) <= as_float(b); });
      break;
    case v_cmp_gt_f32:
      compare(x, [](U a, U b) { return as_float(a) > as_float(b); });
      break;
    case v_cmp_ge_f32:
      compare(x, [](U a, U b) { return as_float(a) >= as_float(b); });
      break;
    case v_cmp_nlt_f32:  // of NaN true
      compare(x, [](U a, U b) { return !(as_float(a) < as_float(b)); });
      break;
    case v_cmp_nle_f32:
      compare(x, [](U a, U b) { return !(as_float(a) <= as_float(b)); });
      break;
    case v_cmp_ngt_f32:
      compare(x, [](U a, U b) { return !(as_float(a) > as_float(b)); });
      break;
    case v_cmp_nge_f32:
      compare(x, [](U a, U b) { return !(as_float(a) >= as_float(b)); });
      break;
    case v_pk_add_f32:
      packed<2>(x, [](float a, float b, float) { return a + b; });
      break;
    case v_pk_mul_f32:
      packed<2>(x, [](float a, float b, float) { return a * b; });
      break;
    case v_pk_fma_f32:
      packed<3>(x, [](float a, float b, float c) { return std::fma(a, b, c); });
      break;
    case v_cmp_eq_u32:
    case v_cmp_eq_i32:
      compare(x, [](U a, U b) { return a == b; });
      break;
    case v_cmp_ne_u32:
    case v_cmp_ne_i32:
      compare(x, [](U a, U b) { return a != b; });
      break;
    case v_cmp_lt_u32:
      compare(x, [](U a, U b) { return a < b; });
      break;
    case v_cmp_le_u32:
      compare(x, [](U a, U b) { return a <= b; });
      break;
    case v_cmp_gt_u32:
      compare(x, [](U a, U b) { return a > b; });
      break;
    case v_cmp_ge_u32:
      compare(x, [](U a, U b) { return a >= b; });
      break;
    case v_cmp_lt_i32:
      compare(x, [](U a, U b) { return as_signed(a) < as_signed(b); });
      break;
    case v_cmp_le_i32:
      compare(x, [](U a, U b) { return as_signed(a) <= as_signed(b); });
      break;
    case v_cmp_gt_i32:
      compare(x, [](U a, U b) { return as_signed(a) > as_signed(b); });
      break;
    case v_cmp_ge_i32:
      compare(x, [](U a, U b) { return as_signed(a) >= as_signed(b); });
      break;
    case v_cmp_eq_u64:
      compare64(x, [](std::uint64_t a, std::uint64_t b) { return a == b; });
      break;
    case v_cmp_ne_u64:
      compare64(x, [](std::uint64_t a, std::uint64_t b) { return a != b; });
      break;
    case v_cmp_lt_u64:
      compare64(x, [](std::uint64_t a, std::uint64_t b) { return a < b; });
      break;
    case v_cmp_le_u64:
      compare64(x, [](std::uint64_t a, std::uint64_t b) { return a <= b; });
      break;
    case v_cmp_gt_u64:
      compare64(x, [](std::uint64_t a, std::uint64_t b) { return a > b; });
      break;
    case v_cmp_ge_u64:
      compare64(x, [](std::uint64_t a, std::uint64_t b) { return a >= b; });
      break;
    default:
      return false;
  }
  return true;
}

/// All lanes take part, whatever EXEC says.
void Machine::execute_mfma(const Instruction& x) {
  const Operand& to = vector_destination(x, 4);
  const auto matrix = [&](std::size_t i, std::size_t scale, MfmaOperand& operand_values) {
    const Operand& o = operand(x, i);
    if (o.kind != Operand::Kind::vector || o.count != 8) fault("operand {} is not 8 vector registers", i);
    for (std::size_t word = 0; word < 8; ++word) static_cast<void>(source(x, i, word));
    const auto bit = static_cast<int>(i) - 1;
    const int byte = (x.op_sel >> bit & 1) + 2 * (x.op_sel_hi >> bit & 1);
    operand_values.decode(wave_->lanes(o.first), source(x, scale), byte);
  };
  matrix(1, 4, mfma_first_);
  matrix(2, 5, mfma_second_);
  float d[4][wave_lanes];
  const bool constant = operand(x, 3).kind == Operand::Kind::constant;
  if (!constant && (operand(x, 3).kind != Operand::Kind::vector || operand(x, 3).count != 4))
    fault("operand 3 is not 4 vector registers");
  for (std::size_t i = 0; i < 4; ++i) std::memcpy(d[i], source(x, 3, constant ? 0 : i), sizeof(Lanes));
  require_defined(all_lanes, "an operand");
  multiply(mfma_first_, mfma_second_, &d[0][0]);
  Lanes r;
  for (int i = 0; i < 4; ++i) {
    std::memcpy(r, d[i], sizeof(r));
    write_vector(to.first + i, r, all_lanes, all_lanes);
  }
}

void Machine::load_scalar(const Instruction& x, std::uint32_t count) {
  const Operand& to = operand(x, 0);
  if (to.kind != Operand::Kind::scalar || to.count != count) fault("the destination is not {} scalar registers", count);
  const std::uint64_t at = scalar64(x, 1) + scalar(x, 2);
  if (at % 4 != 0) fault("loads from {:#x}, which is not a multiple of 4", at);
  std::uint32_t values[16];
  std::memcpy(values, memory_.for_load(at, count * 4, wave_->group->id, false), count * 4);
  for (std::uint32_t i = 0; i < count; ++i) write_scalar(to.first + static_cast<int>(i), values[i]);
  Outstanding entry;
  entry.scalar = true;
  entry.round = wave_->retired_scalar_round + 1;
  wave_->scalar_rounds = std::max(wave_->scalar_rounds, entry.round);
  begin_load(to, wave_->lds_and_scalar, entry);
}

void Machine::buffer_access(const Instruction& x, std::uint32_t bytes, bool store) {
  const Operand& data = operand(x, 0);
  const Operand& resource = operand(x, 2);
  const int words = static_cast<int>((bytes + 3) / 4);
  if (data.kind != Operand::Kind::vector || data.count != words) fault("the data are not {} registers", words);
  if (!x.offen || resource.kind != Operand::Kind::scalar || resource.count != 4 ||
      operand(x, 3).kind != Operand::Kind::constant || operand(x, 3).value != 0)
    fault("this form of address is not implemented");
  const std::uint32_t base_high = read_scalar(resource.first + 1);
  const std::uint64_t base = join(read_scalar(resource.first), base_high & 0xFFFF);
  const std::uint64_t records = read_scalar(resource.first + 2);
  if (base_high >> 16 != 0 || read_scalar(resource.first + 3) != raw_buffer) fault("the resource is no raw buffer");
  const LaneMask executing = wave_->executing();
  const std::uint32_t* offsets = source(x, 1);
  require_defined(executing, "the offset");
  const std::uint32_t word_bytes = std::min(bytes, 4U);
  /// Bytes in range, in whole words.
  const auto within = [&](std::uint64_t offset) -> std::uint32_t {
    if (offset >= records) return 0;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, (records - offset) / word_bytes * word_bytes));
  };
  const auto immediate = static_cast<std::uint64_t>(x.offset);

  if (store) {
    for (int i = 0; i < words; ++i) static_cast<void>(source(x, 0, static_cast<std::size_t>(i)));
    require_defined(executing, "the stored value");
    new_stores_.clear();
    for (int lane = 0; lane < wave_lanes; ++lane) {
      if ((executing >> lane & 1) == 0) continue;
      const std::uint64_t offset = offsets[lane] + immediate;
      const std::uint32_t size = within(offset);
      if (size == 0) continue;
      memory_.check(base + offset, size);
      DelayedStore one{base + offset, size, x.sc1, {}};
      for (int i = 0; i < words; ++i) one.data[static_cast<std::size_t>(i)] = wave_->lanes(data.first + i)[lane];
      new_stores_.push_back(one);
    }
    delay_stores(new_stores_);
    return;
  }

  perform_stores(*wave_, static_cast<std::uint32_t>(wave_->stores.size()));
  std::uint32_t streamed = 0;
  alignas(64) std::uint32_t values[4][wave_lanes];
  for (int lane = 0; lane < wave_lanes; ++lane) {
    std::uint32_t one[4] = {};
    if ((executing >> lane & 1) != 0) {
      const std::uint64_t offset = offsets[lane] + immediate;
      const std::uint32_t size = within(offset);
      if (size == 16) {
        std::memcpy(one, memory_.for_load(base + offset, 16, wave_->group->id, x.sc1), 16);
      } else if (size != 0) {
        std::memcpy(one, memory_.for_load(base + offset, size, wave_->group->id, x.sc1), size);
      }
      streamed += size;
    }
    for (int i = 0; i < 4; ++i) values[i][lane] = one[i];
  }
  allow_later_load(data);
  for (int i = 0; i < words; ++i) write_vector(data.first + i, values[i], executing, all_lanes);
  Outstanding entry = vector_load_entry();
  if (x.nt) count_streamed(entry, streamed);
  begin_load(data, wave_->vector_memory, entry);
}

void Machine::global_access(const Instruction& x, std::uint32_t bytes, bool store) {
  const std::size_t data_at = store ? 1 : 0;
  const std::size_t address_at = store ? 0 : 1;
  const Operand& data = operand(x, data_at);
  const int words = static_cast<int>((bytes + 3) / 4);
  if (data.kind != Operand::Kind::vector || data.count != words) fault("the data are not {} registers", words);
  const bool scalar_base = operand(x, 2).kind == Operand::Kind::scalar;
  const std::uint64_t base = (scalar_base ? scalar64(x, 2) : 0) + static_cast<std::uint64_t>(std::int64_t{x.offset});
  const std::uint32_t* lo = source(x, address_at);
  const std::uint32_t* hi = scalar_base ? nullptr : source(x, address_at, 1);
  const LaneMask executing = wave_->executing();
  require_defined(executing, "the address");
  const auto address = [&](int lane) -> std::uint64_t {
    return base + (hi == nullptr ? lo[lane] : join(lo[lane], hi[lane]));
  };

  if (store) {
    for (int i = 0; i < words; ++i) static_cast<void>(source(x, data_at, static_cast<std::size_t>(i)));
    require_defined(executing, "the stored value");
    const int shift = x.operation == Operation::global_store_short_d16_hi ? 16 : 0;
    new_stores_.clear();
    for (int lane = 0; lane < wave_lanes; ++lane) {
      if ((executing >> lane & 1) == 0) continue;
      memory_.check(address(lane), bytes);
      DelayedStore one{address(lane), bytes, x.sc1, {}};
      for (int i = 0; i < words; ++i)
        one.data[static_cast<std::size_t>(i)] = wave_->lanes(data.first + i)[lane] >> shift;
      new_stores_.push_back(one);
    }
    delay_stores(new_stores_);
    return;
  }

  perform_stores(*wave_, static_cast<std::uint32_t>(wave_->stores.size()));
  std::uint32_t streamed = 0;
  std::uint32_t values[4][wave_lanes];
  for (int lane = 0; lane < wave_lanes; ++lane) {
    std::uint32_t one[4] = {};
    if ((executing >> lane & 1) != 0) {
      std::memcpy(one, memory_.for_load(address(lane), bytes, wave_->group->id, x.sc1), bytes);
      streamed += bytes;
    }
    for (int i = 0; i < 4; ++i) values[i][lane] = one[i];
  }
  allow_later_load(data);
  for (int i = 0; i < words; ++i) write_vector(data.first + i, values[i], executing, all_lanes);
  Outstanding entry = vector_load_entry();
  if (x.nt) count_streamed(entry, streamed);
  begin_load(data, wave_->vector_memory, entry);
}

/// Takes effect at once, ahead of the wave's outstanding stores.
void Machine::atomic_add(const Instruction& x) {
  const std::size_t skipped = x.sc0 ? 1 : 0;  // with sc0 it returns the value before
  if (x.operand_count != 3 + skipped) fault("has {} operands", x.operand_count);
  const bool scalar_base = operand(x, 2 + skipped).kind == Operand::Kind::scalar;
  const std::uint64_t base =
      (scalar_base ? scalar64(x, 2 + skipped) : 0) + static_cast<std::uint64_t>(std::int64_t{x.offset});
  const std::uint32_t* lo = source(x, skipped);
  const std::uint32_t* hi = scalar_base ? nullptr : source(x, skipped, 1);
  const std::uint32_t* data = source(x, skipped + 1);
  const LaneMask executing = wave_->executing();
  require_defined(executing, "an operand");
  Lanes before{};
  for (int lane = 0; lane < wave_lanes; ++lane) {
    if ((executing >> lane & 1) == 0) continue;
    const std::uint64_t at = base + (hi == nullptr ? lo[lane] : join(lo[lane], hi[lane]));
    if (at % 4 != 0) fault("an atomic at {:#x}, which is not a multiple of 4", at);
    void* const to = memory_.for_store(at, 4, wave_->group->id, true);
    std::memcpy(&before[lane], to, 4);
    const std::uint32_t sum = before[lane] + data[lane];
    std::memcpy(to, &sum, 4);
  }
  Outstanding entry = vector_load_entry();
  if (!x.sc0) {
    entry.load = false;
    wave_->vector_memory.push_back(entry);
    return;
  }
  const Operand& result = vector_destination(x, 1);
  write_vector(result.first, before, executing, all_lanes);
  begin_load(result, wave_->vector_memory, entry);
}

void Machine::lds_access(const Instruction& x, std::uint32_t bytes, bool write) {
  Group& group = *wave_->group;
  const std::size_t data_at = write ? 1 : 0;
  const Operand& data = operand(x, data_at);
  // Two dwords at offsets of their own, in dwords or in 64 of them; to be written, they come from two operands.
  const bool pair = x.operation == Operation::ds_read2_b32 || x.operation == Operation::ds_read2st64_b32 ||
                    x.operation == Operation::ds_write2st64_b32;
  const int unit = !pair ? 1 : x.operation == Operation::ds_read2_b32 ? 4 : 256;
  const int words = pair ? 2 : static_cast<int>(bytes / 4);
  const bool two_operands = pair && write;
  if (data.kind != Operand::Kind::vector || data.count != (two_operands ? 1 : words))
    fault("the data are not {} registers", words);
  const std::uint32_t* written[4] = {};
  const LaneMask executing = wave_->executing();
  const std::uint32_t* addresses = source(x, write ? 0 : 1);
  require_defined(executing, "the address");
  if (write) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(words); ++i)
      written[i] = two_operands ? source(x, 1 + i) : source(x, 1, i);
    require_defined(executing, "the written value");
  }
  const auto wave_bit = static_cast<std::uint16_t>(1U << wave_->index);
  std::uint32_t values[4][wave_lanes] = {};
  for (int lane = 0; lane < wave_lanes; ++lane) {
    if ((executing >> lane & 1) == 0) continue;
    const std::uint64_t at = std::uint64_t{addresses[lane]} + static_cast<std::uint64_t>(unit * x.offset);
    if (at % bytes != 0) fault("LDS at {}, which is not a multiple of {}", at, bytes);
    for (int i = 0; i < words; ++i) {
      const std::uint64_t dword = at / 4 + static_cast<std::uint64_t>(pair ? i * (x.offset1 - x.offset) * unit / 4 : i);
      if (dword * 4 + 4 > kernel_.lds_bytes) fault("LDS at {} of {}", dword * 4, kernel_.lds_bytes);
      LdsDword& state = group.lds_state[dword];
      const bool written_by_another = state.written_in == group.interval && state.writer != wave_->index;
      if (write) {
        if (written_by_another || (state.read_in == group.interval && (state.readers & ~wave_bit) != 0))
          fault("a race: LDS at {} is used by another wave since the last barrier", dword * 4);
        state.written_in = group.interval;
        state.writer = static_cast<std::uint16_t>(wave_->index);
        std::memcpy(&group.lds[dword * 4], &written[i][lane], 4);
      } else {
        if (state.written_in == 0) fault("LDS at {}, which nobody wrote", dword * 4);
        if (written_by_another)
          fault("a race: LDS at {} was written by wave {} since the last barrier", dword * 4, state.writer);
        if (state.read_in != group.interval) state.readers = 0;
        state.read_in = group.interval;
        state.readers = static_cast<std::uint16_t>(state.readers | wave_bit);
        std::memcpy(&values[i][lane], &group.lds[dword * 4], 4);
      }
    }
  }
  if (write) {
    Outstanding entry;
    entry.lds_write = true;
    wave_->lds_and_scalar.push_back(entry);
    return;
  }
  for (int i = 0; i < words; ++i) write_vector(data.first + i, values[i], executing, all_lanes);
  begin_load(data, wave_->lds_and_scalar, Outstanding{});
}

void Machine::permute_lanes(const Instruction& x) {
  const std::uint32_t* addresses = source(x, 1);
  const LaneMask executing = wave_->executing();
  require_defined(executing, "the address");
  defined_ = all_lanes;
  const std::uint32_t* data = source(x, 2);
  Lanes r{};
  LaneMask defined = 0;
  for (int lane = 0; lane < wave_lanes; ++lane) {
    if ((executing >> lane & 1) == 0) continue;
    const std::uint32_t from = (addresses[lane] + static_cast<std::uint32_t>(x.offset)) / 4 % wave_lanes;
    r[lane] = data[from];
    defined |= (executing & defined_) >> from << lane & LaneMask{1} << lane;  // of lanes that do not take part: none
  }
  write_vector(vector_destination(x, 1).first, r, executing, defined);
  begin_load(operand(x, 0), wave_->lds_and_scalar, Outstanding{});
}

thread_local Counts counts_of_last_run;

}  // namespace

std::uint64_t Counts::total() const noexcept {
  return std::accumulate(instructions.begin(), instructions.end(), std::uint64_t{0});
}

const Counts& last_counts() noexcept { return counts_of_last_run; }

void register_memory(const void* memory, Index bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  allocations()[begin] = {begin + static_cast<std::uintptr_t>(bytes), false};
}
void unregister_memory(const void* memory) { allocations().erase(reinterpret_cast<std::uintptr_t>(memory)); }

Expected<void> run(const Dispatch& launch, std::uint64_t seed) {
  counts_of_last_run = {};
  const Kernel& kernel = *launch.kernel;
  if (launch.threads != kernel.threads || launch.argument_bytes != kernel.argument_bytes || launch.groups_x == 0 ||
      launch.groups_y == 0)
    return fail(ErrorCode::invalid_argument,
                "{} has {} threads and {} bytes of arguments; got {} and {}, in {} x {} groups", kernel.symbol,
                kernel.threads, kernel.argument_bytes, launch.threads, launch.argument_bytes, launch.groups_x,
                launch.groups_y);
  if (kernel.scratch_bytes != 0) return fail(ErrorCode::invalid_argument, "{} uses scratch memory", kernel.symbol);
  std::vector<std::uint64_t> arguments((launch.argument_bytes + 7) / 8);
  std::memcpy(arguments.data(), launch.arguments, launch.argument_bytes);
  register_memory(arguments.data(), static_cast<Index>(launch.argument_bytes));
  Dispatch own = launch;
  own.arguments = arguments.data();
  Expected<void> result;
  try {
    const auto machine = std::make_unique<Machine>(own, seed, counts_of_last_run);
    machine->run();
  } catch (const Fault& what) {
    result = fail(ErrorCode::device_error, "{}: {}", kernel.symbol, what.what());
  }
  unregister_memory(arguments.data());
  return result;
}

}  // namespace millet::gfx950_isa
