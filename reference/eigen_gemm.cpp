// SPDX-License-Identifier: Apache-2.0
#include "millet/reference/eigen_gemm.hpp"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>

#include "millet/reference/epilogue.hpp"

namespace millet::reference {

namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Rows [first, first + count) of an MX matrix as f64; value and scale multiply exactly (4 bits times a power of two).
Matrix decode_rows(const MxMatrixView<>& matrix, const std::vector<Index>& rows) {
  Matrix decoded(static_cast<Index>(rows.size()), matrix.cols());
  for (Index i = 0; i < decoded.rows(); ++i) {
    for (Index block = 0; block < MxBlock::count(matrix.cols()); ++block) {
      const E8M0 code = matrix.scale(rows[i], block * MxBlock::k);
      const double scale = code.is_nan() ? std::numeric_limits<double>::quiet_NaN() : std::ldexp(1.0, code.exponent());
      for (Index k = block * MxBlock::k; k < (block + 1) * MxBlock::k; ++k) {
        decoded(i, k) = static_cast<double>(e4m3_table.value[matrix.code(rows[i], k).bits]) * scale;
      }
    }
  }
  return decoded;
}

std::vector<Index> iota(Index first, Index count) {
  std::vector<Index> rows(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) rows[i] = first + i;
  return rows;
}

Product empty_product(Index rows, Index n, Index k) {
  const auto size = static_cast<std::size_t>(rows * n);
  return {rows,
          n,
          k,
          std::vector<double>(size),
          std::vector<double>(size),
          std::vector<bool>(static_cast<std::size_t>(rows), false),
          {},
          {}};
}

// Adds rows_of_c[i] = weight[i] * a.row(i) * b^T to the product, in panels of b that stay small in f64.
void multiply(const Matrix& a, const MxMatrixView<>& b, const std::vector<Index>& rows_of_c,
              const std::vector<double>& weights, Product& product) {
  constexpr Index panel = 128;
  const Matrix a_magnitude = a.cwiseAbs();
  for (Index first = 0; first < b.rows(); first += panel) {
    const Index count = std::min(panel, b.rows() - first);
    const Matrix decoded = decode_rows(b, iota(first, count));
    const Matrix y = a * decoded.transpose();
    const Matrix magnitude = a_magnitude * decoded.cwiseAbs().transpose();
    for (Index i = 0; i < a.rows(); ++i) {
      for (Index j = 0; j < count; ++j) {
        const auto at = static_cast<std::size_t>(rows_of_c[i] * product.n + first + j);
        product.y[at] = y(i, j) * weights[i];
        product.magnitude[at] = magnitude(i, j) * std::abs(weights[i]);
      }
    }
  }
  for (const Index row : rows_of_c) product.written[row] = true;
}

}  // namespace

Product eigen_gemm(const HostGemm& operands) {
  const GemmProblem& p = operands.problem;
  Product product = empty_product(p.m, p.n, p.k);
  const std::vector<Index> rows = iota(0, p.m);
  multiply(decode_rows(operands.a->mx.view(), rows), operands.b->view(), rows,
           std::vector<double>(static_cast<std::size_t>(p.m), 1.0), product);
  return product;
}

Product eigen_grouped_gemm(const HostGrouped& operands) {
  const GroupedProblem& p = operands.problem;
  const Routing& routing = *operands.routing;
  Product product = empty_product(p.slots, p.n, p.k);
  const Index used = std::min<Index>(routing.num_tokens_post_padded, p.padded_slots);
  std::vector<std::vector<Index>> slots_of_expert(static_cast<std::size_t>(p.experts));
  for (Index entry = 0; entry < used; ++entry) {
    const Index slot = routing.sorted_token_ids[entry];
    const Index expert = routing.expert_ids[entry / p.block_m];
    if (slot < 0 || slot >= p.slots || expert < 0 || expert >= p.experts) continue;
    slots_of_expert[expert].push_back(slot);
  }
  for (Index expert = 0; expert < p.experts; ++expert) {
    const std::vector<Index>& slots = slots_of_expert[expert];
    if (slots.empty()) continue;
    std::vector<Index> a_rows;
    std::vector<double> weights;
    for (const Index slot : slots) {
      a_rows.push_back(slot / p.a_div);
      const bool weigh_sums = p.weighted && p.epilogue != Epilogue::swiglu;
      weights.push_back(weigh_sums ? static_cast<double>((*operands.slot_weights)[slot]) : 1.0);
    }
    multiply(decode_rows(operands.a->mx.view(), a_rows), (*operands.b)[expert].view(), slots, weights, product);
  }
  switch (p.epilogue) {
    case Epilogue::none:
      break;
    case Epilogue::swiglu:
      return swiglu_of(product, p.swiglu,
                       p.weighted ? std::span<const float>(*operands.slot_weights) : std::span<const float>());
    case Epilogue::topk_sum:
      return topk_sum_of(product, p.top_k);
  }
  return product;
}

}  // namespace millet::reference
