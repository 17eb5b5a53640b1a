// SPDX-License-Identifier: Apache-2.0
// The program `millet` with other backends than those of the build, so that tests meet what no real one offers on
// demand:
//   plain   correct loops; declines n that are not a multiple of 8; sleeps MILLET_TEST_SLEEP_MS in each call, and 2 ms
//           in each of the dense policy MILLET_TEST_SLOW_POLICY; fails with MILLET_TEST_FAIL
//   faulty  the same loops, but one element of C is wrong
//   stray   reads the weights of an expert that no token goes to
//   elsewhere  the correct loops on a device that is not the host, as far as anybody can tell
//   absent  cannot run here
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "millet/backends/registry.hpp"
#include "millet/device/host_info.hpp"
#include "millet/numeric/bf16.hpp"
#include "subcommands.hpp"

namespace millet {

namespace {

void store(const Output& c, OutputType type, Index row, Index col, float value) {
  const Index at = row * c.row_stride + col;
  if (type == OutputType::bf16) {
    static_cast<BF16*>(c.values)[at] = BF16::round(value);
  } else {
    static_cast<float*>(c.values)[at] = value;
  }
}

float dot(const MxMatrixView<>& a, Index row_of_a, const MxMatrixView<>& b, Index row_of_b) {
  double sum = 0;  // rounded once, so that long rows are correct too
  for (Index k = 0; k < b.cols(); ++k) sum += static_cast<double>(a(row_of_a, k)) * static_cast<double>(b(row_of_b, k));
  return static_cast<float>(sum);
}

MxMatrixView<> view_of(const Activations& a, Index rows, Index k) {
  return {static_cast<const E4M3*>(a.values), a.scales, RowMajor(rows, k, a.value_stride),
          RowMajorScales{RowMajor(rows, MxBlock::count(k), a.scale_stride)}};
}

Expected<void> sleep_or_fail_if_asked() {
  if (const char* text = std::getenv("MILLET_TEST_SLEEP_MS"); text != nullptr) {
    std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(text)));
  }
  if (std::getenv("MILLET_TEST_FAIL") != nullptr)
    return fail(ErrorCode::unsupported, "the test asked for this failure");
  return {};
}

void sleep_if_slow(int policy) {
  const char* const slow = std::getenv("MILLET_TEST_SLOW_POLICY");
  if (slow != nullptr && std::atoi(slow) == policy) std::this_thread::sleep_for(std::chrono::milliseconds(2));
}

enum class Fault { none, wrong_element, stray_expert };

template <Fault fault>
struct GemmLoops {
  static constexpr std::string_view id = fault == Fault::none ? "plain.gemm_loops" : "faulty.gemm_loops";
  static constexpr Operation operation = Operation::gemm;
  static constexpr Determinism determinism = Determinism::batch_invariant;
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 1;
  using Problem = GemmProblem;
  using Weights = RowMajorWeights;
  struct Policy {
    int number;
  };
  static constexpr Policy policies[] = {{0}, {1}};
  static constexpr Envelope envelope{.n_multiple = fault == Fault::none ? 8 : 1};

  static std::string name(const Policy& policy) { return "policy" + std::to_string(policy.number); }
  static constexpr Verdict supports(const Problem& p) noexcept { return envelope.contains(p); }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }

  static Expected<void> run(const Problem& p, const GemmOperands<Weights>& x, const Policy& policy, Workspace, Stream) {
    if (auto asked = sleep_or_fail_if_asked(); !asked) return asked;
    sleep_if_slow(policy.number);
    const MxMatrixView<> a = view_of(x.a, p.m, p.k);
    for (Index row = 0; row < p.m; ++row) {
      for (Index col = 0; col < p.n; ++col) store(x.c, p.output, row, col, dot(a, row, x.b, col));
    }
    if (fault != Fault::none) store(x.c, p.output, p.m - 1, p.n - 1, 12345.0F);
    return {};
  }
};

template <Fault fault>
struct GroupedLoops {
  static constexpr std::string_view id = fault == Fault::none ? "plain.grouped_gemm_loops" : "stray.grouped_gemm_loops";
  static constexpr Operation operation = Operation::grouped_gemm;
  static constexpr Determinism determinism = Determinism::batch_invariant;
  static constexpr Accumulator accumulator = f32_accumulator;
  static constexpr Index weight_alignment = 1;
  using Problem = GroupedProblem;
  using Weights = RowMajorWeights;
  struct Policy {};
  static constexpr Policy policies[] = {{}};

  static std::string name(const Policy&) { return "default"; }
  static constexpr Verdict supports(const Problem& p) noexcept { return Envelope{}.contains(p); }
  static constexpr Index workspace_bytes(const Problem&, const Policy&) noexcept { return 0; }

