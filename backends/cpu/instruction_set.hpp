// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include "millet/backends/cpu/tiles/strip_arguments.hpp"
#include "millet/error/expected.hpp"

namespace millet::cpu {

/// An instruction set that this build has kernels for.
struct InstructionSet {
  std::string_view name;          ///< as MILLET_CPU_ISA has it
  std::string_view architecture;  ///< as DeviceInfo has it
  bool (*runs_here)() noexcept;
  const StripKernels& (*kernels)() noexcept;
};

/// Best first; the last, "baseline", runs everywhere.
[[nodiscard]] std::span<const InstructionSet> instruction_sets() noexcept;

/// The one called `name`, or if that is empty the best that runs here.
/// Errors: invalid_argument for another name, unavailable for one that this machine lacks; each with what there is.
[[nodiscard]] Expected<const InstructionSet*> choose_instruction_set(std::string_view name);

/// By the environment variable MILLET_CPU_ISA; asked once. Errors: those of choose_instruction_set.
[[nodiscard]] Expected<const InstructionSet*> chosen_instruction_set();

}  // namespace millet::cpu
