// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/gfx950_emulated/emulator.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "millet/backends/gfx950/instructions.hpp"

namespace millet::gfx950_emulated {
namespace {

using gfx950::Buffer;
using gfx950::Cache;
using gfx950::LdsArray;
using gfx950::Vec4f;
using gfx950::Vec4u;
using gfx950::Vec8u;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// Memory that kernels may touch, for as long as it lives.
template <class T>
struct Registered {
  std::vector<T> data;

  explicit Registered(std::size_t count, T value = T{}) : data(count, value) {
    EXPECT_TRUE(register_memory(data.data(), static_cast<Index>(count * sizeof(T))).has_value());
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;
  ~Registered() { EXPECT_TRUE(unregister_memory(data.data()).has_value()); }

  [[nodiscard]] T* get() { return data.data(); }
};

/// The message of a launch's fault; empty if it ran.
std::string fault_of(const LaunchShape& shape, const std::function<void()>& body, std::uint64_t seed = 1) {
  const Expected<void> result = run_grid(shape, body, seed);
  if (result) return {};
  EXPECT_EQ(result.error().code, ErrorCode::device_error);
  return result.error().message;
}

constexpr LaunchShape one_wave{1, 1, 64};

// ---- who a lane is ----

TEST(Emulator, EveryLaneRunsOnceWithItsIds) {
  constexpr int threads = 192;
  Registered<int> seen(static_cast<std::size_t>(3 * 2 * threads), 0);
  ASSERT_EQ(fault_of({3, 2, threads},
                     [&] {
                       const int group = gfx950::group_id_y() * 3 + gfx950::group_id_x();
                       int* at = seen.get() + group * threads + gfx950::wave_id() * 64 + gfx950::lane_id();
                       EXPECT_EQ(gfx950::thread_id(), gfx950::wave_id() * 64 + gfx950::lane_id());
                       gfx950::store(at, gfx950::load(at) + 1);
                     }),
            "");
  EXPECT_THAT(seen.data, ::testing::Each(1));
}

TEST(Emulator, RejectsShapesThatNoDeviceRuns) {
  for (const LaunchShape& shape : {LaunchShape{1, 1, 0}, {1, 1, 63}, {1, 1, 1088}, {0, 1, 64}, {1, 0, 64}}) {
    const Expected<void> result = run_grid(
        shape, [] {}, 0);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
  }
}

TEST(Emulator, RejectsALaunchFromInsideAKernel) {
  ASSERT_EQ(fault_of(one_wave,
                     [] {
                       EXPECT_FALSE(run_grid(
                                        one_wave, [] {}, 0)
                                        .has_value());
                     }),
            "");
}

TEST(Emulator, InstructionsOutsideOfAKernelThrow) {
  EXPECT_THROW((void)gfx950::thread_id(), std::logic_error);
  EXPECT_THROW(gfx950::barrier(), std::logic_error);
}

TEST(Emulator, RunsOnSeveralThreadsAtOnce) {
  std::array<std::uint64_t, 3> barriers{};
  std::vector<std::thread> threads;
  for (std::uint64_t& count : barriers)
    threads.emplace_back([&count] {
      for (int i = 0; i < 5; ++i) EXPECT_EQ(fault_of({4, 1, 128}, [] { gfx950::barrier(); }), "");
      count = last_counts().barriers;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(barriers, ::testing::Each(4U));
}

// ---- global memory ----

TEST(Emulator, LoadsOutOfTheBufferGiveZeroDwordByDword) {
  Registered<std::uint8_t> memory(64);
  std::iota(memory.data.begin(), memory.data.end(), std::uint8_t{1});
  const auto dword = [&](std::size_t at) {
    std::uint32_t word;
    std::memcpy(&word, memory.get() + at, 4);
    return word;
  };
  ASSERT_EQ(fault_of(one_wave,
                     [&] {
                       if (gfx950::thread_id() != 5) return;
                       const Buffer buffer = gfx950::make_buffer(memory.get() + 1, 27);  // any alignment
                       const Vec4u inside = gfx950::load_b128(buffer, 4, 7);
                       for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(inside[i], dword(12 + 4 * i));
                       const Vec4u across = gfx950::load_b128<Cache::streaming>(buffer, 16);  // 11 bytes are left
                       EXPECT_EQ(across[0], dword(17));
                       EXPECT_EQ(across[1], dword(21));
                       EXPECT_EQ(across[2], 0U);
                       EXPECT_EQ(across[3], 0U);
                       EXPECT_EQ(gfx950::load_b32(buffer, 23), dword(24));
                       EXPECT_EQ(gfx950::load_b32(buffer, 24), 0U);
                       EXPECT_EQ(gfx950::load_u8(buffer, 26), 28U);
                       EXPECT_EQ(gfx950::load_u8(buffer, 27), 0U);
                       EXPECT_EQ(gfx950::load_b32(buffer, gfx950::out_of_buffer, 8), 0U);
                       // The sum of the offsets does not wrap round to the start.
                       EXPECT_EQ(gfx950::load_b32(buffer, 0xFFFFFFFCU, 8), 0U);
                       EXPECT_EQ(gfx950::load_b32(gfx950::make_buffer(nullptr, 0), 0), 0U);
                     }),
            "");
  EXPECT_EQ(last_counts().lane_loads, 9U);
  EXPECT_EQ(last_counts().bytes_loaded_streaming, 8U);
  EXPECT_EQ(last_counts().bytes_loaded_normal, 16U + 4 + 1);
}

TEST(Emulator, StoresOutOfTheBufferDoNothing) {
  Registered<std::uint8_t> memory(32, 0xEE);
  ASSERT_EQ(fault_of(one_wave,
                     [&] {
                       if (gfx950::thread_id() != 0) return;
                       const Buffer buffer = gfx950::make_buffer(memory.get(), 22);
                       gfx950::store_b128(buffer, 12, Vec4u{1, 2, 3, 4});
                       gfx950::store_b128(buffer, gfx950::out_of_buffer, Vec4u{1, 2, 3, 4});
                     }),
            "");
  for (std::size_t i = 0; i < 32; ++i)
    EXPECT_EQ(memory.data[i], i < 12 || i >= 20 ? 0xEE : i % 4 != 0 ? 0 : (i - 12) / 4 + 1) << i;
  EXPECT_EQ(last_counts().bytes_stored, 8U);
}

TEST(Emulator, AccessOutsideOfEveryAllocationFaults) {
  Registered<std::uint32_t> memory(4);
  std::uint32_t foreign = 7;
  const auto address = [](const void* p) { return fmt::format("{:#x}", reinterpret_cast<std::uintptr_t>(p)); };

  EXPECT_THAT(fault_of({2, 1, 128},
                       [&] {
                         if (gfx950::thread_id() == 70) gfx950::store(&foreign, 8U);
                       }),
              AllOf(HasSubstr("store of 4 bytes at " + address(&foreign)), HasSubstr("outside of every allocation"),
                    HasSubstr("wave 1, lane 6"), HasSubstr("work-group (")));
  EXPECT_EQ(foreign, 7U);
  EXPECT_THAT(fault_of(one_wave, [&] { (void)gfx950::load(memory.get() + 4); }),
              AllOf(HasSubstr("load of 4 bytes at " + address(memory.get() + 4)),
                    HasSubstr("16 bytes at " + address(memory.get()))));
  // A buffer that claims more than there is: the last dword within is one too far.
  EXPECT_THAT(fault_of(one_wave, [&] { (void)gfx950::load_b128(gfx950::make_buffer(memory.get(), 20), 4); }),
              HasSubstr("load of 16 bytes at " + address(memory.get() + 1)));
  EXPECT_THAT(fault_of(one_wave, [&] { (void)gfx950::load(static_cast<const int*>(nullptr)); }),
              HasSubstr("load of 4 bytes at 0x0"));
  EXPECT_THAT(fault_of(one_wave, [&] { (void)gfx950::fetch_add(&foreign, 1); }), HasSubstr("every allocation"));
  EXPECT_EQ(foreign, 7U);
}

TEST(Emulator, MemoryThatWasTakenBackFaults) {
  std::vector<std::uint32_t> memory(4);
  const auto kernel = [&] { (void)gfx950::load(memory.data()); };
  ASSERT_TRUE(register_memory(memory.data(), 16).has_value());
  EXPECT_EQ(fault_of(one_wave, kernel), "");
  ASSERT_TRUE(unregister_memory(memory.data()).has_value());
  EXPECT_THAT(fault_of(one_wave, kernel), HasSubstr("outside of every allocation"));
}

TEST(Emulator, RegistryRejectsWhatIsNoAllocation) {
  Registered<std::uint32_t> memory(4);
  EXPECT_FALSE(register_memory(memory.get() + 3, 16).has_value());
  EXPECT_FALSE(register_memory(memory.get(), 4).has_value());
  EXPECT_FALSE(register_memory(nullptr, 4).has_value());
  EXPECT_FALSE(register_memory(&memory, 0).has_value());
  EXPECT_FALSE(unregister_memory(memory.get() + 1).has_value());
}

TEST(Emulator, MisalignedAddressFaults) {
  Registered<std::uint32_t> memory(4);
  const std::uintptr_t odd = reinterpret_cast<std::uintptr_t>(memory.get()) + 2;
  EXPECT_THAT(fault_of(one_wave, [&] { (void)gfx950::load(reinterpret_cast<const std::uint32_t*>(odd)); }),
              HasSubstr("not a multiple of 4"));
}

TEST(Emulator, BufferSizeOutOfRangeFaults) {
  EXPECT_THAT(fault_of(one_wave, [] { (void)gfx950::make_buffer(nullptr, Index{1} << 31); }),
              HasSubstr("make_buffer of 2147483648 bytes"));
  EXPECT_THAT(fault_of(one_wave, [] { (void)gfx950::make_buffer(nullptr, -1); }), HasSubstr("make_buffer of -1"));
}

TEST(Emulator, FetchIncrementGivesEachGroupAnotherNumber) {
  Registered<std::uint32_t> counter(1);
  Registered<std::uint32_t> taken(40, 99);
  ASSERT_EQ(fault_of({8, 5, 64},
                     [&] {
                       MILLET_LDS(std::uint32_t, 1, number);
                       if (gfx950::thread_id() == 0) number.write(0, gfx950::fetch_add(counter.get(), 1));
                       gfx950::barrier();
                       const std::uint32_t mine = gfx950::uniform(number.read(0));
                       if (gfx950::thread_id() == 17)
                         gfx950::store_device(taken.get() + gfx950::group_id_y() * 8 + gfx950::group_id_x(), mine);
                     }),
            "");
  EXPECT_EQ(counter.data[0], 40U);
  std::vector<std::uint32_t> sorted = taken.data;
  std::sort(sorted.begin(), sorted.end());
  for (std::uint32_t i = 0; i < 40; ++i) EXPECT_EQ(sorted[i], i);
}

TEST(Emulator, WaitingInALoopForAnotherGroupFaults) {
  Registered<std::uint32_t> flag(1);
  EXPECT_THAT(fault_of(one_wave,
                       [&] {
                         while (gfx950::load(flag.get()) == 0) {
                         }
                       }),
              HasSubstr("without reaching a barrier"));
}

TEST(Emulator, AlignBytesTakesFourOfEight) {
  EXPECT_EQ(gfx950::align_bytes(0x77665544, 0x33221100, 0), 0x33221100U);
  EXPECT_EQ(gfx950::align_bytes(0x77665544, 0x33221100, 1), 0x44332211U);
  EXPECT_EQ(gfx950::align_bytes(0x77665544, 0x33221100, 7), 0x66554433U);
}

// ---- LDS ----

/// Each lane writes its element and reads its neighbour's.
void exchange_with_neighbour(bool with_barrier) {
  MILLET_LDS(int, 128, shared);
  shared.write(gfx950::thread_id(), gfx950::thread_id() * 3);
  if (with_barrier) gfx950::barrier();
  const int neighbour = (gfx950::thread_id() + 1) % 128;
  EXPECT_EQ(shared.read(neighbour), neighbour * 3);
}

TEST(Emulator, LdsExchangeWithABarrierPasses) {
  EXPECT_EQ(fault_of({3, 1, 128}, [] { exchange_with_neighbour(true); }), "");
  EXPECT_EQ(last_counts().lds_writes, 3U * 128);
  EXPECT_EQ(last_counts().lds_reads, 3U * 128);
  EXPECT_EQ(last_counts().barriers, 3U);
}

TEST(Emulator, LdsExchangeWithoutABarrierFaults) {
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_THAT(fault_of(
                    {3, 1, 128}, [] { exchange_with_neighbour(false); }, seed),
                HasSubstr("LDS"))
        << seed;
}

/// Lane `writer` writes and lane `reader` reads an element that lane 0 filled before.
std::string race_of(int writer, int reader) {
  return fault_of({1, 1, 128}, [=] {
    MILLET_LDS(Vec4u, 2, shared);
    if (gfx950::thread_id() == 0) shared.write(1, Vec4u{1, 2, 3, 4});
    gfx950::barrier();
    if (gfx950::thread_id() == writer) shared.write(1, Vec4u{5, 6, 7, 8});
    if (gfx950::thread_id() == reader) (void)shared.read(1);
  });
}

TEST(Emulator, LdsRaceNamesBothLanes) {
  EXPECT_EQ(race_of(70, 70), "");
  EXPECT_THAT(race_of(3, 70), AllOf(HasSubstr("LDS race"), HasSubstr("element 1"), HasSubstr("lane 3"),
                                    HasSubstr("wave 1"), HasSubstr("lane 6")));
  // Within a wave too: nothing relies on lanes going in step.
  EXPECT_THAT(race_of(3, 4), AllOf(HasSubstr("LDS race"), HasSubstr("lane 3"), HasSubstr("lane 4")));
}

TEST(Emulator, LdsWriteAfterReadsByOthersFaults) {
  EXPECT_THAT(fault_of({1, 1, 64},
                       [] {
                         MILLET_LDS(float, 1, shared);
                         if (gfx950::lane_id() == 0) shared.write(0, 1.0F);
                         gfx950::barrier();
                         (void)shared.read(0);
                         (void)gfx950::ballot(true);  // brings all lanes here, but orders nothing
                         if (gfx950::lane_id() == 9) shared.write(0, 2.0F);
                       }),
              AllOf(HasSubstr("LDS race: writes"), HasSubstr("read since the last barrier"), HasSubstr("lane 9")));
}

TEST(Emulator, LdsOfTwoWritersFaultsEvenWithTheSameValue) {
  EXPECT_THAT(fault_of(one_wave,
                       [] {
                         MILLET_LDS(int, 1, shared);
                         shared.write(0, 7);
                       }),
              HasSubstr("LDS race: writes"));
}

TEST(Emulator, LdsThatNobodyWroteFaults) {
  Registered<int> first(1, 1);
  EXPECT_THAT(fault_of({2, 1, 64},
                       [&] {
                         MILLET_LDS(int, 64, shared);
                         if (gfx950::load(first.get()) != 0) shared.write(gfx950::lane_id(), 1);
                         gfx950::barrier();
                         if (gfx950::lane_id() == 0) gfx950::store(first.get(), 0);
                         (void)shared.read(gfx950::lane_id());  // in the second group: what the first one left
                       }),
              HasSubstr("reads LDS that nobody wrote"));
  EXPECT_EQ(last_counts().lds_writes, 64U);
}

TEST(Emulator, LdsIndexOutOfBoundsFaults) {
  for (const int i : {-1, 8, 1 << 30})
    EXPECT_THAT(fault_of(one_wave,
                         [=] {
                           MILLET_LDS(int, 8, shared);
                           shared.write(i, 1);
                         }),
                HasSubstr("LDS index out of bounds"));
}

TEST(Emulator, LdsIsLimitedTo160KiB) {
  EXPECT_EQ(fault_of(one_wave,
                     [] {
                       MILLET_LDS(std::uint8_t, 1000, first);
                       MILLET_LDS(Vec4u, 160 * 1024 / 16 - 63, second);
                       if (gfx950::lane_id() == 0) second.write(160 * 1024 / 16 - 64, Vec4u{});
                       if (gfx950::lane_id() == 0) first.write(999, 1);
                     }),
            "");
  EXPECT_THAT(fault_of(one_wave,
                       [] {
                         MILLET_LDS(std::uint8_t, 1000, first);
                         MILLET_LDS(Vec4u, 160 * 1024 / 16 - 62, second);
                         (void)first, (void)second;
                       }),
              HasSubstr("exceeds the 163840 bytes"));
}

TEST(Emulator, LanesThatDeclareDifferentLdsFault) {
  const auto another_place = [] {
    if (gfx950::lane_id() == 5) {
      MILLET_LDS(int, 8, a);
      (void)a;
    } else {
      MILLET_LDS(int, 8, b);
      (void)b;
    }
  };
  EXPECT_THAT(fault_of(one_wave, another_place), HasSubstr("LDS declaration 0"));
  const auto another_size = [] {
    MILLET_LDS(int, gfx950::lane_id() == 5 ? 8 : 9, array);
    (void)array;
  };
  EXPECT_THAT(fault_of(one_wave, another_size), HasSubstr("LDS declaration 0"));
}

// ---- waves ----

TEST(Emulator, BallotAndUniform) {
  ASSERT_EQ(fault_of({1, 1, 128},
                     [] {
                       const int wave = gfx950::wave_id();
                       for (int round = 0; round < 5; ++round) {
                         const std::uint64_t odd = gfx950::ballot(gfx950::lane_id() % 2 == 1);
                         EXPECT_EQ(odd, 0xAAAAAAAAAAAAAAAAU);
                         EXPECT_EQ(gfx950::ballot(gfx950::lane_id() == 63 - wave), std::uint64_t{1} << (63 - wave));
                         EXPECT_EQ(gfx950::uniform(static_cast<std::uint32_t>(wave + round)),
                                   static_cast<std::uint32_t>(wave + round));
                       }
                     }),
            "");
}

TEST(Emulator, ShuffleGivesWhatTheOtherLaneHad) {
  ASSERT_EQ(fault_of({1, 1, 128},
                     [] {
                       auto x = static_cast<std::uint32_t>(gfx950::thread_id());
                       for (int round = 0; round < 5; ++round) {
                         const int source = (gfx950::lane_id() * 7 + round) % 64;
                         const auto expected =
                             static_cast<std::uint32_t>(gfx950::wave_id() * 64 + source + round * 1000);
                         EXPECT_EQ(gfx950::shuffle(x, source), expected);
                         x += 1000;
                       }
                     }),
            "");
  EXPECT_THAT(fault_of(one_wave, [] { (void)gfx950::shuffle(1, gfx950::lane_id() + 1); }),
              HasSubstr("shuffle() from lane 64"));
}

TEST(Emulator, UniformOfDifferentValuesFaults) {
  EXPECT_THAT(fault_of({1, 1, 128}, [] { (void)gfx950::uniform(gfx950::thread_id() == 64 + 9 ? 0xBADU : 0x600DU); }),
              AllOf(HasSubstr("uniform() of different values"), HasSubstr("0xbad in lane 9"), HasSubstr("wave 1")));
}

TEST(Emulator, DivergentWaveOperationsFault) {
  const auto one_lane_ends = [] {
    if (gfx950::lane_id() == 40) return;
    (void)gfx950::ballot(true);
  };
  const auto another_kind = [] {
    if (gfx950::lane_id() == 40) {
      (void)gfx950::uniform(1);
    } else {
      (void)gfx950::ballot(true);
    }
  };
  const auto another_place = [] {
    if (gfx950::lane_id() == 40) {
      (void)gfx950::ballot(true);
    } else {
      (void)gfx950::ballot(false);
    }
  };
  const auto one_at_the_barrier = [] {
    if (gfx950::lane_id() == 40) {
      gfx950::barrier();
    } else {
      (void)gfx950::ballot(false);
    }
  };
  for (const std::function<void()>& kernel :
       {std::function<void()>(one_lane_ends), std::function<void()>(another_kind), std::function<void()>(another_place),
        std::function<void()>(one_at_the_barrier)})
    EXPECT_THAT(fault_of({1, 1, 128}, kernel), AllOf(HasSubstr("divergent"), HasSubstr("lane 40")));
}

TEST(Emulator, LaneThatEndsBeforeTheBarrierFaults) {
  EXPECT_THAT(fault_of(one_wave,
                       [] {
                         if (gfx950::lane_id() != 11) gfx950::barrier();
                       }),
              AllOf(HasSubstr("lane 11 has ended"), HasSubstr("barrier")));
  for (std::uint64_t seed = 0; seed < 8; ++seed)
    EXPECT_THAT(fault_of(
                    {1, 1, 256},
                    [] {
                      if (gfx950::wave_id() != 2) gfx950::barrier();
                    },
                    seed),
                AllOf(HasSubstr("a barrier that not all waves reach"), HasSubstr("wave 2 has ended")));
}

TEST(Emulator, WavesMayMeetAtDifferentBarriers) {
  EXPECT_EQ(fault_of({1, 1, 128},
                     [] {
                       if (gfx950::wave_id() == 0) {
                         gfx950::barrier();
                       } else {
                         gfx950::barrier();
                       }
                     }),
            "");
  EXPECT_EQ(last_counts().barriers, 1U);
}

TEST(Emulator, LanesUnwindOnAFault) {
  int alive = 0;
  struct Alive {
    int& count;
    explicit Alive(int& c) : count(c) { ++count; }
    Alive(const Alive&) = delete;
    Alive& operator=(const Alive&) = delete;
    ~Alive() { --count; }
  };
  for (int at = 0; at < 1024; at += 341) {
    EXPECT_THAT(fault_of({2, 1, 1024},
                         [&] {
                           const Alive here(alive);
                           const std::vector<int> memory(100, 1);  // a leak if its lane is not unwound
                           if (gfx950::thread_id() < 512) (void)gfx950::ballot(true);
                           if (gfx950::thread_id() == at) (void)gfx950::load(memory.data());
                           gfx950::barrier();
                         }),
                HasSubstr("outside of every allocation"));
    EXPECT_EQ(alive, 0);
    // The next launch finds the lanes in order.
    EXPECT_EQ(fault_of({2, 1, 1024}, [] { gfx950::barrier(); }), "");
  }
}

TEST(Emulator, ExceptionOfAKernelIsAFault) {
  EXPECT_THAT(fault_of({1, 1, 128},
                       [] {
                         if (gfx950::thread_id() == 100) throw std::runtime_error("out of cheese");
                         gfx950::barrier();
                       }),
              AllOf(HasSubstr("the kernel threw: out of cheese"), HasSubstr("wave 1, lane 36")));
}

TEST(Emulator, GroupOf1024Lanes) {
  Registered<std::uint32_t> sums(6);
  ASSERT_EQ(fault_of({6, 1, 1024},
                     [&] {
                       MILLET_LDS(std::uint32_t, 1024, tree);
                       const int t = gfx950::thread_id();
                       tree.write(t, static_cast<std::uint32_t>(t));
                       gfx950::barrier();
                       for (int half = 512; half > 0; half /= 2) {
                         const std::uint32_t sum = t < half ? tree.read(t) + tree.read(t + half) : 0;
                         gfx950::barrier();
                         if (t < half) tree.write(t, sum);
                         gfx950::barrier();
                       }
                       if (t == 0) gfx950::store(sums.get() + gfx950::group_id_x(), tree.read(0));
                     }),
            "");
  EXPECT_THAT(sums.data, ::testing::Each(1023U * 512));
}

/// The order in which groups, and waves within a group, come past.
struct Order {
  std::vector<int> groups, waves;
};
Order order_of(std::uint64_t seed) {
  Order order;
  EXPECT_EQ(fault_of(
                {16, 4, 256},
                [&] {
                  if (gfx950::lane_id() == 0) order.waves.push_back(gfx950::wave_id());
                  gfx950::barrier();
                  if (gfx950::thread_id() == 0)
                    order.groups.push_back(gfx950::group_id_y() * 16 + gfx950::group_id_x());
                },
                seed),
            "");
  return order;
}

TEST(Emulator, OrderFollowsFromTheSeed) {
  const Order one = order_of(1);
  EXPECT_EQ(one.groups, order_of(1).groups);
  EXPECT_EQ(one.waves, order_of(1).waves);
  EXPECT_NE(one.groups, order_of(2).groups);
  EXPECT_NE(one.waves, order_of(2).waves);
  std::vector<int> sorted = one.groups;
  std::sort(sorted.begin(), sorted.end());
  for (int i = 0; i < 64; ++i) EXPECT_EQ(sorted[static_cast<std::size_t>(i)], i);
}

// ---- MFMA ----

/// Operands of one MFMA, by what they mean: codes by row and k, scales by row and block.
struct Operands {
  std::uint8_t first[16][128], second[16][128];
  std::uint8_t first_scale[16][4], second_scale[16][4];
  float c[16][16];
};

struct Product {
  float d[16][16];
};

/// From the documentation of the instruction, not from lane_maps.hpp: lane l holds row l % 16; its bytes 0..15 are k
/// 16 (l / 16) onward, its bytes 16..31 are 64 further; its scale is that of block l / 16. Lane l's i-th result is row
/// 4 (l / 16) + i, column l % 16.
template <int FirstByte = 0, int SecondByte = 0>
Product emulated(const Operands& operands) {
  Product product{};
  EXPECT_EQ(fault_of(one_wave,
                     [&] {
                       const int lane = gfx950::lane_id();
                       const int row = lane % 16;
                       const int group = lane / 16;
                       std::uint8_t first[32], second[32];
                       for (int byte = 0; byte < 32; ++byte) {
                         const int k = (byte < 16 ? 0 : 48) + 16 * group + byte;
                         first[byte] = operands.first[row][k];
                         second[byte] = operands.second[row][k];
                       }
                       Vec8u first_vector, second_vector;
                       std::memcpy(&first_vector, first, 32);
                       std::memcpy(&second_vector, second, 32);
                       const auto in_byte = [](std::uint8_t scale, int byte) {
                         return (0x5A3C9671U & ~(0xFFU << (8 * byte))) |
                                (static_cast<std::uint32_t>(scale) << 8 * byte);
                       };
                       Vec4f c;
                       for (int i = 0; i < 4; ++i) c[i] = operands.c[4 * group + i][row];
                       const Vec4f d = gfx950::mfma_scale_16x16x128<FirstByte, SecondByte>(
                           first_vector, in_byte(operands.first_scale[row][group], FirstByte), second_vector,
                           in_byte(operands.second_scale[row][group], SecondByte), c);
                       for (int i = 0; i < 4; ++i) product.d[4 * group + i][row] = d[i];
                     }),
            "");
  return product;
}

/// The value of a code, by the formula of the OCP specification.
double value(std::uint8_t code) {
  const int exponent = code >> 3 & 15;
  const int mantissa = code & 7;
  if ((code & 0x7F) == 0x7F) return std::numeric_limits<double>::quiet_NaN();
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

/// How many elements of the product are not the sum over k of the scaled products, to within a rounding to f32 and
/// `slack` of the sum of magnitudes.
int wrong_elements(const Operands& operands, const Product& product, long double slack) {
  int wrong = 0;
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 16; ++column) {
      long double sum = static_cast<long double>(operands.c[row][column]);
      long double magnitude = std::fabs(sum);
      for (int k = 0; k < 128; ++k) {
        const int first_scale = operands.first_scale[row][k / 32];
        const int second_scale = operands.second_scale[column][k / 32];
        long double term = static_cast<long double>(value(operands.first[row][k])) *
                           static_cast<long double>(value(operands.second[column][k]));
        term = std::ldexp(term, first_scale + second_scale - 254);
        if (first_scale == 255 || second_scale == 255) term = std::numeric_limits<long double>::quiet_NaN();
        sum += term;
        magnitude += std::fabs(term);
      }
      const float got = product.d[row][column];
      if (std::isnan(sum)) {
        wrong += std::isnan(got) ? 0 : 1;
      } else if (std::fabs(sum) > 0x1.fffffep127L) {
        wrong += std::isinf(got) && (got > 0) == (sum > 0) ? 0 : 1;
      } else {
        const long double bound = std::ldexp(std::fabs(sum), -24) + slack * magnitude + 0x1p-150L;
        wrong += std::fabs(static_cast<long double>(got) - sum) <= bound ? 0 : 1;
      }
    }
  return wrong;
}

enum class Codes { without_nan, all, subnormal };

Operands random_operands(std::mt19937_64& random, Codes codes, int lowest_scale, int highest_scale) {
  Operands operands{};
  const auto code = [&] {
    for (;;) {
      auto byte = static_cast<std::uint8_t>(random());
      if (codes == Codes::subnormal) byte &= 0x87;
      if (codes == Codes::all && random() % 200 != 0 && (byte & 0x7F) == 0x7F) continue;
      if (codes != Codes::without_nan || (byte & 0x7F) != 0x7F) return byte;
    }
  };
  const auto scale = [&] {
    return static_cast<std::uint8_t>(
        lowest_scale + static_cast<int>(random() % static_cast<std::uint64_t>(highest_scale - lowest_scale + 1)));
  };
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 128; ++k) {
      operands.first[row][k] = code();
      operands.second[row][k] = code();
    }
    for (int block = 0; block < 4; ++block) {
      operands.first_scale[row][block] = scale();
      operands.second_scale[row][block] = scale();
    }
    for (int column = 0; column < 16; ++column)
      operands.c[row][column] =
          std::ldexp(static_cast<float>(static_cast<int>(random() % 2001) - 1000), static_cast<int>(random() % 17) - 8);
  }
  return operands;
}

constexpr long double one_double_rounding = 0x1p-50L;

TEST(EmulatorMfma, MatchesTheNaiveSum) {
  std::mt19937_64 random(1);
  for (int trial = 0; trial < 20; ++trial) {
    for (const Codes codes : {Codes::without_nan, Codes::all, Codes::subnormal}) {
      const Operands equal = random_operands(random, codes, 127, 127);
      EXPECT_EQ(wrong_elements(equal, emulated(equal), 0), 0);  // all sums are exact in double
      const Operands near = random_operands(random, codes, 118, 136);
      EXPECT_EQ(wrong_elements(near, emulated(near), one_double_rounding), 0);
      const Operands far = random_operands(random, codes, 0, 254);
      EXPECT_EQ(wrong_elements(far, emulated(far), one_double_rounding), 0);
      const Operands nan_scales = random_operands(random, codes, 235, 255);
      EXPECT_EQ(wrong_elements(nan_scales, emulated(nan_scales), one_double_rounding), 0);
      const Operands tiny = random_operands(random, codes, 0, 3);
      EXPECT_EQ(wrong_elements(tiny, emulated(tiny), one_double_rounding), 0);
    }
  }
}

TEST(EmulatorMfma, ScaleZeroIsTheSmallestPowerAnd255IsNan) {
  Operands operands{};
  for (auto& row : operands.first) std::fill(std::begin(row), std::end(row), std::uint8_t{0x38});  // 1
  for (auto& row : operands.second) std::fill(std::begin(row), std::end(row), std::uint8_t{0x38});
  for (auto& row : operands.second_scale) std::fill(std::begin(row), std::end(row), std::uint8_t{127 + 20});
  operands.first_scale[3][0] = 255;
  const Product product = emulated(operands);
  for (int row = 0; row < 16; ++row)
    for (const float d : product.d[row]) {
      if (row == 3) {
        EXPECT_TRUE(std::isnan(d));
      } else {
        EXPECT_EQ(d, 0x1p-100F);  // 128 * 2^-127 * 2^20
      }
    }
}

TEST(EmulatorMfma, OneNanElementSpoilsItsRowOrColumnOnly) {
  std::mt19937_64 random(4);
  Operands operands = random_operands(random, Codes::without_nan, 120, 130);
  operands.first[5][77] = 0xFF;
  operands.second[9][3] = 0x7F;
  const Product product = emulated(operands);
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 16; ++column) EXPECT_EQ(std::isnan(product.d[row][column]), row == 5 || column == 9);
}

TEST(EmulatorMfma, ByteParametersSelectTheScale) {
  std::mt19937_64 random(2);
  const Operands operands = random_operands(random, Codes::without_nan, 110, 140);
  const auto correct = [&](const Product& product) {
    return wrong_elements(operands, product, one_double_rounding) == 0;
  };
  EXPECT_TRUE(correct(emulated<1, 0>(operands)));
  EXPECT_TRUE(correct(emulated<0, 1>(operands)));
  EXPECT_TRUE(correct(emulated<2, 3>(operands)));
  EXPECT_TRUE(correct(emulated<3, 2>(operands)));
}

TEST(EmulatorMfma, AnotherMapIsNoticedWithRandomScales) {
  std::mt19937_64 random(3);
  const Operands equal = random_operands(random, Codes::without_nan, 127, 127);
  const Operands different = random_operands(random, Codes::without_nan, 118, 136);
  set_contiguous_k_for_testing(true);
  // Both operands are permuted alike, so with equal scales nobody would know.
  EXPECT_EQ(wrong_elements(equal, emulated(equal), 0), 0);
  EXPECT_GT(wrong_elements(different, emulated(different), one_double_rounding), 200);
  set_contiguous_k_for_testing(false);
  EXPECT_EQ(wrong_elements(different, emulated(different), one_double_rounding), 0);
}

TEST(EmulatorMfma, ResultDoesNotDependOnTheOrder) {
  constexpr int groups = 5;
  constexpr int threads = 256;
  std::mt19937_64 random(6);
  Registered<std::uint32_t> codes(static_cast<std::size_t>(groups) * threads * 16);
  for (std::uint32_t& word : codes.data) word = static_cast<std::uint32_t>(random()) & 0x77777777;  // no NaN
  Registered<float> results(groups * 256);
  const auto kernel = [&] {
    MILLET_LDS(Vec4f, threads, partial);
    const int t = gfx950::thread_id();
    const Buffer buffer = gfx950::make_buffer(codes.get(), static_cast<Index>(codes.data.size() * 4));
    const auto at = static_cast<std::uint32_t>((gfx950::group_id_x() * threads + t) * 64);
    Vec8u first, second;
    for (unsigned half = 0; half < 2; ++half) {
      const Vec4u x = gfx950::load_b128<Cache::streaming>(buffer, at + 16 * half);
      const Vec4u y = gfx950::load_b128(buffer, at, 32 + 16 * half);
      for (unsigned i = 0; i < 4; ++i) first[4 * half + i] = x[i], second[4 * half + i] = y[i];
    }
    Vec4f sum{};
    for (std::uint32_t i = 0; i < 3; ++i)
      sum = gfx950::mfma_scale_16x16x128<0, 1>(first, 120 + i, second, (130U + static_cast<unsigned>(t) % 7) << 8, sum);
    partial.write(t, sum);
    gfx950::barrier();
    if (t >= 64) return;
    for (int wave = 1; wave < threads / 64; ++wave) sum += partial.read(t + 64 * wave);
    for (int i = 0; i < 4; ++i) gfx950::store(results.get() + gfx950::group_id_x() * 256 + t * 4 + i, sum[i]);
  };
  ASSERT_EQ(fault_of({groups, 1, threads}, kernel, 1), "");
  EXPECT_EQ(last_counts().wave_mfma, 3U * groups * threads / 64);
  EXPECT_EQ(last_counts().bytes_loaded_streaming, 32U * groups * threads);
  const std::vector<float> expected = results.data;
  for (std::uint64_t seed = 2; seed < 10; ++seed) {
    std::fill(results.data.begin(), results.data.end(), -1.0F);
    ASSERT_EQ(fault_of({groups, 1, threads}, kernel, seed), "");
    EXPECT_EQ(results.data, expected);
  }
}

}  // namespace
}  // namespace millet::gfx950_emulated
