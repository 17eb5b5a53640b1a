// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "conformance.hpp"
#include "golden/golden_vectors.hpp"
#include "millet/dispatch/kernel_instance.hpp"
#include "millet/reference/error_bound.hpp"
#include "operand_data.hpp"

namespace millet::conformance {

namespace {

using reference::Product;

constexpr std::array formats{ActivationFormat::mx, ActivationFormat::bf16, ActivationFormat::f32};
constexpr std::array outputs{OutputType::bf16, OutputType::f32};

std::vector<GemmProblem> problems() {
  std::vector<GemmProblem> list;
  // Every row count around the tiles in use, k with and without a tail at 64, 128 and 256, n at no tile's multiple.
  for (const Index m : {1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65})
    list.push_back({m, 37, 160});
  for (const Index k : {32, 64, 96, 128, 224, 256, 384, 576, 1024, 1536, 8192}) {
    list.push_back({1, 19, k});
    list.push_back({6, 19, k});
  }
  for (const Index n : {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 100, 129}) {
    list.push_back({2, n, 96});
    list.push_back({18, n, 96});
  }
  Random random(20);
  for (int i = 0; i < 20; ++i) {
    list.push_back({static_cast<Index>(1 + random() % 65), static_cast<Index>(1 + random() % 200),
                    static_cast<Index>(32 * (1 + random() % 32))});
  }
  return list;
}

/// Runs a kernel with a policy and returns C as f32. C is filled with NaN first, so an element that is not written
/// shows.
Expected<std::vector<float>> run(const Backend& backend, const GemmKernel& kernel, const HostGemm& host,
                                 int policy = 0) {
  auto instance = KernelInstance<GemmProblem>::create(backend, kernel, policy, host);
  if (!instance) return fail(std::move(instance));
  if (auto filled = instance->fill_output(std::byte{0xFF}); !filled) return fail(std::move(filled));
  if (auto launched = instance->run(Stream{}); !launched) return fail(std::move(launched));
  return instance->output();
}

std::string describe_case(const GemmProblem& p, const GemmKernel& kernel, int policy) {
  return fmt::format("{} a={} c={} policy '{}'", to_string(p), to_string(p.activation), to_string(p.output),
                     kernel.policy_name(policy));
}

/// Compares every policy on one problem with the oracle.
void compare_with_reference(const Backend& backend, const GemmKernel& kernel, const HostGemm& host,
                            Failures& failures) {
  const Product expected = reference::eigen_gemm(host);
  for (int policy = 0; policy < kernel.policy_count; ++policy) {
    const auto c = run(backend, kernel, host, policy);
    const std::string name = describe_case(host.problem, kernel, policy);
    if (!c) {
      failures.push_back(fmt::format("{}: {}", name, c.error().message));
      continue;
    }
    const auto comparison = reference::compare(*c, expected, {kernel.accumulator, host.problem.output});
    if (!comparison.correct) failures.push_back(fmt::format("{}: {}", name, comparison.verdict));
  }
}

Failures within_error_bound(const Backend& backend, const GemmKernel& kernel, Data data,
                            std::vector<GemmProblem> list) {
  Failures failures;
  Random random(7);
  for (GemmProblem p : list) {
    for (const OutputType output : outputs) {
      p.output = output;
      if (!kernel.supports(p)) continue;
      const HostActivations a = random_activations(ActivationFormat::mx, data, p.m, p.k, random);
      const MxMatrix<> b = random_matrix(data, p.n, p.k, random);
      compare_with_reference(backend, kernel, {p, &a, &b}, failures);
    }
  }
  return failures;
}

Failures accepts_something(const Backend&, const GemmKernel& kernel) {
  const auto list = problems();
  if (std::any_of(list.begin(), list.end(), [&](const GemmProblem& p) { return bool(kernel.supports(p)); })) return {};
  return {fmt::format("declines every problem of the suite, the first with: {}", kernel.supports(list.front()).reason)};
}

Failures matches_reference(const Backend& backend, const GemmKernel& kernel) {
  return within_error_bound(backend, kernel, Data::gaussian, problems());
}

// One product of 2^16 in a block and 1, 2 or 31 of 2^17 down to 2^-18 beside it: where an accumulator cuts them off,
// and whether it loses more of them than it declares.
Failures keeps_small_products_beside_a_large_one(const Backend& backend, const GemmKernel& kernel) {
  constexpr int exponents = 18;  // of a weight: 8 down to -9
  constexpr std::array counts{1, 2, 31};
  const GemmProblem p{.m = 2, .n = exponents * 3, .k = MxBlock::k, .output = OutputType::f32};
  Failures failures;
  if (!kernel.supports(p)) return failures;
  HostActivations a;
  a.mx = MxMatrix<>(RowMajor(p.m, p.k), row_major_scales(p.m, p.k));
  MxMatrix<> b(RowMajor(p.n, p.k), row_major_scales(p.n, p.k));
  for (E8M0& scale : a.mx.scales()) scale = E8M0{127};
  for (E8M0& scale : b.scales()) scale = E8M0{127};
  for (Index token = 0; token < p.m; ++token) {
    for (Index k = 0; k < p.k; ++k) {
      a.mx.values()[token * p.k + k] = E4M3::round(k == 0 ? 0x1p8F : token == 0 ? 1.0F : 0x1p-9F);
    }
  }
  for (Index row = 0; row < p.n; ++row) {
    const int exponent = 8 - static_cast<int>(row) / 3;
    b.values()[row * p.k] = E4M3::round(0x1p8F);
    for (int k = 1; k <= counts[row % 3]; ++k) b.values()[row * p.k + k] = E4M3::round(std::ldexp(1.0F, exponent));
  }
  for (int policy = 0; policy < kernel.policy_count; ++policy) {
    const auto c = run(backend, kernel, {p, &a, &b}, policy);
    if (!c) return {c.error().message};
    for (Index i = 0; i < p.m * p.n; ++i) {
      const Index row = i % p.n;
      const double small = std::ldexp(1.0, 8 - static_cast<int>(row) / 3) * (i < p.n ? 1.0 : 0x1p-9);
      const double exact = 0x1p16 + counts[row % 3] * small;
      const double allowed = (31.0 * kernel.accumulator.unit_roundoff + 0x1p-24) * exact;
      if (!(std::abs(static_cast<double>((*c)[i]) - exact) <= allowed)) {
        failures.push_back(fmt::format("2^16 and {} times {}, policy '{}': {} instead of {}", counts[row % 3], small,
                                       kernel.policy_name(policy), (*c)[i], exact));
      }
    }
  }
  return failures;
}

// A product of 2^-18 or thrice that in one block, and zeros times 448 in the three others of its group: a kernel that
// sums several blocks in one accumulator must not align the small sum to products that are zero.
Failures keeps_small_products_beside_zeros(const Backend& backend, const GemmKernel& kernel) {
  const GemmProblem p{.m = 2, .n = 16, .k = 4 * MxBlock::k, .output = OutputType::f32};
  Failures failures;
  if (!kernel.supports(p)) return failures;
  for (Index block = 0; block < p.k / MxBlock::k; ++block) {
    HostActivations a;
    a.mx = MxMatrix<>(RowMajor(p.m, p.k), row_major_scales(p.m, p.k));
    MxMatrix<> b(RowMajor(p.n, p.k), row_major_scales(p.n, p.k));
    for (E8M0& scale : a.mx.scales()) scale = E8M0{127};
    for (E8M0& scale : b.scales()) scale = E8M0{127};
    const Index small = block * MxBlock::k + 5;
    for (Index token = 0; token < p.m; ++token) {
      a.mx.values()[token * p.k + small] = E4M3::round(token == 0 ? 0x1p-9F : 0x3p-9F);
    }
    for (Index row = 0; row < p.n; ++row) {
      for (Index k = 0; k < p.k; ++k) {
        b.values()[row * p.k + k] = E4M3::round(k / MxBlock::k == block ? (k == small ? 0x1p-9F : 0.0F) : 448.0F);
      }
    }
    for (int policy = 0; policy < kernel.policy_count; ++policy) {
      const auto c = run(backend, kernel, {p, &a, &b}, policy);
      if (!c) return {c.error().message};
      for (Index i = 0; i < p.m * p.n; ++i) {
        const float exact = i < p.n ? 0x1p-18F : 0x3p-18F;
        if ((*c)[i] != exact) {
          failures.push_back(fmt::format("block {} alone, zeros times 448 beside it, policy '{}': {} instead of {}",
                                         block, kernel.policy_name(policy), (*c)[i], exact));
        }
      }
    }
  }
  return failures;
}

// Enough products and outputs for the rounding of an accumulator to show.
Failures accumulates_as_declared(const Backend& backend, const GemmKernel& kernel) {
  Failures failures = within_error_bound(backend, kernel, Data::gaussian, {{1, 512, 7168}, {4, 128, 7168}});
  for (Failures (*const check)(const Backend&, const GemmKernel&) :
       {keeps_small_products_beside_a_large_one, keeps_small_products_beside_zeros}) {
    for (std::string& failure : check(backend, kernel)) failures.push_back(std::move(failure));
  }
  return failures;
}

Failures takes_each_scale_from_its_block(const Backend& backend, const GemmKernel& kernel) {
  return within_error_bound(backend, kernel, Data::wide_scales, problems());
}

Failures decodes_every_code(const Backend& backend, const GemmKernel& kernel) {
  Failures failures = within_error_bound(backend, kernel, Data::all_codes, {{1, 33, 256}, {5, 40, 512}, {33, 20, 96}});
  // Every pair of codes in exact isolation: C[m,n] = a code of A times a code of B, f32 out.
  GemmProblem p{.m = 1, .n = 256, .k = 32, .output = OutputType::f32};
  for (int a_code = 0; a_code < 256; ++a_code) {
    if (!kernel.supports(p)) break;
    HostActivations a;
    a.mx = MxMatrix<>(RowMajor(1, 32), row_major_scales(1, 32));
    MxMatrix<> b(RowMajor(256, 32), row_major_scales(256, 32));
    a.mx.scales()[0] = E8M0{127};
    const Index k = a_code % 32;
    a.mx.values()[k] = E4M3{static_cast<std::uint8_t>(a_code)};
    for (Index row = 0; row < 256; ++row) {
      b.scales()[row] = E8M0{127};
      b.values()[row * 32 + k] = E4M3{static_cast<std::uint8_t>(row)};
    }
    const auto c = run(backend, kernel, {p, &a, &b});
    if (!c) return {c.error().message};
    for (int b_code = 0; b_code < 256; ++b_code) {
      const float expected = a.mx.values()[k].value() * E4M3{static_cast<std::uint8_t>(b_code)}.value();
      const float got = (*c)[b_code];
      if (std::isnan(expected) ? !std::isnan(got) : got != expected) {
        failures.push_back(fmt::format("code {:#x} times code {:#x}: {} instead of {}", a_code, b_code, got, expected));
      }
    }
  }
  return failures;
}

Failures combines_extreme_scales(const Backend& backend, const GemmKernel& kernel) {
  return within_error_bound(backend, kernel, Data::extreme_scales,
                            {{1, 33, 32}, {3, 20, 96}, {17, 16, 256}, {64, 5, 64}});
}

// Sums that no order can round: the kernel must match bit for bit.
Failures is_exact_on_dyadic_data(const Backend& backend, const GemmKernel& kernel) {
  Failures failures;
  Random random(11);
  for (GemmProblem p : problems()) {
    p.output = OutputType::f32;
    if (!kernel.supports(p)) continue;
    const HostActivations a = random_activations(ActivationFormat::mx, Data::exact_dyadic, p.m, p.k, random);
    const MxMatrix<> b = random_matrix(Data::exact_dyadic, p.n, p.k, random);
    const Product expected = reference::eigen_gemm({p, &a, &b});
    for (int policy = 0; policy < kernel.policy_count; ++policy) {
      const auto c = run(backend, kernel, {p, &a, &b}, policy);
      if (!c) return {c.error().message};
      for (Index at = 0; at < p.m * p.n; ++at) {
        if ((*c)[at] == static_cast<float>(expected.y[at])) continue;
        failures.push_back(fmt::format("{}: C[{},{}] is {}, exactly {}", describe_case(p, kernel, policy), at / p.n,
                                       at % p.n, (*c)[at], expected.y[at]));
        break;
      }
    }
  }
  return failures;
}

// A NaN in one row of A or B, by element or by scale, reaches all of that row of C or column of C and nothing else.
Failures propagates_nan(const Backend& backend, const GemmKernel& kernel) {
  Failures failures;
  Random random(13);
  for (GemmProblem p : {GemmProblem{1, 35, 96}, GemmProblem{3, 35, 96}, GemmProblem{20, 35, 160}}) {
    if (!kernel.supports(p)) continue;
    for (const bool in_a : {true, false}) {
      for (const bool by_scale : {true, false}) {
        HostActivations a = random_activations(ActivationFormat::mx, Data::gaussian, p.m, p.k, random);
        MxMatrix<> b = random_matrix(Data::gaussian, p.n, p.k, random);
        MxMatrix<>& poisoned = in_a ? a.mx : b;
        const Index row = static_cast<Index>(random() % static_cast<std::uint64_t>(poisoned.rows()));
        const Index k = static_cast<Index>(random() % static_cast<std::uint64_t>(p.k));
        if (by_scale) {
          poisoned.scales()[poisoned.scale_layout()(row, k)] = E8M0{255};
        } else {
          poisoned.values()[poisoned.value_layout()(row, k)] =
              E4M3{static_cast<std::uint8_t>(random() % 2 ? 0xFF : 0x7F)};
        }
        compare_with_reference(backend, kernel, {p, &a, &b}, failures);
      }
    }
  }
  return failures;
}

Failures matches_golden_dots(const Backend& backend, const GemmKernel& kernel) {
  Failures failures;
  for (const golden::Dot& dot : golden::vectors().dot) {
    for (const OutputType output : outputs) {
      // The dot product as element (1, 2) of a product whose other rows are zero.
      GemmProblem p{.m = 2, .n = 3, .k = dot.k, .output = output};
      if (!kernel.supports(p)) continue;
      HostActivations a;
      a.mx = MxMatrix<>(RowMajor(p.m, p.k), row_major_scales(p.m, p.k));
      MxMatrix<> b(RowMajor(p.n, p.k), row_major_scales(p.n, p.k));
      std::copy(dot.a.begin(), dot.a.end(), a.mx.values().begin() + p.k);
      std::copy(dot.a_scales.begin(), dot.a_scales.end(), a.mx.scales().begin() + MxBlock::count(p.k));
      std::copy(dot.b.begin(), dot.b.end(), b.values().begin() + 2 * p.k);
      std::copy(dot.b_scales.begin(), dot.b_scales.end(), b.scales().begin() + 2 * MxBlock::count(p.k));
      const auto c = run(backend, kernel, {p, &a, &b});
      if (!c) return {c.error().message};
      const float got = (*c)[5];
      const float wanted = output == OutputType::bf16 ? dot.bf16.value() : dot.value;
      const reference::ErrorBound bound{kernel.accumulator, output};
      const double tolerance = std::isfinite(wanted) ? bound(wanted, dot.sum_of_magnitudes.value_or(0.0), dot.k) : 0.0;
      // NaN and infinity by class; the rest within the bound, which is below one unit where the sum is exact.
      const bool ok = std::isnan(wanted)   ? std::isnan(got)
                      : std::isinf(wanted) ? got == wanted
                                           : std::abs(static_cast<double>(got) - wanted) <= tolerance;
      if (!ok)
        failures.push_back(
            fmt::format("{} ({}) to {}: {} instead of {}", dot.id, dot.note, to_string(output), got, wanted));
    }
  }
  return failures;
}

// bf16 and f32 activations: the prologue's quantization must equal quantize_mx bit for bit, so the result must be the
// same as for the quantized operands.
Failures quantizes_activations_like_the_framework(const Backend& backend, const GemmKernel& kernel) {
  Failures failures;
  Random random(17);
  for (GemmProblem p : {GemmProblem{1, 33, 96}, GemmProblem{4, 20, 1024}, GemmProblem{17, 5, 576},
                        GemmProblem{33, 17, 160}, GemmProblem{64, 16, 352}}) {
    p.output = OutputType::f32;
    for (const ActivationFormat format : {ActivationFormat::bf16, ActivationFormat::f32}) {
      p.activation = format;
      if (!kernel.supports(p)) continue;
      std::vector<float> x(static_cast<std::size_t>(p.m * p.k));
      std::normal_distribution<float> normal;
      for (float& value : x) value = std::ldexp(normal(random), static_cast<int>(random() % 9) - 4);
      x[0] = 448.0F * 2;  // on the edge of RCEIL's step
      x[32] = 0.0F;
      x[64] = 0x1p-130F;
      if (p.m > 1) x[static_cast<std::size_t>(p.k)] = std::numeric_limits<float>::infinity();
      const auto raw = *make_activations(format, x, p.m, p.k);
      HostActivations quantized;
      quantized.mx = raw.mx;
      const MxMatrix<> b = random_matrix(Data::gaussian, p.n, p.k, random);
      GemmProblem mx = p;
      mx.activation = ActivationFormat::mx;
      for (int policy = 0; policy < kernel.policy_count; ++policy) {
        const auto got = run(backend, kernel, {p, &raw, &b}, policy);
        const auto wanted = run(backend, kernel, {mx, &quantized, &b}, policy);
        if (!got || !wanted) return {(got ? wanted : got).error().message};
        if (std::memcmp(got->data(), wanted->data(), got->size() * sizeof(float)) != 0) {
          failures.push_back(describe_case(p, kernel, policy) +
                             ": differs from the same call with quantize_mx's operands");
        }
      }
    }
  }
  return failures;
}

Failures keeps_its_determinism(const Backend& backend, const GemmKernel& kernel) {
  Failures failures;
  Random random(19);
  constexpr Index rows = 64;
  for (const Index k : {96, 1536}) {
    const HostActivations a = random_activations(ActivationFormat::mx, Data::gaussian, rows, k, random);
    const MxMatrix<> b = random_matrix(Data::gaussian, 37, k, random);
    std::vector<float> row_zero;  // C's first row, from the first problem that the kernel accepted
    std::vector<std::vector<float>> by_row(rows);
    for (Index m = 1; m <= rows; ++m) {
      const GemmProblem p{.m = m, .n = 37, .k = k, .output = OutputType::f32};
      if (!kernel.supports(p)) continue;
      const auto first = run(backend, kernel, {p, &a, &b});
      if (!first) return {first.error().message};
      const int repeats = m % 16 == 1 && kernel.determinism >= Determinism::run_to_run ? 20 : 0;
      for (int repeat = 0; repeat < repeats; ++repeat) {
        const auto again = run(backend, kernel, {p, &a, &b});
        if (!again) return {again.error().message};
        if (std::memcmp(first->data(), again->data(), first->size() * sizeof(float)) != 0) {
          failures.push_back(to_string(p) + ": two runs differ");
          break;
        }
      }
      if (kernel.determinism < Determinism::batch_invariant) continue;
      for (Index row = 0; row < m; ++row) {
        const std::vector<float> bits(first->begin() + row * p.n, first->begin() + (row + 1) * p.n);
        if (by_row[row].empty()) by_row[row] = bits;
        if (std::memcmp(bits.data(), by_row[row].data(), bits.size() * sizeof(float)) != 0) {
          failures.push_back(fmt::format("{}: row {} differs from that of a smaller batch", to_string(p), row));
        }
      }
    }
  }
  return failures;
}

/// For steps that only a broken machine fails: the test framework reports the exception.
void must(const Expected<void>& done) {
  if (!done) throw std::runtime_error(done.error().message);
}

/// Operands in buffers of the test's own making, where the strides and sizes can be anything.
struct RawCall {
  const Backend* backend;
  DeviceBuffer a_values, a_scales, b_values, b_scales, c, workspace;
  GemmOperandsRef operands;

