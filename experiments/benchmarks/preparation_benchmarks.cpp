// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <span>
#include <vector>

#include "benchmarks/stop.hpp"
#include "millet/backends/registry.hpp"
#include "millet/dispatch/kernel_instance.hpp"
#include "millet/numeric/e4m3.hpp"
#include "millet/quantize/quantize_mx.hpp"
#include "operands/generate.hpp"

namespace millet {
namespace {

constexpr Index n = 1536;  // gate_up of one rank of four
constexpr Index k = 6144;

// Decoding: a table of 256 floats against arithmetic on the fields, which vectorizes.

template <float (*decode)(E4M3)>
void decode_e4m3(benchmark::State& state) {
  std::vector<E4M3> codes(std::size_t{1} << 16);  // with the result, in the second-level cache
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i].bits = static_cast<std::uint8_t>(i * 0x9E3779B1U >> 24);
  std::vector<float> values(codes.size());
  for ([[maybe_unused]] auto iteration : state) {
    for (std::size_t i = 0; i < codes.size(); ++i) values[i] = decode(codes[i]);
    benchmark::DoNotOptimize(values.data());
    benchmark::ClobberMemory();
  }
  const auto decoded = state.iterations() * std::ssize(codes);
  state.SetItemsProcessed(decoded);
  state.SetBytesProcessed(decoded * 5);
}

float by_table(E4M3 code) { return e4m3_table.value[code.bits]; }
float by_arithmetic(E4M3 code) { return code.value(); }
BENCHMARK(decode_e4m3<by_table>)->Name("decode_e4m3/table");
BENCHMARK(decode_e4m3<by_arithmetic>)->Name("decode_e4m3/arithmetic");

void quantize(benchmark::State& state, ScaleMode mode) {
  const Index rows = state.range(0);
  const std::vector<float> x = random_activations(rows, k, 1);
  for ([[maybe_unused]] auto iteration : state) {
    auto quantized = quantize_mx(x, rows, k, mode);
    if (!quantized) return stop(state, quantized.error().message);
    benchmark::DoNotOptimize(quantized->values().data());
  }
  const auto elements = state.iterations() * rows * k;
  state.SetItemsProcessed(elements);
  state.SetBytesProcessed(elements * 4 + elements * 33 / 32);
}
BENCHMARK_CAPTURE(quantize, rceil, ScaleMode::rceil)->ArgName("rows")->Arg(1)->Arg(64);
BENCHMARK_CAPTURE(quantize, even, ScaleMode::even)->ArgName("rows")->Arg(64);

/// Packing one matrix into the layout of a kernel of the portable backend.
void pack(benchmark::State& state, std::string_view kernel_id) {
  const LayoutDescriptor* layout = nullptr;
  if (const auto portable = find_backend("portable")) {
    for (const GemmKernel& kernel : (*portable)->gemm_kernels) {
      if (kernel.id == kernel_id) layout = kernel.weight_layout;
    }
  }
  if (layout == nullptr) return stop(state, "this build has no such kernel");
  const MxMatrix<> b = random_weights(n, k, ScaleMode::rceil, 1);
  for ([[maybe_unused]] auto iteration : state) {
    const PackedWeights packed = pack_weights(*layout, {&b, 1});
    benchmark::DoNotOptimize(packed.values.data());
  }
  state.SetLabel(layout->name());
  state.SetItemsProcessed(state.iterations() * n * k);
  state.SetBytesProcessed(state.iterations() * n * k * 33 / 32 * 2);
}
BENCHMARK_CAPTURE(pack, strips, "portable.gemv_range")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(pack, row_major, "portable.gemv_range_row_major")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace millet
