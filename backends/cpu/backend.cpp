// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "millet/backends/cpu/kernels/gemm_strip.hpp"
#include "millet/backends/cpu/kernels/gemv_strip.hpp"
#include "millet/backends/cpu/kernels/grouped_gemm_strip.hpp"
#include "millet/dispatch/host_backend.hpp"

namespace millet::cpu {

extern const std::string_view tuned_csv;

namespace {

Expected<void> available() {
  auto chosen = chosen_instruction_set();
  if (!chosen) return fail(std::move(chosen));
  return {};
}

Expected<DeviceInfo> device_info() {
  const InstructionSet& set = *chosen_instruction_set().value();
  DeviceInfo info =
      host_device_info(thread_count(), fmt::format("{} kernels, {}, subnormals {}", set.name, threads_name(),
                                                   subnormals_are_fast() ? "as they are" : "by the exact route"));
  info.architecture = set.architecture;
  return info;
}

void on_each_thread(const std::function<void(Index thread)>& work) {
  share_out(thread_count(), [&](Index first, Index last) {
    for (Index thread = first; thread < last; ++thread) work(thread);
  });
}

Expected<Ceilings> measure_ceilings(double seconds) {
  return measure_host_ceilings(seconds, thread_count(), on_each_thread);
}

// Best first: prepared weights before row-major ones.
constexpr std::array gemm_kernels{describe<GemvStrip<StripWeights>>(), describe<GemmStrip<StripWeights>>(),
                                  describe<GemvStrip<RowMajorWeights>>(), describe<GemmStrip<RowMajorWeights>>()};
constexpr std::array grouped_kernels{describe<GroupedGemmStrip<StripWeights>>(),
                                     describe<GroupedGemmStrip<RowMajorWeights>>()};

}  // namespace

Backend backend() noexcept {
  Backend b = make_host_backend();
  b.name = "cpu";
  b.description = "hand-written SIMD for x86-64, vectors of the compiler elsewhere";
  b.available = available;
  b.device_info = device_info;
  b.measure_ceilings = measure_ceilings;
  b.on_each_thread = on_each_thread;
  b.gemm_kernels = gemm_kernels;
  b.grouped_kernels = grouped_kernels;
  b.tuned_table = tuned_csv;
  return b;
}

}  // namespace millet::cpu