  static Expected<void> run(const Problem& p, const GroupedOperands<Weights>& x, const Policy&, Workspace, Stream) {
    if (auto asked = sleep_or_fail_if_asked(); !asked) return asked;
    const MxMatrixView<> a = view_of(x.a, p.a_rows(), p.k);
    for (Index entry = 0; entry < *x.routing.num_tokens_post_padded; ++entry) {
      const Index slot = x.routing.sorted_token_ids[entry];
      Index expert = x.routing.expert_ids[entry / p.block_m];
      if (slot < 0 || slot >= p.slots || expert < 0 || expert >= p.experts) continue;
      // The last slot's neighbour: with the used experts alone in memory, one that holds NaN.
      if (fault == Fault::stray_expert && slot + 1 == p.slots) expert = p.experts - 1;
      MxMatrixView<> b = x.b;
      b.values += expert * x.expert_value_stride;
      b.scales += expert * x.expert_scale_stride;
      const float weight = p.weighted ? x.routing.slot_weights[slot] : 1.0F;
      for (Index col = 0; col < p.n; ++col) store(x.c, p.output, slot, col, weight * dot(a, slot / p.a_div, b, col));
    }
    return {};
  }
};

constexpr std::array plain_gemm{describe<GemmLoops<Fault::none>>()};
constexpr std::array faulty_gemm{describe<GemmLoops<Fault::wrong_element>>()};
constexpr std::array plain_grouped{describe<GroupedLoops<Fault::none>>()};
constexpr std::array stray_grouped{describe<GroupedLoops<Fault::stray_expert>>()};

Backend loops(std::string_view name, std::span<const GemmKernel> gemm, std::span<const GroupedKernel> grouped) {
  Backend b{};
  b.name = name;
  b.description = "loops for tests of the driver";
  b.available = []() -> Expected<void> { return {}; };
  b.device_info = []() -> Expected<DeviceInfo> { return host_device_info(1, "test loops"); };
  b.allocate = [](Index bytes) -> Expected<DeviceBuffer> {
    const auto size = static_cast<std::size_t>(round_up_to_tile(std::max<Index>(bytes, 1), 256));
    void* const data = std::aligned_alloc(256, size);
    if (data == nullptr) return fail(ErrorCode::unavailable, "loops: no memory for {} bytes", bytes);
    std::memset(data, 0, size);
    return DeviceBuffer(data, bytes, [](void* p) noexcept { std::free(p); });
  };
  const auto copy = [](void* to, const void* from, Index bytes, Stream) -> Expected<void> {
    if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
    return {};
  };
  b.copy_to_device = copy;
  b.copy_to_host = copy;
  b.create_stream = []() -> Expected<Stream> { return Stream{}; };
  b.destroy_stream = [](Stream) noexcept {};
  b.synchronize = [](Stream) -> Expected<void> { return {}; };
  b.prepare_batch = [](std::vector<Launch> launches, Replay, Stream stream) -> Expected<TimedBatch> {
    return TimedBatch([launches = std::move(launches), stream]() -> Expected<double> {
      const auto start = std::chrono::steady_clock::now();
      for (const Launch& launch : launches) {
        if (auto done = launch(stream); !done) return fail(std::move(done));
      }
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    });
  };
  b.launches_per_sample = 1;
  // Invented, and generous: these tests are not about the roof. They must not take the time that measuring takes.
  b.measure_ceilings = [](double) -> Expected<Ceilings> { return Ceilings{1e12, 1e13, {}, 1, "invented for a test"}; };
  b.gemm_kernels = gemm;
  b.grouped_kernels = grouped;
  return b;
}

}  // namespace

std::span<const Backend> registered_backends() noexcept {
  static const std::array backends = [] {
    Backend absent = loops("absent", plain_gemm, plain_grouped);
    absent.available = []() -> Expected<void> {
      return fail(ErrorCode::unavailable, "no such device on this machine");
    };
    Backend elsewhere = loops("elsewhere", plain_gemm, {});
    elsewhere.device_info = []() -> Expected<DeviceInfo> {
      DeviceInfo device = host_device_info(7, "test device");
      device.name = "a device";
      device.architecture = "test_1a";
      return device;
    };
    Backend timeless = loops("timeless", plain_gemm, {});
    timeless.has_times = false;
    timeless.measure_ceilings = [](double) -> Expected<Ceilings> {
      return fail(ErrorCode::unsupported, "timeless: nobody may ask for this");
    };
    return std::array{loops("plain", plain_gemm, plain_grouped),
                      loops("faulty", faulty_gemm, {}),
                      loops("stray", {}, stray_grouped),
                      elsewhere,
                      timeless,
                      absent};
  }();
  return backends;
}

}  // namespace millet

int main(int argc, char** argv) { return millet::run_command_line(argc, argv); }
