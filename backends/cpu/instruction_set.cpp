// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/cpu/instruction_set.hpp"

#include <cstdlib>
#include <string>

#include "millet/device/host_info.hpp"

namespace millet::cpu {

namespace {

constexpr InstructionSet all[] = {
#if MILLET_X86_TIERS
#if defined(MILLET_CPU_HAS_AVX512)
    {"avx512_vbmi", MILLET_HOST_ARCHITECTURE "-v4",
     []() noexcept { return host_isa() == HostIsa::avx512 && __builtin_cpu_supports("avx512vbmi") != 0; },
     avx512_vbmi_kernels},
    {"avx512", MILLET_HOST_ARCHITECTURE "-v4", []() noexcept { return host_isa() == HostIsa::avx512; }, avx512_kernels},
#endif
    {"avx2", MILLET_HOST_ARCHITECTURE "-v3", []() noexcept { return host_isa() >= HostIsa::avx2; }, avx2_kernels},
#endif
    {"baseline", MILLET_HOST_ARCHITECTURE, []() noexcept { return true; }, baseline_kernels},
};

std::string names(bool those_that_run_here) {
  std::string text;
  for (const InstructionSet& set : all) {
    if (those_that_run_here && !set.runs_here()) continue;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", set.name);
  }
  return text;
}

}  // namespace

std::span<const InstructionSet> instruction_sets() noexcept { return all; }

Expected<const InstructionSet*> choose_instruction_set(std::string_view name) {
  for (const InstructionSet& set : all) {
    if (name.empty() && set.runs_here()) return &set;
    if (name != set.name) continue;
    if (set.runs_here()) return &set;
    return fail(ErrorCode::unavailable, "cpu: MILLET_CPU_ISA is '{}', which this machine lacks; it runs: {}", name,
                names(true));
  }
  return fail(ErrorCode::invalid_argument, "cpu: MILLET_CPU_ISA is '{}'; this build knows: {}", name, names(false));
}

Expected<const InstructionSet*> chosen_instruction_set() {
  static const Expected<const InstructionSet*> chosen = [] {
    const char* const name = std::getenv("MILLET_CPU_ISA");
    return choose_instruction_set(name == nullptr ? "" : name);
  }();
  return chosen;
}

}  // namespace millet::cpu
