// SPDX-License-Identifier: Apache-2.0
#include "baselines/host_baseline.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>

#include "millet/numeric/bf16.hpp"

namespace millet {

namespace {

// A baseline that CMake may not have found, and what to install then.
struct Known {
  std::string_view name;
  bool built;
  std::string_view package;
};
constexpr std::array known_baselines{Known{"eigen_f32", true, "libeigen3-dev"},
                                     Known{"openblas_f32", MILLET_HAS_OPENBLAS != 0, "libopenblas-openmp-dev"},
                                     Known{"onednn_bf16", MILLET_HAS_ONEDNN != 0, "libdnnl-dev"}};

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

// Rows of an MX matrix in a baseline's element type, without rounding. \param what  for messages
Expected<void> decode(const MxMatrix<>& matrix, Index rows, const HostBaseline& baseline, std::string_view what,
                      std::byte* to) {
  const bool bf16 = baseline.product->element_bytes == 2;
  const Index blocks = rows * matrix.cols() / MxBlock::k;
  for (Index block = 0; block < blocks; ++block) {
    const E8M0 scale = matrix.scales()[block];
    const E4M3* const codes = matrix.values().data() + block * MxBlock::k;
    std::array<float, MxBlock::k> values;
    for (Index i = 0; i < MxBlock::k; ++i) values[i] = e4m3_table.value[codes[i].bits] * scale.value();
    // A code has 4 significant bits, so that only the range of f32 or bf16 (8 significant bits) can fail: below 2^9 *
    // 2^119 nothing overflows, and from 2^-9 * 2^-124 on everything is a multiple of bf16's least number.
    constexpr int least_exact = E8M0::bias - 124, greatest_exact = E8M0::bias + 119;
    if (!scale.is_nan() && (scale.bits > greatest_exact || (bf16 && scale.bits < least_exact))) {
      for (Index i = 0; i < MxBlock::k; ++i) {
        const bool exact =
            std::isnan(values[i]) || (!std::isinf(values[i]) && (!bf16 || BF16::round(values[i]).value() == values[i]));
        if (exact) continue;
        return fail(ErrorCode::unsupported, "baseline {}: {} hold {:g} * 2^{}, which is no {} number", baseline.name,
                    what, codes[i].value(), scale.bits - E8M0::bias, bf16 ? "bf16" : "f32");
      }
    }
    if (bf16) {
      std::array<BF16, MxBlock::k> rounded;
      for (Index i = 0; i < MxBlock::k; ++i) rounded[i] = BF16::round(values[i]);
      std::memcpy(to + block * Index{sizeof(rounded)}, rounded.data(), sizeof(rounded));
    } else {
      std::memcpy(to + block * Index{sizeof(values)}, values.data(), sizeof(values));
    }
  }
  return {};
}

// One product of the library's, destroyed with its last user.
using ProductPointer = std::shared_ptr<void>;

Expected<ProductPointer> make_product(const HostBaseline& baseline, Index m, Index n, Index k, Index threads) {
  std::array<char, 256> why{};
  void* const product = baseline.product->create(m, n, k, threads, why.data(), why.size());
  if (product == nullptr) return fail(ErrorCode::unavailable, "baseline {}: {}", baseline.name, why.data());
  return ProductPointer(product, baseline.product->destroy);
}

// The rows that one expert multiplies; of a dense product all.
struct Share {
  ProductPointer product;
  const MxMatrix<>* weights = nullptr;
  Index weight_offset = 0;  // in a copy, bytes
  std::vector<Index> rows_of_a;
  std::vector<Index> slots;
  std::vector<float> slot_weights;
};

constexpr Index page = Index{2} << 20;

std::shared_ptr<std::byte> allocate(Index bytes) {
  const Index size = round_up_to_tile(bytes, page);
  auto* const data = static_cast<std::byte*>(std::aligned_alloc(page, static_cast<std::size_t>(size)));
  if (data == nullptr) return nullptr;
  advise_huge_pages(data, size);
  return {data, [](std::byte* p) { std::free(p); }};
}

// OpenBLAS chooses its code by the model of the CPU when it is loaded, and takes SSE3 code for a model newer than
// itself: 0.3.21 does so on Emerald Rapids. Whoever has set the variable knows better.
void name_core_for_openblas() {
  constexpr int keep_what_is_set = 0;
  if (host_isa() == HostIsa::avx512) setenv("OPENBLAS_CORETYPE", "SkylakeX", keep_what_is_set);
}

}  // namespace

const std::vector<std::string>& host_baseline_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Known& known : known_baselines) all.emplace_back(known.name);
    return all;
  }();
  return names;
}

