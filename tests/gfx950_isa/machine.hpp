// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "millet/error/expected.hpp"
#include "millet/layout/mapping.hpp"
#include "program.hpp"

// Executes decoded gfx950 code on the host, wave by wave, and faults on what the device would leave to chance:
//
// - A register that is read or written while a load to it is outstanding, before an s_waitcnt has retired the load.
//   Vector memory operations retire in order, LDS operations too, scalar loads only all together.
//   A vector load may have the destination of an earlier one.
// - A value that nothing has defined, where it matters: in an address, a condition, stored data, an operand of an MFMA.
//   Arithmetic passes it on, lane by lane, since compiled code computes halves of registers that it never uses.
// - Memory outside of every allocation, LDS out of bounds, LDS races, LDS that nobody wrote, LDS writes that a barrier
//   does not wait for.
// - Memory that one work-group stores and another loads in the same launch, unless both go past the L2 of a die (sc1).
//
// Stores take effect when they are waited for, or at the wave's end. Not modelled: time, caches, and the wait states
// between instructions that the hardware does not interlock (s_nop).

namespace millet::gfx950_isa {

/// What a launch executed. Instructions are those of a wave.
struct Counts {
  std::array<std::uint64_t, instruction_classes> instructions{};  ///< by InstructionClass
  std::uint64_t waves = 0;
  /// Of the wave that has the most: a vector load's round is one more than the last round of which a wait has retired a
  /// load before.
  int load_rounds = 0;
  int scalar_rounds = 0;              ///< the same of scalar loads
  std::uint64_t bytes_streamed = 0;   ///< by loads with nt, as far as they lie in range
  std::uint64_t streaming_waves = 0;  ///< waves that have loads with nt
  /// Bytes of loads with nt that are outstanding when a wave with any first waits for a vector load; of all waves.
  std::uint64_t in_flight_at_first_wait = 0;
  std::uint64_t most_in_flight = 0;  ///< of one wave at any time
  /// Instructions of a wave before its first load with nt, of all waves that have one.
  std::uint64_t instructions_before_streaming = 0;

  [[nodiscard]] std::uint64_t total() const noexcept;
  [[nodiscard]] std::uint64_t of(InstructionClass x) const noexcept {
    return instructions[static_cast<std::size_t>(x)];
  }
};

struct Dispatch {
  const Program* program;
  const Kernel* kernel;
  std::uint32_t groups_x, groups_y;
  int threads;
  const void* arguments;
  std::size_t argument_bytes;
};

/// Runs all work-groups on the calling thread, a few at a time. The order of groups and waves, how long a wave runs
/// before another does, and the last bit of approximate instructions follow from `seed`; a correct kernel's result does
/// not. Errors: invalid_argument for a launch that does not fit the kernel; device_error for the first fault, naming
/// the instruction, the work-group and the wave.
[[nodiscard]] Expected<void> run(const Dispatch& launch, std::uint64_t seed);

/// Of the calling thread's last run, up to its fault if it had one.
[[nodiscard]] const Counts& last_counts() noexcept;

/// Lets kernels touch [memory, memory + bytes). Not for several threads.
void register_memory(const void* memory, Index bytes);
void unregister_memory(const void* memory);

}  // namespace millet::gfx950_isa
