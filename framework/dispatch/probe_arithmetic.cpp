// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/probe_arithmetic.hpp"

#include <cmath>
#include <random>

#include "millet/dispatch/kernel_instance.hpp"

namespace millet {

namespace {

constexpr E4M3 one{0x38};

/// All values and scales 1.
MxMatrix<> ones(Index rows, Index k) {
  MxMatrix<> matrix(RowMajor(rows, k), row_major_scales(rows, k));
  for (Index i = 0; i < rows * k; ++i) matrix.values()[static_cast<std::size_t>(i)] = one;
  for (Index i = 0; i < rows * MxBlock::count(k); ++i) matrix.scales()[static_cast<std::size_t>(i)] = E8M0{127};
  return matrix;
}

void randomize_scales(MxMatrix<>& matrix, std::mt19937_64& random) {
  const Index count = matrix.rows() * MxBlock::count(matrix.cols());
  for (Index i = 0; i < count; ++i) {
    matrix.scales()[static_cast<std::size_t>(i)] = E8M0{static_cast<std::uint8_t>(119 + random() % 16)};
  }
}

E8M0& scale(MxMatrix<>& matrix, Index row, Index block) {
  return matrix.scales()[static_cast<std::size_t>(matrix.scale_layout()(row, block * MxBlock::k))];
}
E4M3& value(MxMatrix<>& matrix, Index row, Index k) {
  return matrix.values()[static_cast<std::size_t>(matrix.value_layout()(row, k))];
}

/// C in f32, by the first kernel of the list that takes the problem; an empty vector if none does.
Expected<std::vector<float>> product(const Backend& backend, const MxMatrix<>& a, const MxMatrix<>& b) {
  GemmProblem problem{.m = a.rows(), .n = b.rows(), .k = b.cols(), .output = OutputType::f32};
  HostActivations activations;
  activations.mx = a;
  for (const GemmKernel& kernel : backend.gemm_kernels) {
    if (!kernel.supports(problem)) continue;
    auto instance = KernelInstance<GemmProblem>::create(backend, kernel, 0, {problem, &activations, &b});
    if (!instance) return fail(std::move(instance));
    if (auto done = instance->run(Stream{}); !done) return fail(std::move(done));
    return instance->output();
  }
  return std::vector<float>{};
}

Expected<void> probe_scale_blocks(const Backend& backend) {
  constexpr Index rows = 64;
  constexpr Index columns = 16;
  constexpr Index k = 512;  // four steps of 128, so that each byte of a dword of scales is selected
  std::mt19937_64 random(1);
  MxMatrix<> b = ones(columns, k);
  randomize_scales(b, random);
  for (Index first = 0; first < k; first += rows) {
    MxMatrix<> a = ones(rows, k);
    randomize_scales(a, random);
    for (Index row = 0; row < rows; ++row) {
      for (Index i = 0; i < k; ++i) value(a, row, i) = i == first + row ? one : E4M3{0};
    }
    const auto c = product(backend, a, b);
    if (!c) return fail(c.error().code, "{}", c.error().message);
    if (c->empty()) return {};
    const auto explains = [&](Index row, Index block) {
      for (Index column = 0; column < columns; ++column) {
        const int exponent = scale(a, row, block).exponent() + scale(b, column, block).exponent();
        if ((*c)[static_cast<std::size_t>(row * columns + column)] != std::ldexp(1.0F, exponent)) return false;
      }
      return true;
    };
    for (Index row = 0; row < rows; ++row) {
      const Index at = first + row;
      if (explains(row, at / MxBlock::k)) continue;
      std::string found = "no block of its row explains";
      for (Index block = 0; block < MxBlock::count(k); ++block) {
        if (explains(row, block)) found = fmt::format("the scales of block {} would give", block);
      }
      return fail(
          ErrorCode::incorrect_result,
          "{}: probe: 1 times 1 at k = {}, of block {}, gave {}, which {}; the matrix instruction's lane map is "
          "not the one that the kernels assume",
          backend.name, at, at / MxBlock::k, (*c)[static_cast<std::size_t>(row * columns)], found);
    }
  }
  return {};
}

Expected<void> probe_special_values(const Backend& backend) {
  constexpr Index extent = 16;
  constexpr Index k = 128;
  MxMatrix<> a = ones(extent, k);
  MxMatrix<> b = ones(extent, k);
  scale(a, 5, 1) = E8M0{255};              // row 5
  scale(b, 3, 2) = E8M0{255};              // column 3
  value(b, 7, 40) = E4M3{E4M3::nan_bits};  // column 7
  for (Index row = 0; row < extent; ++row) {
    scale(a, row, 3) = E8M0{0};  // 2^-127, and not zero
    scale(b, row, 3) = E8M0{254};
  }
  const auto c = product(backend, a, b);
  if (!c) return fail(c.error().code, "{}", c.error().message);
  for (std::size_t i = 0; i < c->size(); ++i) {
    const auto row = static_cast<Index>(i) / extent;
    const auto column = static_cast<Index>(i) % extent;
    const bool nan = row == 5 || column == 3 || column == 7;
    if (nan ? std::isnan((*c)[i]) : (*c)[i] == static_cast<float>(k)) continue;
    return fail(
        ErrorCode::incorrect_result,
        "{}: probe: C[{},{}] is {} instead of {}; scale 255 must give NaN, scale 0 is 2^-127, and the code 0x7F "
        "is NaN",
        backend.name, row, column, (*c)[i], nan ? "NaN" : fmt::format("{}", k));
  }
  return {};
}

}  // namespace

Expected<void> probe_arithmetic(const Backend& backend) {
  if (auto done = probe_scale_blocks(backend); !done) return done;
  return probe_special_values(backend);
}

}  // namespace millet