Expected<HostBaseline> HostBaseline::load(std::string_view name, HostIsa isa) {
  const auto known =
      std::find_if(known_baselines.begin(), known_baselines.end(), [&](const Known& k) { return k.name == name; });
  if (known == known_baselines.end()) return fail(ErrorCode::unknown_name, "no baseline '{}'", name);
  if (!known->built) {
    return fail(ErrorCode::unavailable,
                "baseline {}: not part of this build, since CMake did not find its library; install {} and configure "
                "again",
                name, known->package);
  }
  if (name == "openblas_f32") name_core_for_openblas();
  const std::string variant = name == "eigen_f32" ? fmt::format("{}_{}", name, to_string(isa)) : std::string(name);
  const std::string file = fmt::format("libmillet_{}.so", variant);
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  std::string reasons;
  for (const std::filesystem::path& folder : {program.parent_path(), std::filesystem::path(MILLET_BASELINE_DIR)}) {
    void* const library = dlopen((folder / file).c_str(), RTLD_NOW | RTLD_LOCAL);  // stays loaded: code may be running
    if (library == nullptr) {
      reasons += fmt::format("; {}", dlerror());
      continue;
    }
    const auto product =
        reinterpret_cast<decltype(&millet_baseline_product)>(dlsym(library, "millet_baseline_product"));
    if (product != nullptr) {
      HostBaseline baseline{std::string(name), product()};
      if (auto tried = make_product(baseline, 1, 1, MxBlock::k, 1); !tried) return fail(std::move(tried));
      return baseline;
    }
    reasons += fmt::format("; {} lacks millet_baseline_product", (folder / file).string());
  }
  return fail(ErrorCode::unavailable, "baseline {}: {} cannot be loaded{}; build the target millet", name, file,
              reasons);
}

std::string HostBaseline::title(Index threads) const {
  return fmt::format("{} ({}, {} thread{})", name, product->describe(), threads, threads == 1 ? "" : "s");
}

struct HostBaselineRun::State {
  HostBaseline baseline;
  Index n = 0;
  Index k = 0;
  bool is_grouped = false;
  std::vector<Share> shares;
  Index copy_bytes = 0;
  BaselineWeights weights;
  std::vector<std::byte> a;
  std::vector<std::byte> gathered;
  std::vector<float> scattered;
  std::vector<float> c;

  [[nodiscard]] Index row_bytes() const { return k * baseline.product->element_bytes; }

  Expected<void> decode_activations(const MxMatrix<>& mx, Index rows) {
    a.resize(static_cast<std::size_t>(rows * row_bytes()));
    return decode(mx, rows, baseline, "activations", a.data());
  }

  // Where the weights of each share begin, on lines of the cache.
  void lay_out() {
    constexpr Index line = 64;
    for (Share& share : shares) {
      share.weight_offset = copy_bytes;
      copy_bytes += round_up_to_tile(baseline.product->weight_bytes(share.product.get()), line);
    }
  }

  Expected<void> multiply(const Share& share, const std::byte* rows, Index copy, float* result) const {
    const std::byte* const b = weights.data.get() + copy * weights.copy_bytes + share.weight_offset;
    if (baseline.product->multiply(share.product.get(), rows, b, result) == 0) return {};
    return fail(ErrorCode::unavailable, "baseline {}: the library failed", baseline.name);
  }

  Expected<void> run(Index copy) {
    if (!is_grouped) return multiply(shares.front(), a.data(), copy, c.data());
    const Index bytes = row_bytes();
    for (const Share& share : shares) {
      const auto rows = static_cast<Index>(share.slots.size());
      for (Index i = 0; i < rows; ++i) {
        std::memcpy(gathered.data() + i * bytes, a.data() + share.rows_of_a[i] * bytes,
                    static_cast<std::size_t>(bytes));
      }
      if (auto done = multiply(share, gathered.data(), copy, scattered.data()); !done) return done;
      for (Index i = 0; i < rows; ++i) {
        float* const to = c.data() + share.slots[i] * n;
        for (Index j = 0; j < n; ++j) to[j] = share.slot_weights[i] * scattered[i * n + j];
      }
    }
    return {};
  }
};

Expected<HostBaselineRun> HostBaselineRun::make(const HostBaseline& baseline, const HostGemm& operands, Index threads) {
  const GemmProblem& p = operands.problem;
  HostBaselineRun run;
  run.state_ = std::make_shared<State>();
  State& state = *run.state_;
  state.baseline = baseline;
  state.n = p.n;
  state.k = p.k;
  auto product = make_product(baseline, p.m, p.n, p.k, threads);
  if (!product) return fail(std::move(product));
  Share& all = state.shares.emplace_back();
  all.product = *std::move(product);
  all.weights = operands.b;
  state.lay_out();
  if (auto done = state.decode_activations(operands.a->mx, p.m); !done) return fail(std::move(done));
  state.c.assign(static_cast<std::size_t>(p.m * p.n), 0.0F);
  return run;
}