  static RawCall make(const Backend& backend, const GemmKernel& kernel, const HostGemm& host, Index a_padding,
                      Index c_padding) {
    const GemmProblem& p = host.problem;
    RawCall call;
    call.backend = &backend;
    const Index blocks = MxBlock::count(p.k);
    const auto upload = [&](const void* data, Index bytes) {
      DeviceBuffer buffer = std::move(backend.allocate(bytes).value());
      must(backend.copy_to_device(buffer.data(), data, bytes, Stream{}));
      return buffer;
    };
    std::vector<E4M3> values(static_cast<std::size_t>(p.m * (p.k + a_padding)), E4M3{0x7F});
    std::vector<E8M0> scales(static_cast<std::size_t>(p.m * (blocks + a_padding)), E8M0{255});
    for (Index row = 0; row < p.m; ++row) {
      std::copy_n(host.a->mx.values().begin() + row * p.k, p.k, values.begin() + row * (p.k + a_padding));
      std::copy_n(host.a->mx.scales().begin() + row * blocks, blocks, scales.begin() + row * (blocks + a_padding));
    }
    const PackedWeights packed = pack_weights(*kernel.weight_layout, {host.b, 1});
    call.a_values = upload(values.data(), static_cast<Index>(values.size()));
    call.a_scales = upload(scales.data(), static_cast<Index>(scales.size()));
    call.b_values = upload(packed.values.data(), static_cast<Index>(packed.values.size()));
    call.b_scales = upload(packed.scales.data(), static_cast<Index>(packed.scales.size()));
    // Canaries: a row of C before and after, and the padding between rows.
    const std::vector<BF16> canary(static_cast<std::size_t>((p.m + 2) * (p.n + c_padding)), canary_value);
    call.c = upload(canary.data(), static_cast<Index>(canary.size()) * 2);
    call.workspace = std::move(backend.allocate(kernel.workspace_bytes(p, 0) + 256).value());
    call.operands.a = {ActivationFormat::mx, call.a_values.data(), static_cast<const E8M0*>(call.a_scales.data()),
                       p.k + a_padding, blocks + a_padding};
    call.operands.b = {kernel.weight_layout, static_cast<const E4M3*>(call.b_values.data()),
                       static_cast<const E8M0*>(call.b_scales.data()), static_cast<Index>(packed.values.size()),
                       static_cast<Index>(packed.scales.size())};
    call.operands.c = {static_cast<BF16*>(call.c.data()) + (p.n + c_padding), p.n + c_padding};
    return call;
  }

