// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

#include "millet/error/expected.hpp"
#include "millet/layout/mapping.hpp"

// Runs a kernel that is written for one lane of a wave on the host, every lane of a work-group as a fiber, and faults
// on what the device would leave undefined: memory outside of every allocation, LDS races, LDS that nobody wrote,
// divergent wave operations, a barrier that not all lanes reach.
//
// Not modelled: time, the caches, the register file, work-groups that run at once (they run one after the other, so a
// group that waits for a later one never ends), and races in global memory.

namespace millet::gfx950 {
enum class Cache;  // backends/gfx950/instructions.hpp, which includes this file
}

namespace millet::gfx950_emulated {

/// The work-groups of a launch.
struct LaunchShape {
  std::uint32_t groups_x, groups_y;
  int threads;  ///< lanes of a work-group: a multiple of 64, at most 1024
};

/// What a launch did, summed over its work-groups.
struct Counts {
  std::uint64_t wave_mfma;               ///< MFMA instructions, one a wave
  std::uint64_t lane_loads;              ///< loads from global memory, one a lane, those wholly out of range too
  std::uint64_t lane_stores;             ///< the same of stores
  std::uint64_t lds_reads, lds_writes;   ///< elements, by lane
  std::uint64_t barriers;                ///< one a work-group
  std::uint64_t bytes_loaded_streaming;  ///< with Cache::streaming; what lies in range only
  std::uint64_t bytes_loaded_normal;     ///< with Cache::normal, and by address
  std::uint64_t bytes_loaded_device;     ///< with Cache::device
  std::uint64_t bytes_stored;            ///< what lies in range only
};

/// Runs all work-groups one after the other on the calling thread. The order of the groups, that of the waves that can
/// go on and the lane that a wave starts with all follow from `order_seed`; a correct kernel's result does not. Errors:
/// invalid_argument for a shape that no device runs, or a call from inside a kernel; device_error for the first fault,
/// naming the cause, the work-group (x, y), the wave and the lane. Work-groups after a fault do not run. A lane that
/// makes 2^24 accesses to memory without reaching a wave operation, a barrier or its end is a fault too; an endless
/// loop that touches no memory is not noticed.
[[nodiscard]] Expected<void> run_grid(const LaunchShape& shape, const std::function<void()>& lane_body,
                                      std::uint64_t order_seed);

/// Of the calling thread's last run_grid, up to its fault if it had one.
[[nodiscard]] const Counts& last_counts() noexcept;

/// Lets kernels touch [memory, memory + bytes). Errors: invalid_argument where it is null, empty or overlaps another.
/// May be called from any thread.
Expected<void> register_memory(const void* memory, Index bytes);
/// Takes back what register_memory gave. Errors: invalid_argument for an address that is not registered.
Expected<void> unregister_memory(const void* memory);

/// For tests of the tests: lanes hold 32 contiguous k of an MFMA operand, which is another instruction's layout.
void set_contiguous_k_for_testing(bool contiguous) noexcept;

// What follows is for backends/gfx950_emulated/instructions.hpp. All of it throws std::logic_error outside of a kernel,
// and an exception that run_grid catches on a fault.

/// Where a kernel calls an operation of the whole wave; lanes must meet at the same place.
using Site = std::source_location;

/// Which lane is running.
struct LaneIds {
  int thread;  ///< in its work-group
  int group_x, group_y;
};
[[nodiscard]] LaneIds current_lane();

/// Ends the launch with a device_error.
[[noreturn]] void fault(const std::string& what);

/// Counts a load of the running lane, and faults unless all of its bytes lie in one allocation.
/// \param bytes  in range; 0 touches nothing
void check_load(const void* from, std::size_t bytes, gfx950::Cache cache);
void check_store(const void* to, std::size_t bytes);

/// The operations of a wave: each lane gives its operands, waits for the other 63, and gets its part of the result.
[[nodiscard]] std::uint64_t wave_ballot(bool x, Site site);
[[nodiscard]] std::uint32_t wave_uniform(std::uint32_t x, Site site);
/// \param source  the lane whose x this lane gets
[[nodiscard]] std::uint32_t wave_shuffle(std::uint32_t x, int source, Site site);
/// \param first, second  8 dwords each
/// \param d              4 elements; in: c; out: the result
void wave_mfma(const std::uint32_t* first, std::uint32_t first_scale, int first_byte, const std::uint32_t* second,
               std::uint32_t second_scale, int second_byte, float* d, Site site);
void group_barrier(Site site);

/// An array in a work-group's LDS.
struct LdsBlock {
  std::uint32_t offset;      ///< bytes from the start of the group's LDS
  std::uint32_t first_cell;  ///< of the records of who touched an element
  int count;                 ///< elements
};
/// The running lane's next declaration. Faults beyond 160 KiB, and where lanes declare different things.
[[nodiscard]] LdsBlock declare_lds(std::size_t element_bytes, std::size_t alignment, int count, Site site);
/// The address of element i. Faults out of bounds, on a race, and where nobody wrote it.
[[nodiscard]] const std::byte* lds_for_read(const LdsBlock& block, int i, std::size_t element_bytes);
/// The address of element i. Faults out of bounds and on a race.
[[nodiscard]] std::byte* lds_for_write(const LdsBlock& block, int i, std::size_t element_bytes);

}  // namespace millet::gfx950_emulated
