// SPDX-License-Identifier: Apache-2.0
#include "baselines/eigen_f32.hpp"

#include <dlfcn.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

namespace millet {

namespace {

// The rows that one expert multiplies.
struct Share {
  Index expert = 0;  // position in the decoded weights
  std::vector<Index> rows_of_a;
  std::vector<Index> slots;
  std::vector<float> weights;
};

std::vector<float> decode_activations(const MxMatrix<>& a, Index rows) {
  std::vector<float> decoded(static_cast<std::size_t>(rows * a.cols()));
  const auto view = a.view();
  for (Index row = 0; row < rows; ++row) {
    for (Index k = 0; k < a.cols(); ++k) decoded[row * a.cols() + k] = view(row, k);
  }
  return decoded;
}

std::vector<std::vector<Index>> slots_by_expert(const HostGrouped& operands) {
  const GroupedProblem& p = operands.problem;
  const Routing& routing = *operands.routing;
  std::vector<std::vector<Index>> slots(static_cast<std::size_t>(p.experts));
  for (Index entry = 0; entry < std::min<Index>(routing.num_tokens_post_padded, p.padded_slots); ++entry) {
    const Index slot = routing.sorted_token_ids[entry];
    const Index expert = routing.expert_ids[entry / p.block_m];
    if (slot >= 0 && slot < p.slots && expert >= 0 && expert < p.experts) slots[expert].push_back(slot);
  }
  return slots;
}

}  // namespace

Expected<EigenF32> EigenF32::load(HostIsa isa) {
  const std::string file = "libmillet_eigen_f32_" + std::string(to_string(isa)) + ".so";
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  std::string reasons;
  for (const std::filesystem::path& folder : {program.parent_path(), std::filesystem::path(MILLET_BASELINE_DIR)}) {
    void* const library = dlopen((folder / file).c_str(), RTLD_NOW | RTLD_LOCAL);  // stays loaded: code may be running
    if (library == nullptr) {
      reasons += fmt::format("; {}", dlerror());
      continue;
    }
    const auto product = reinterpret_cast<EigenF32Product>(dlsym(library, "millet_eigen_f32_product"));
    if (product != nullptr) return EigenF32{product, isa};
    reasons += fmt::format("; {} lacks millet_eigen_f32_product", (folder / file).string());
  }
  return fail(ErrorCode::unavailable, "baseline eigen_f32: no library for {}{}; build the target millet",
              to_string(isa), reasons);
}

std::string EigenF32::title(Index threads) const {
  return fmt::format("eigen_f32 ({}, {} thread{})", to_string(isa), threads, threads == 1 ? "" : "s");
}

Expected<DecodedWeights> DecodedWeights::make(const std::vector<const MxMatrix<>*>& experts, Index copies) {
  DecodedWeights weights;
  weights.copies_ = copies;
  weights.experts_ = static_cast<Index>(experts.size());
  weights.n_ = experts.front()->rows();
  weights.k_ = experts.front()->cols();
  constexpr Index huge_page = Index{2} << 20;
  const Index bytes = round_up_to_tile(copies * weights.copy_bytes(), huge_page);
  auto* const data = static_cast<float*>(std::aligned_alloc(huge_page, static_cast<std::size_t>(bytes)));
  if (data == nullptr) {
    return fail(ErrorCode::unavailable, "baseline eigen_f32: no memory for {} decoded bytes; use smaller shapes",
                bytes);
  }
  advise_huge_pages(data, bytes);
  weights.data_ = std::shared_ptr<float>(data, [](float* p) { std::free(p); });
  const Index elements = weights.n_ * weights.k_;
  for (Index expert = 0; expert < weights.experts_; ++expert) {
    const MxMatrix<>& matrix = *experts[expert];
    float* const to = data + expert * elements;
    for (Index block = 0; block < elements / MxBlock::k; ++block) {
      const float scale = matrix.scales()[block].value();
      const Index first = block * MxBlock::k;
      for (Index i = first; i < first + MxBlock::k; ++i) to[i] = e4m3_table.value[matrix.values()[i].bits] * scale;
    }
  }
  for (Index copy = 1; copy < copies; ++copy) {
    std::copy_n(data, weights.experts_ * elements, data + copy * weights.experts_ * elements);
  }
  return weights;
}

struct EigenF32Run::State {
  EigenF32Product product;
  Index threads;
  DecodedWeights weights;
  std::vector<float> a;
  std::vector<float> c;
  bool is_grouped = false;
  std::vector<Share> shares;  // of a grouped product
  std::vector<float> gathered;
  std::vector<float> scattered;

