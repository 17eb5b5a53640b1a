// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/gfx950/tiles/hip_module.hpp"

#include <array>
#include <atomic>
#include <mutex>
#include <vector>

// Defined by millet_add_code_object().
extern "C" {
extern const unsigned char millet_code_object_gemm_mfma_scale[];
extern const unsigned char millet_code_object_grouped_gemm_mfma_scale[];
extern const unsigned char millet_code_object_gemv_packed_fma[];
extern const unsigned char millet_code_object_grouped_gemv_packed_fma[];
extern const unsigned char millet_code_object_ceilings[];
}

namespace millet::gfx950 {
namespace {

/// In the order of CodeObject. HIP reads the size from the ELF header.
constexpr std::array code_objects{&millet_code_object_gemm_mfma_scale[0],
                                  &millet_code_object_grouped_gemm_mfma_scale[0],
                                  &millet_code_object_gemv_packed_fma[0],
                                  &millet_code_object_grouped_gemv_packed_fma[0], &millet_code_object_ceilings[0]};
static_assert(code_objects.size() == std::size(code_object_names));

/// Devices by their number in this process.
constexpr int max_devices = 64;

/// The kernels on one device. Modules are never unloaded: when the program ends, HIP may already have shut down.
class LoadedKernels {
 public:
  [[nodiscard]] bool ready() const noexcept { return ready_.load(std::memory_order_acquire); }

  /// Only when ready.
  [[nodiscard]] hipFunction_t function(int kernel) const noexcept {
    return functions_[static_cast<std::size_t>(kernel)];
  }

  [[nodiscard]] Expected<void> load() {
    const std::lock_guard lock(loading_);
    if (ready()) return {};
    auto loaded = load_now();
    if (loaded) ready_.store(true, std::memory_order_release);
    return loaded;
  }

 private:
  Expected<void> load_now() {
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      if (modules_[i] != nullptr) continue;  // from an attempt that failed later
      const hipError_t error = hipModuleLoadData(&modules_[i], code_objects[i]);
      if (error != hipSuccess) {
        modules_[i] = nullptr;
        return checked(fmt::format("gfx950: loading code object {}", code_object_names[i]), error);
      }
    }
    std::vector<hipFunction_t> functions;
    functions.reserve(compiled_kernels().size());
    for (const CompiledKernel& kernel : compiled_kernels()) {
      hipFunction_t function = nullptr;
      const std::string symbol(kernel.symbol);  // zero-terminated
      const auto module = modules_[static_cast<std::size_t>(kernel.code_object)];
      if (const hipError_t error = hipModuleGetFunction(&function, module, symbol.c_str()); error != hipSuccess) {
        return checked(fmt::format("gfx950: kernel {}", symbol), error);
      }
      functions.push_back(function);
    }
    functions_ = std::move(functions);
    return {};
  }

  std::mutex loading_;
  std::atomic<bool> ready_{false};
  std::array<hipModule_t, code_objects.size()> modules_{};
  std::vector<hipFunction_t> functions_;  ///< in the order of compiled_kernels()
};

/// Those of the calling thread's current device.
Expected<LoadedKernels*> kernels_of_current_device() {
  static std::array<LoadedKernels, max_devices> kernels;
  int device = 0;
  if (auto got = checked("gfx950: current device", hipGetDevice(&device)); !got) return fail(std::move(got));
  if (device < 0 || device >= max_devices) {
    return fail(ErrorCode::unsupported, "gfx950: device {} is outside [0, {})", device, max_devices);
  }
  return &kernels[static_cast<std::size_t>(device)];
}

}  // namespace

std::string hip_error_text(hipError_t error) {
  const std::string_view text = hipGetErrorString(error);
  const std::string_view name = hipGetErrorName(error);
  return text == name ? std::string(name) : fmt::format("{} ({})", text, name);  // HIP 5 has names only
}

Expected<void> checked(std::string_view what, hipError_t error) {
  if (error == hipSuccess) return {};
  static_cast<void>(hipGetLastError());  // or whoever asks next is told of it
  return fail(ErrorCode::device_error, "{}: {}", what, hip_error_text(error));
}

Expected<void> load_kernels() {
  auto kernels = kernels_of_current_device();
  if (!kernels) return fail(std::move(kernels));
  return (*kernels)->ready() ? Expected<void>{} : (*kernels)->load();
}

Expected<void> HipTarget::launch(const KernelLaunch& x, Stream stream) {
  auto kernels = kernels_of_current_device();
  if (!kernels) return fail(std::move(kernels));
  if (!(*kernels)->ready()) {
    if (auto loaded = (*kernels)->load(); !loaded) return loaded;
  }
  const CompiledKernel& kernel = compiled_kernels()[static_cast<std::size_t>(x.kernel)];
  std::size_t bytes = x.argument_bytes;
  // HIP copies the arguments before it returns, so that they may be on the caller's stack.
  void* parameters[] = {HIP_LAUNCH_PARAM_BUFFER_POINTER, const_cast<void*>(x.arguments), HIP_LAUNCH_PARAM_BUFFER_SIZE,
                        &bytes, HIP_LAUNCH_PARAM_END};
  const hipError_t error = hipModuleLaunchKernel((*kernels)->function(x.kernel), x.groups_x, x.groups_y, 1,
                                                 static_cast<unsigned>(kernel.threads), 1, 1, 0 /* LDS is static */,
                                                 static_cast<hipStream_t>(stream.handle), nullptr, parameters);
  if (error == hipSuccess) return {};
  return checked(fmt::format("gfx950: launching {} with {} x {} groups", kernel.symbol, x.groups_x, x.groups_y), error);
}

}  // namespace millet::gfx950