  static constexpr BF16 canary_value{0x4D4D};

  [[nodiscard]] std::vector<BF16> output() const {
    std::vector<BF16> bits(static_cast<std::size_t>(c.bytes() / 2));
    must(backend->copy_to_host(bits.data(), c.data(), c.bytes(), Stream{}));
    must(backend->synchronize(Stream{}));
    return bits;
  }
};

// Strided A with NaN in its padding, strided C with canaries around it: nothing beyond the operands is read or written.
Failures stays_within_its_operands(const Backend& backend, const GemmKernel& kernel) {
  Failures failures;
  Random random(23);
  for (const GemmProblem p : {GemmProblem{1, 37, 96}, GemmProblem{3, 19, 224}, GemmProblem{21, 50, 64}}) {
    if (!kernel.supports(p)) continue;
    const HostActivations a = random_activations(ActivationFormat::mx, Data::gaussian, p.m, p.k, random);
    const MxMatrix<> b = random_matrix(Data::gaussian, p.n, p.k, random);
    const HostGemm host{p, &a, &b};
    const auto wanted = run(backend, kernel, host);
    if (!wanted) return {wanted.error().message};
    constexpr Index padding = 24;
    const RawCall call = RawCall::make(backend, kernel, host, padding, padding);
    if (auto done = kernel.run(p, call.operands, 0, {call.workspace.data(), call.workspace.bytes()}, Stream{}); !done) {
      return {done.error().message};
    }
    const std::vector<BF16> got = call.output();
    const Index stride = p.n + padding;
    for (Index at = 0; at < static_cast<Index>(got.size()); ++at) {
      const Index row = at / stride - 1;
      const Index col = at % stride;
      const bool inside = row >= 0 && row < p.m && col < p.n;
      if (!inside && got[at] != RawCall::canary_value) {
        failures.push_back(fmt::format("{}: wrote outside C, at row {} column {}", to_string(p), row, col));
        break;
      }
      if (inside && got[at] != BF16::round((*wanted)[row * p.n + col])) {
        failures.push_back(fmt::format("{}: C[{},{}] depends on the operands' strides", to_string(p), row, col));
        break;
      }
    }
  }
  return failures;
}

// Every misuse gets its typed error, and C stays as it was.
Failures refuses_misuse(const Backend& backend, const GemmKernel& kernel) {
  Failures failures;
  Random random(29);
  const GemmProblem p{2, 20, 96};
  if (!kernel.supports(p)) return {};
  const HostActivations a = random_activations(ActivationFormat::mx, Data::gaussian, p.m, p.k, random);
  const MxMatrix<> b = random_matrix(Data::gaussian, p.n, p.k, random);
  const RawCall call = RawCall::make(backend, kernel, {p, &a, &b}, 0, 0);
  const Workspace workspace{call.workspace.data(), call.workspace.bytes()};

  const auto expect = [&](std::string_view what, ErrorCode code, std::string_view part, const GemmOperandsRef& operands,
                          Workspace space, int policy = 0) {
    const auto done = kernel.run(p, operands, policy, space, Stream{});
    if (done) {
      failures.push_back(fmt::format("{}: accepted", what));
    } else if (done.error().code != code || done.error().message.find(part) == std::string::npos) {
      failures.push_back(fmt::format("{}: got {} '{}', wanted {} with '{}'", what, to_string(done.error().code),
                                     done.error().message, to_string(code), part));
    }
  };
  const auto with = [&](auto change) {
    GemmOperandsRef operands = call.operands;
    change(operands);
    return operands;
  };
  using R = GemmOperandsRef;
  static constexpr LayoutDescriptor other_layout =
      layout_descriptor<WeightLayout<FragmentOrder<RowDigit<2>>, RowMajorScales>>;
  expect("null A", ErrorCode::invalid_argument, "activation values is null", with([](R& x) { x.a.values = nullptr; }),
         workspace);
  expect("null A scales", ErrorCode::invalid_argument, "activation scales is null",
         with([](R& x) { x.a.scales = nullptr; }), workspace);
  expect("null B", ErrorCode::invalid_argument, "weight values is null", with([](R& x) { x.b.values = nullptr; }),
         workspace);
  expect("null C", ErrorCode::invalid_argument, "output pointer is null", with([](R& x) { x.c.values = nullptr; }),
         workspace);
  expect("row stride of A below k", ErrorCode::invalid_layout, "at least 96", with([](R& x) { x.a.value_stride = 95; }),
         workspace);
  expect("row stride of C below n", ErrorCode::invalid_layout, "(its columns), got 19",
         with([](R& x) { x.c.row_stride = 19; }), workspace);
  expect("another layout", ErrorCode::invalid_layout, "must be in layout",
         with([](R& x) { x.b.layout = &other_layout; }), workspace);
  expect("no layout", ErrorCode::invalid_layout, "got 'none'", with([](R& x) { x.b.layout = nullptr; }), workspace);
  expect("short weights", ErrorCode::invalid_layout, "buffers hold", with([](R& x) { --x.b.value_count; }), workspace);
  expect("short weight scales", ErrorCode::invalid_layout, "buffers hold", with([](R& x) { --x.b.scale_count; }),
         workspace);
  expect("C over A", ErrorCode::invalid_argument, "overlaps the activation values",
         with([](R& x) { x.c.values = const_cast<void*>(x.a.values); }), workspace);
  expect("C over B", ErrorCode::invalid_argument, "overlaps the weight values",
         with([](R& x) { x.c.values = const_cast<E4M3*>(x.b.values); }), workspace);
  expect("misaligned C", ErrorCode::invalid_argument, "aligned to 2 bytes",
         with([](R& x) { x.c.values = static_cast<char*>(x.c.values) + 1; }), workspace);
  expect("another format", ErrorCode::invalid_argument, "the problem says mx",
         with([](R& x) { x.a.format = ActivationFormat::f32; }), workspace);
  expect("unknown policy", ErrorCode::invalid_argument, "policy 1000 is outside", call.operands, workspace, 1000);
  expect("negative policy", ErrorCode::invalid_argument, "policy -1 is outside", call.operands, workspace, -1);
  if (kernel.workspace_bytes(p, 0) > 0) {
    const Index needed = kernel.workspace_bytes(p, 0);
    expect("no workspace", ErrorCode::invalid_argument, fmt::format("workspace of {} bytes", needed), call.operands,
           {});
    expect("short workspace", ErrorCode::invalid_argument, fmt::format("workspace of {} bytes", needed), call.operands,
           {workspace.data, needed - 1});
  }
  if (kernel.weight_alignment > 1) {
    expect("misaligned weights", ErrorCode::invalid_argument,
           fmt::format("aligned to {} bytes", kernel.weight_alignment), with([](R& x) { ++x.b.values; }), workspace);
  }
  for (const BF16 value : call.output()) {
    if (value != RawCall::canary_value) {
      failures.emplace_back("a refused call wrote to C");
      break;
    }
  }
  return failures;
}

// Calls on one workspace, one after another, and on one full of another call's leftovers.
Failures leaves_its_workspace_usable(const Backend& backend, const GemmKernel& kernel) {
  Random random(31);
  const GemmProblem p{3, 40, 512};
  if (!kernel.supports(p)) return {};
  const HostActivations a = random_activations(ActivationFormat::mx, Data::gaussian, p.m, p.k, random);
  const MxMatrix<> b = random_matrix(Data::gaussian, p.n, p.k, random);
  Failures failures;
  for (int policy = 0; policy < kernel.policy_count; ++policy) {
    auto instance = KernelInstance<GemmProblem>::create(backend, kernel, policy, {p, &a, &b});
    if (!instance) return {instance.error().message};
    std::vector<float> first;
    for (int call = 0; call < 3; ++call) {
      if (auto filled = instance->fill_output(std::byte{0xFF}); !filled) return {filled.error().message};
      if (auto launched = instance->run(Stream{}); !launched) return {launched.error().message};
      const auto c = instance->output();
      if (!c) return {c.error().message};
      if (call == 0) first = *c;
      if (std::memcmp(first.data(), c->data(), first.size() * sizeof(float)) != 0) {
        failures.push_back(fmt::format("{}: call {} on one workspace differs", describe_case(p, kernel, policy), call));
      }
    }
  }
  return failures;
}

// Any problem outside the envelope is refused with the reason that supports() gives.
Failures declines_with_a_reason(const Backend& backend, const GemmKernel& kernel) {
  Failures failures;
  for (GemmProblem p : problems()) {
    for (const ActivationFormat format : formats) {
      p.activation = format;
      const Verdict verdict = kernel.supports(p);
      if (verdict) continue;
      const auto done = kernel.run(p, GemmOperandsRef{}, 0, {}, Stream{});
      if (done || done.error().code != ErrorCode::unsupported ||
          done.error().message.find(verdict.reason) == std::string::npos) {
        failures.push_back(
            fmt::format("{}: declined with '{}', but run() does not say so", to_string(p), verdict.reason));
      }
    }
  }
  static_cast<void>(backend);
  return failures;
}

}  // namespace

std::span<const Check<GemmProblem>> gemm_checks() {
  static constexpr std::array checks{
      Check<GemmProblem>{"AcceptsSomething", accepts_something},
      Check<GemmProblem>{"DeclinesWithAReason", declines_with_a_reason},
      Check<GemmProblem>{"MatchesReference", matches_reference},
      Check<GemmProblem>{"AccumulatesAsDeclared", accumulates_as_declared},
      Check<GemmProblem>{"TakesEachScaleFromItsBlock", takes_each_scale_from_its_block},
      Check<GemmProblem>{"DecodesEveryCode", decodes_every_code},
      Check<GemmProblem>{"CombinesExtremeScales", combines_extreme_scales},
      Check<GemmProblem>{"IsExactOnDyadicData", is_exact_on_dyadic_data},
      Check<GemmProblem>{"PropagatesNan", propagates_nan},
      Check<GemmProblem>{"MatchesGoldenDots", matches_golden_dots},
      Check<GemmProblem>{"QuantizesActivationsLikeTheFramework", quantizes_activations_like_the_framework},
      Check<GemmProblem>{"KeepsItsDeterminism", keeps_its_determinism},
      Check<GemmProblem>{"StaysWithinItsOperands", stays_within_its_operands},
      Check<GemmProblem>{"RefusesMisuse", refuses_misuse},
      Check<GemmProblem>{"LeavesItsWorkspaceUsable", leaves_its_workspace_usable},
  };
  return checks;
}

}  // namespace millet::conformance