Expected<HostBaselineRun> HostBaselineRun::make(const HostBaseline& baseline, const HostGrouped& operands,
                                                Index threads) {
  const GroupedProblem& p = operands.problem;
  if (p.epilogue != Epilogue::none) {
    return fail(ErrorCode::unavailable, "baseline {}: it has no {} epilogue", baseline.name, to_string(p.epilogue));
  }
  HostBaselineRun run;
  run.state_ = std::make_shared<State>();
  State& state = *run.state_;
  state.baseline = baseline;
  state.n = p.n;
  state.k = p.k;
  state.is_grouped = true;
  std::map<std::size_t, ProductPointer> by_rows;
  const auto slots = slots_by_expert(operands);
  for (std::size_t expert = 0; expert < slots.size(); ++expert) {
    if (slots[expert].empty()) continue;
    ProductPointer& product = by_rows[slots[expert].size()];
    if (product == nullptr) {
      auto made = make_product(baseline, static_cast<Index>(slots[expert].size()), p.n, p.k, threads);
      if (!made) return fail(std::move(made));
      product = *std::move(made);
    }
    Share& share = state.shares.emplace_back();
    share.product = product;
    share.weights = &(*operands.b)[expert];
    for (const Index slot : slots[expert]) {
      share.rows_of_a.push_back(slot / p.a_div);
      share.slot_weights.push_back(p.weighted ? (*operands.slot_weights)[slot] : 1.0F);
    }
    share.slots = slots[expert];
  }
  state.lay_out();
  if (auto done = state.decode_activations(operands.a->mx, p.a_rows()); !done) return fail(std::move(done));
  const std::size_t most_rows = by_rows.empty() ? 0 : by_rows.rbegin()->first;
  state.gathered.resize(most_rows * static_cast<std::size_t>(state.row_bytes()));
  state.scattered.resize(most_rows * static_cast<std::size_t>(p.n));
  state.c.assign(static_cast<std::size_t>(p.slots * p.n), 0.0F);
  return run;
}

Index HostBaselineRun::copy_bytes() const noexcept { return state_->copy_bytes; }

Expected<void> HostBaselineRun::prepare(Index copies, BaselineWeightCache* kept) {
  State& state = *state_;
  const BaselineProduct& product = *state.baseline.product;
  const bool any_m = product.pack == nullptr;  // decoded weights serve every m, packed ones need not
  if (any_m && kept != nullptr) {
    const auto found = kept->find(state.baseline.name);
    if (found != kept->end() && found->second.copies == copies && found->second.copy_bytes == state.copy_bytes) {
      state.weights = found->second;
      return {};
    }
    kept->erase(state.baseline.name);
  }
  BaselineWeights weights{allocate(copies * state.copy_bytes), copies, state.copy_bytes};
  if (weights.data == nullptr) {
    return fail(ErrorCode::unavailable, "baseline {}: no memory for {} bytes of weights; use smaller shapes",
                state.baseline.name, copies * state.copy_bytes);
  }
  const Index decoded_bytes = state.n * state.row_bytes();
  const std::shared_ptr<std::byte> decoded = any_m ? nullptr : allocate(decoded_bytes);
  if (!any_m && decoded == nullptr) {
    return fail(ErrorCode::unavailable, "baseline {}: no memory for {} bytes of decoded weights; use smaller shapes",
                state.baseline.name, decoded_bytes);
  }
  for (const Share& share : state.shares) {
    std::byte* const to = weights.data.get() + share.weight_offset;
    if (auto done = decode(*share.weights, state.n, state.baseline, "weights", any_m ? to : decoded.get()); !done) {
      return done;
    }
    if (!any_m && product.pack(share.product.get(), decoded.get(), to) != 0) {
      return fail(ErrorCode::unavailable, "baseline {}: the library could not pack the weights", state.baseline.name);
    }
  }
  for (Index copy = 1; copy < copies; ++copy) {
    std::memcpy(weights.data.get() + copy * state.copy_bytes, weights.data.get(),
                static_cast<std::size_t>(state.copy_bytes));
  }
  state.weights = weights;
  if (any_m && kept != nullptr) (*kept)[state.baseline.name] = std::move(weights);
  return {};
}

Expected<void> HostBaselineRun::run(Index copy) const { return state_->run(copy); }

const std::vector<float>& HostBaselineRun::output() const noexcept { return state_->c; }

Contender HostBaselineRun::contender(std::string name, CacheState cache) const {
  using Clock = std::chrono::steady_clock;
  Contender contender;
  contender.name = std::move(name);
  contender.cache = cache;
  for (Index copy = 0; copy < state_->weights.copies; ++copy) {
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