  Expected<void> multiply(const float* rows, const float* matrix, float* result, Index m) const {
    if (product(rows, matrix, result, m, weights.n(), weights.k(), threads) == 0) return {};
    return fail(ErrorCode::unavailable, "baseline eigen_f32: {} threads wanted, but it was built without OpenMP",
                threads);
  }

  Expected<void> run(Index copy) {
    const Index n = weights.n();
    const Index k = weights.k();
    if (!is_grouped) return multiply(a.data(), weights.matrix(copy, 0), c.data(), static_cast<Index>(c.size()) / n);
    for (const Share& share : shares) {
      const auto rows = static_cast<Index>(share.slots.size());
      for (Index i = 0; i < rows; ++i) std::copy_n(a.data() + share.rows_of_a[i] * k, k, gathered.data() + i * k);
      if (auto done = multiply(gathered.data(), weights.matrix(copy, share.expert), scattered.data(), rows); !done) {
        return done;
      }
      for (Index i = 0; i < rows; ++i) {
        float* const to = c.data() + share.slots[i] * n;
        for (Index j = 0; j < n; ++j) to[j] = share.weights[i] * scattered[i * n + j];
      }
    }
    return {};
  }
};

EigenF32Run EigenF32Run::dense(const EigenF32& code, const HostGemm& operands, DecodedWeights weights, Index threads) {
  EigenF32Run run;
  run.state_ = std::make_shared<State>();
  State& state = *run.state_;
  state.product = code.product;
  state.threads = threads;
  state.weights = std::move(weights);
  state.a = decode_activations(operands.a->mx, operands.problem.m);
  state.c.assign(static_cast<std::size_t>(operands.problem.m * operands.problem.n), 0.0F);
  return run;
}

EigenF32Run EigenF32Run::grouped(const EigenF32& code, const HostGrouped& operands, DecodedWeights weights,
                                 Index threads) {
  const GroupedProblem& p = operands.problem;
  EigenF32Run run;
  run.state_ = std::make_shared<State>();
  State& state = *run.state_;
  state.product = code.product;
  state.threads = threads;
  state.weights = std::move(weights);
  state.a = decode_activations(operands.a->mx, p.a_rows());
  state.c.assign(static_cast<std::size_t>(p.slots * p.n), 0.0F);
  state.is_grouped = true;
  std::size_t most_rows = 0;
  for (std::vector<Index>& slots : slots_by_expert(operands)) {
    if (slots.empty()) continue;
    Share share;
    share.expert = static_cast<Index>(state.shares.size());
    for (const Index slot : slots) {
      share.rows_of_a.push_back(slot / p.a_div);
      share.weights.push_back(p.weighted ? (*operands.slot_weights)[slot] : 1.0F);
    }
    share.slots = std::move(slots);
    most_rows = std::max(most_rows, share.slots.size());
    state.shares.push_back(std::move(share));
  }
  state.gathered.resize(most_rows * static_cast<std::size_t>(p.k));
  state.scattered.resize(most_rows * static_cast<std::size_t>(p.n));
  return run;
}

Expected<void> EigenF32Run::run(Index copy) const { return state_->run(copy); }

const std::vector<float>& EigenF32Run::output() const noexcept { return state_->c; }

Contender EigenF32Run::contender(std::string name, CacheState cache) const {
  using Clock = std::chrono::steady_clock;
  Contender contender;
  contender.name = std::move(name);
  contender.cache = cache;
  for (Index copy = 0; copy < state_->weights.copies(); ++copy) {
    contender.batches.push_back([state = state_, copy]() -> Expected<double> {
      const auto start = Clock::now();
      if (auto done = state->run(copy); !done) return fail(std::move(done));
      return std::chrono::duration<double>(Clock::now() - start).count();
    });
  }
  return contender;
}

std::vector<Index> experts_in_use(const HostGrouped& operands) {
  std::vector<Index> experts;
  const auto slots = slots_by_expert(operands);
  for (std::size_t expert = 0; expert < slots.size(); ++expert) {
    if (!slots[expert].empty()) experts.push_back(static_cast<Index>(expert));
  }
  return experts;
}

}  // namespace millet
