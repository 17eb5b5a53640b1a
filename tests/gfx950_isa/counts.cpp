// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <iterator>

#include "millet/dispatch/kernel_instance.hpp"
#include "target.hpp"

// gfx950_counts: what the compiled dense kernel executes for the shapes of a model's layers, with the policy that the
// cost model picks for 256 compute units. gfx950_counts all: with every policy.

namespace millet::gfx950_isa {
namespace {

struct Shape {
  const char* name;
  Index n, k;
};
constexpr Shape shapes[] = {
    {"qkv", 2304, 6144}, {"o_proj", 6144, 2048}, {"gate_up", 1536, 6144}, {"mlp_down", 6144, 1536}};

void print_row(const Shape& shape, Index m, ActivationFormat format, const GemmKernel& kernel, int policy) {
  const GemmProblem p{.m = m, .n = shape.n, .k = shape.k, .activation = format};
  HostActivations a;
  a.format = format;
  a.mx = MxMatrix<>(RowMajor(m, shape.k), RowMajorScales(RowMajor(m, shape.k / MxBlock::k)));
  a.bf16.resize(static_cast<std::size_t>(m * shape.k));
  const MxMatrix<> b(RowMajor(shape.n, shape.k), RowMajorScales(RowMajor(shape.n, shape.k / MxBlock::k)));
  const Backend isa = backend();
  const auto instance = KernelInstance<GemmProblem>::create(isa, kernel, policy, {p, &a, &b});
  const auto done =
      instance ? instance->run(Stream{}) : Expected<void>(fail(instance.error().code, "{}", instance.error().message));
  if (!done) {
    fmt::print("{} m={}: {}\n", shape.name, m, done.error().message);
    return;
  }
  const Counts& c = last_counts();
  const gfx950::CompiledKernel& compiled = gfx950::compiled_kernels()[static_cast<std::size_t>(last_kernel())];
  const auto registers = program(compiled.code_object)->find(compiled.symbol)->vector_registers;
  const auto waves = static_cast<double>(c.waves);
  const auto streaming = static_cast<double>(c.streaming_waves);
  const auto a_wave = [&](InstructionClass x) { return static_cast<double>(c.of(x)) / waves; };
  using enum InstructionClass;
  fmt::print(
      "{:<8} {:>2} {:<4} {:<38} {:>4} {:>5} {:>6.0f} {:>5.0f} {:>5.0f} {:>5.0f} {:>4.0f} {:>5.0f} {:>5.0f} {:>4.0f} "
      "{:>4.0f} {:>4.0f} {:>2} {:>2} {:>7.0f} {:>7.0f} {:>7} {:>9}\n",
      shape.name, m, to_string(format), kernel.policy_name(policy), registers, c.waves,
      static_cast<double>(c.total()) / waves, a_wave(valu), a_wave(mfma), a_wave(vector_load), a_wave(vector_store),
      a_wave(lds), a_wave(salu), a_wave(scalar_load), a_wave(wait), a_wave(control), c.load_rounds, c.scalar_rounds,
      static_cast<double>(c.instructions_before_streaming) / streaming,
      static_cast<double>(c.in_flight_at_first_wait) / streaming, c.most_in_flight, c.bytes_streamed);
}

int print_all(bool every_policy) {
  fmt::print(
      "Instructions are means over waves. before: instructions before the first nt load. first wait, most: bytes of "
      "nt\n"
      "loads of a wave outstanding at its first wait for a vector load, and at most. nt bytes: of the whole "
      "launch.\n\n");
  fmt::print(
      "{:<8} {:>2} {:<4} {:<38} {:>4} {:>5} {:>6} {:>5} {:>5} {:>5} {:>4} {:>5} {:>5} {:>4} {:>4} {:>4} {:>2} {:>2} "
      "{:>7} {:>7} {:>7} {:>9}\n",
      "shape", "m", "a", "policy", "regs", "waves", "total", "VALU", "MFMA", "load", "st", "LDS", "SALU", "SMEM",
      "wait", "ctl", "R", "SR", "before", "1stwait", "most", "nt bytes");
  const GemmKernel& kernel = backend().gemm_kernels.front();
  const auto device = backend().device_info();
  for (const ActivationFormat format : {ActivationFormat::mx, ActivationFormat::bf16}) {
    for (const Shape& shape : shapes) {
      for (const Index m : {1, 8, 16, 64}) {
        const GemmProblem p{.m = m, .n = shape.n, .k = shape.k, .activation = format};
        if (!kernel.supports(p)) continue;
        int best = 0;
        for (int policy = 0; policy < kernel.policy_count; ++policy) {
          if (every_policy) print_row(shape, m, format, kernel, policy);
          if (kernel.estimate_seconds(p, policy, *device) < kernel.estimate_seconds(p, best, *device)) best = policy;
        }
        if (!every_policy) print_row(shape, m, format, kernel, best);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace millet::gfx950_isa

int main(int argc, char** argv) { return millet::gfx950_isa::print_all(argc > 1 && std::strcmp(argv[1], "all") == 0); }
