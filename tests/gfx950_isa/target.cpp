// SPDX-License-Identifier: Apache-2.0
#include "target.hpp"

#include <array>
#include <cstdlib>
#include <cstring>
#include <map>

#include "millet/backends/gfx950/kernels/gemm_mfma_scale.hpp"
#include "millet/backends/gfx950/kernels/gemv_packed_fma.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemm_mfma_scale.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemv_packed_fma.hpp"
#include "millet/dispatch/host_backend.hpp"

namespace millet::gfx950_isa {

namespace {

int kernel_of_last_run = -1;

std::vector<bool>& launched() {
  static std::vector<bool> list(gfx950::compiled_kernels().size());
  return list;
}

Expected<void> available() { return {}; }

Expected<DeviceInfo> device_info() {
  DeviceInfo info;
  info.name = "interpreted gfx950 code";
  info.architecture = "gfx950_isa";
  info.compute_units = 256;
  info.last_level_cache_bytes = Index{256} << 20;
  info.runtime = "one host thread";
  return info;
}

void release(void* data) noexcept {
  unregister_memory(data);
  std::free(data);
}

Expected<DeviceBuffer> allocate(Index bytes) {
  const Index wanted = bytes < 1 ? 1 : bytes;
  const auto size = static_cast<std::size_t>(round_up_to_tile(wanted, 256));
  void* const data = std::aligned_alloc(256, size);
  if (data == nullptr) return fail(ErrorCode::unavailable, "gfx950_isa: no memory for a buffer of {} bytes", bytes);
  std::memset(data, 0, size);
  register_memory(data, wanted);  // kernels may touch what was asked for and not a byte more
  return DeviceBuffer(data, bytes, release);
}

Expected<TimedBatch> prepare_batch(std::vector<Launch>, Replay, Stream) {
  return fail(ErrorCode::unsupported, "gfx950_isa: no times");
}
Expected<Ceilings> measure_ceilings(double) { return fail(ErrorCode::unsupported, "gfx950_isa: no times"); }

template <class Layout>
using Gemm = gfx950::GemmMfmaScale<Layout, InterpreterTarget>;
template <class Layout>
using GroupedGemm = gfx950::GroupedGemmMfmaScale<Layout, InterpreterTarget>;

template <class Layout>
using Gemv = gfx950::GemvPackedFma<Layout, InterpreterTarget>;
template <class Layout>
using GroupedGemv = gfx950::GroupedGemvPackedFma<Layout, InterpreterTarget>;

constexpr std::array gemm_kernels{describe<Gemm<gfx950::StripWeights>>(), describe<Gemm<RowMajorWeights>>(),
                                  describe<Gemv<gfx950::StripWeights>>(), describe<Gemv<RowMajorWeights>>()};
constexpr std::array grouped_kernels{
    describe<GroupedGemm<gfx950::StripWeights>>(), describe<GroupedGemm<RowMajorWeights>>(),
    describe<GroupedGemv<gfx950::StripWeights>>(), describe<GroupedGemv<RowMajorWeights>>()};

}  // namespace

const Expected<Program>& program(gfx950::CodeObject code_object) {
  static std::map<gfx950::CodeObject, Expected<Program>> programs;
  const auto found = programs.find(code_object);
  if (found != programs.end()) return found->second;
  const std::string_view name = gfx950::code_object_names[static_cast<std::size_t>(code_object)];
  return programs.emplace(code_object, Program::read(MILLET_GFX950_CODE_OBJECT_FOLDER, name)).first->second;
}

int last_kernel() noexcept { return kernel_of_last_run; }
const std::vector<bool>& launched_kernels() { return launched(); }

Expected<void> run_kernel(const gfx950::KernelLaunch& x, std::uint64_t seed) {
  const auto kernels = gfx950::compiled_kernels();
  if (x.kernel < 0 || static_cast<std::size_t>(x.kernel) >= kernels.size())
    return fail(ErrorCode::unknown_name, "gfx950_isa: no kernel {} of {}", x.kernel, kernels.size());
  const gfx950::CompiledKernel& compiled = kernels[static_cast<std::size_t>(x.kernel)];
  const auto& code = program(compiled.code_object);
  if (!code) return fail(code.error().code, "{}", code.error().message);
  const Kernel* const kernel = code->find(compiled.symbol);
  if (kernel == nullptr) return fail(ErrorCode::unknown_name, "gfx950_isa: no {} in its code object", compiled.symbol);
  kernel_of_last_run = x.kernel;
  launched()[static_cast<std::size_t>(x.kernel)] = true;
  return run({&*code, kernel, x.groups_x, x.groups_y, compiled.threads, x.arguments, x.argument_bytes}, seed);
}

Backend backend() noexcept {
  Backend b = make_host_backend();
  b.name = "gfx950_isa";
  b.description = "the gfx950 kernels' compiled code, interpreted on the host: results, no times";
  b.available = available;
  b.device_info = device_info;
  b.allocate = allocate;
  b.prepare_batch = prepare_batch;
  b.measure_ceilings = measure_ceilings;
  b.has_times = false;
  b.gemm_kernels = gemm_kernels;
  b.grouped_kernels = grouped_kernels;
  return b;
}

}  // namespace millet::gfx950_isa
