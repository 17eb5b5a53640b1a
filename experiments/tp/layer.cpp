// SPDX-License-Identifier: Apache-2.0
#include "tp/layer.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>

#include "millet/dispatch/kernel_instance.hpp"
#include "millet/dispatch/select.hpp"
#include "tp/slices.hpp"

namespace millet {

namespace {

using Parts = std::vector<std::vector<std::byte>>;

class Stopwatch {
 public:
  // Seconds since the last call, or since it was made.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

std::vector<std::byte> bytes_of(std::span<const float> values) {
  const auto bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}

std::vector<float> floats_of(const std::vector<std::byte>& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// The part of a layer that one rank computes.
template <class P>
struct Part {
  KernelInstance<P> instance;
  const Backend* backend;

  static Expected<Part> make(const BackendSession& session, const HostOperands<P>& operands) {
    SelectOptions options;
    options.tuned = &session.tuned;
    auto chosen = select(*session.backend, session.device, operands.problem, with_environment(options));
    if (!chosen) return fail(std::move(chosen));
    auto instance = KernelInstance<P>::create(*session.backend, *chosen->kernel, chosen->policy, operands);
    if (!instance) return fail(std::move(instance));
    return Part{*std::move(instance), session.backend};
  }

  Expected<void> compute() const {
    if (auto done = instance.run(Stream{}); !done) return done;
    return backend->synchronize(Stream{});
  }
};

HostActivations mx_activations(MxMatrix<> codes) {
  HostActivations a;
  a.mx = std::move(codes);
  return a;
}

Expected<void> forget_value(const auto& expected) {
  if (expected) return {};
  return fail(expected.error().code, "{}", expected.error().message);
}

}  // namespace

std::vector<float> sum_in_rank_order(const std::vector<std::vector<float>>& partials) {
  std::vector<float> sum = partials.front();
  for (std::size_t rank = 1; rank < partials.size(); ++rank) {
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += partials[rank][i];
  }
  return sum;
}

Expected<LayerOutcome> column_parallel(const Ranks& ranks, const BackendSession& session, const HostActivations& a,
                                       const MxMatrix<>& b, Index m, int runs) {
  const Index n = b.rows();
  const auto slice = slice_of(n, 1, ranks.size(), ranks.rank());
  if (!slice) return tl::unexpected(slice.error());
  const MxMatrix<> mine = rows_of(b, *slice);
  const auto problem = make_gemm_problem(m, slice->count, b.cols(), ActivationFormat::mx, OutputType::f32);
  if (!problem) return tl::unexpected(problem.error());
  auto part = Part<GemmProblem>::make(session, {*problem, &a, &mine});
  if (auto all = ranks.agree(forget_value(part)); !all) return fail(std::move(all));
  LayerOutcome outcome;
  outcome.share = fmt::format("n [{}, {})", slice->first, slice->first + slice->count);
  outcome.kernel = part->instance.kernel().id;
  for (int run = 0; run < runs; ++run) {
    ranks.barrier();
    Stopwatch watch;
    auto computed = part->compute();
    const double compute = watch.lap();
    if (auto all = ranks.agree(computed); !all) return fail(std::move(all));
    auto own = part->instance.output();
    if (auto all = ranks.agree(forget_value(own)); !all) return fail(std::move(all));
    watch.lap();
    const auto gathered = ranks.gather_all(std::as_bytes(std::span(*own)));
    if (!gathered) return tl::unexpected(gathered.error());
    outcome.c.assign(static_cast<std::size_t>(m * n), 0.0F);
    for (Index rank = 0; rank < ranks.size(); ++rank) {
      const auto columns = slice_of(n, 1, ranks.size(), rank);
      const std::vector<float> values = floats_of((*gathered)[static_cast<std::size_t>(rank)]);
      for (Index row = 0; row < m; ++row) {
        std::copy_n(values.begin() + row * columns->count, columns->count,
                    outcome.c.begin() + row * n + columns->first);
      }
    }
    outcome.compute_seconds.push_back(compute);
    outcome.communicate_seconds.push_back(watch.lap());
  }
  return outcome;
}

Expected<LayerOutcome> row_parallel(const Ranks& ranks, const BackendSession& session, const HostActivations& a,
                                    const MxMatrix<>& b, Index m, int runs) {
  const Index n = b.rows();
  const auto slice = slice_of(b.cols(), MxBlock::k, ranks.size(), ranks.rank());
  if (!slice) return tl::unexpected(slice.error());
  const auto elements = slice_of(m * n, 1, ranks.size(), ranks.rank());
  if (!elements) return tl::unexpected(elements.error());
  const MxMatrix<> mine = columns_of(b, *slice);
  const HostActivations rows = mx_activations(columns_of(a.mx, *slice));
  const auto problem = make_gemm_problem(m, n, slice->count, ActivationFormat::mx, OutputType::f32);
  if (!problem) return tl::unexpected(problem.error());
  auto part = Part<GemmProblem>::make(session, {*problem, &rows, &mine});
  if (auto all = ranks.agree(forget_value(part)); !all) return fail(std::move(all));
  LayerOutcome outcome;
  outcome.share = fmt::format("k [{}, {})", slice->first, slice->first + slice->count);
  outcome.kernel = part->instance.kernel().id;
  for (int run = 0; run < runs; ++run) {
    ranks.barrier();
    Stopwatch watch;
    auto computed = part->compute();
    const double compute = watch.lap();
    if (auto all = ranks.agree(computed); !all) return fail(std::move(all));
    auto partial = part->instance.output();
    if (auto all = ranks.agree(forget_value(partial)); !all) return fail(std::move(all));
    watch.lap();
    // Each rank adds up its share of the elements, then everybody gets all sums.
    Parts parts;
    for (Index rank = 0; rank < ranks.size(); ++rank) {
      const auto theirs = slice_of(m * n, 1, ranks.size(), rank);
      parts.push_back(bytes_of(std::span(*partial).subspan(static_cast<std::size_t>(theirs->first),
                                                           static_cast<std::size_t>(theirs->count))));
    }
    const auto received = ranks.exchange(parts);
    if (!received) return tl::unexpected(received.error());
    std::vector<std::vector<float>> partials;
    for (const auto& bytes : *received) partials.push_back(floats_of(bytes));
    const std::vector<float> sums = sum_in_rank_order(partials);
    const auto gathered = ranks.gather_all(std::as_bytes(std::span(sums)));
    if (!gathered) return tl::unexpected(gathered.error());
    outcome.c.clear();
    for (const auto& bytes : *gathered) {
      const std::vector<float> values = floats_of(bytes);
      outcome.c.insert(outcome.c.end(), values.begin(), values.end());
    }
    outcome.compute_seconds.push_back(compute);
    outcome.communicate_seconds.push_back(watch.lap());
  }
  return outcome;
}

Expected<LayerOutcome> expert_parallel(const Ranks& ranks, const BackendSession& session, const HostActivations& a,
                                       const std::vector<MxMatrix<>>& experts,
                                       const std::vector<std::int32_t>& topk_ids, int runs) {
  const Index tokens = a.mx.rows();
  const Index k = a.mx.cols();
  const Index blocks = MxBlock::count(k);
  const Index n = experts.front().rows();
  const auto slots = static_cast<Index>(topk_ids.size());
  const Index top_k = slots / tokens;
  const auto own_experts = slice_of(static_cast<Index>(experts.size()), 1, ranks.size(), ranks.rank());
  if (!own_experts) return tl::unexpected(own_experts.error());
  const auto own_tokens = slice_of(tokens, 1, ranks.size(), ranks.rank());
  if (!own_tokens) return tl::unexpected(own_tokens.error());
  std::vector<Index> rank_of_expert;
  for (Index rank = 0; rank < ranks.size(); ++rank) {
    const auto theirs = slice_of(static_cast<Index>(experts.size()), 1, ranks.size(), rank);
    rank_of_expert.insert(rank_of_expert.end(), static_cast<std::size_t>(theirs->count), rank);
  }

  // What goes to each rank: for each slot the number of the expert there, the codes and the scales of its row.
  const Index message = Index{sizeof(std::int32_t)} + k + blocks;
  std::vector<std::vector<Index>> slots_for(static_cast<std::size_t>(ranks.size()));
  const auto pack = [&] {
    Parts parts(slots_for.size());
    for (auto& list : slots_for) list.clear();
    for (Index slot = own_tokens->first * top_k; slot < (own_tokens->first + own_tokens->count) * top_k; ++slot) {
      const std::int32_t expert = topk_ids[static_cast<std::size_t>(slot)];
      const auto to = static_cast<std::size_t>(rank_of_expert[static_cast<std::size_t>(expert)]);
      slots_for[to].push_back(slot);
      std::vector<std::byte>& part = parts[to];
      const std::size_t at = part.size();
      part.resize(at + static_cast<std::size_t>(message));
      const auto first = slice_of(static_cast<Index>(experts.size()), 1, ranks.size(), static_cast<Index>(to))->first;
      const auto local = static_cast<std::int32_t>(expert - first);
      const Index token = slot / top_k;
      std::memcpy(part.data() + at, &local, sizeof(local));
      std::memcpy(part.data() + at + sizeof(local), a.mx.values().data() + token * k, static_cast<std::size_t>(k));
      std::memcpy(part.data() + at + sizeof(local) + k, a.mx.scales().data() + token * blocks,
                  static_cast<std::size_t>(blocks));
    }
    return parts;
  };
  const auto first_received = ranks.exchange(pack());
  if (!first_received) return tl::unexpected(first_received.error());

  std::vector<std::int32_t> local_ids;
  std::vector<std::byte> all;
  for (const auto& part : *first_received) all.insert(all.end(), part.begin(), part.end());
  const Index received_slots = static_cast<Index>(all.size()) / message;
  LayerOutcome outcome;
  outcome.share = fmt::format("experts [{}, {}), {} slots", own_experts->first, own_experts->first + own_experts->count,
                              received_slots);
  std::optional<Part<GroupedProblem>> part;
  const auto prepare = [&]() -> Expected<void> {
    if (received_slots == 0) return {};
    MxMatrix<> rows(RowMajor(received_slots, k), row_major_scales(received_slots, k));
    for (Index slot = 0; slot < received_slots; ++slot) {
      const std::byte* const from = all.data() + slot * message;
      std::int32_t expert = 0;
      std::memcpy(&expert, from, sizeof(expert));
      local_ids.push_back(expert);
      std::memcpy(rows.values().data() + slot * k, from + sizeof(expert), static_cast<std::size_t>(k));
      std::memcpy(rows.scales().data() + slot * blocks, from + sizeof(expert) + k, static_cast<std::size_t>(blocks));
    }
    constexpr Index block_m = 16;
    auto routing = build_routing(local_ids, own_experts->count, block_m);
    if (!routing) return fail(std::move(routing));
    GroupedProblem fields;
    fields.experts = own_experts->count;
    fields.slots = received_slots;
    fields.n = n;
    fields.k = k;
    fields.block_m = block_m;
    fields.padded_slots = static_cast<Index>(routing->sorted_token_ids.size());
    fields.output = OutputType::f32;
    const auto problem = make_grouped_problem(fields);
    if (!problem) return tl::unexpected(problem.error());
    const HostActivations codes = mx_activations(std::move(rows));
    const auto begin = experts.begin() + own_experts->first;
    const std::vector<MxMatrix<>> mine(begin, begin + own_experts->count);
    auto made = Part<GroupedProblem>::make(session, {*problem, &codes, &mine, &*routing, nullptr});
    if (!made) return fail(std::move(made));
    part = *std::move(made);
    return {};
  };
  if (auto ready = ranks.agree(prepare()); !ready) return fail(std::move(ready));
  if (part) outcome.kernel = part->instance.kernel().id;

  for (int run = 0; run < runs; ++run) {
    ranks.barrier();
    Stopwatch watch;
    const auto received = ranks.exchange(pack());
    if (!received) return tl::unexpected(received.error());
    double communicate = watch.lap();
    auto computed = part ? part->compute() : Expected<void>{};
    const double compute = watch.lap();
    if (auto done = ranks.agree(computed); !done) return fail(std::move(done));
    auto own = part ? part->instance.output() : Expected<std::vector<float>>(std::vector<float>{});
    if (auto done = ranks.agree(forget_value(own)); !done) return fail(std::move(done));
    watch.lap();
    Parts results;
    Index at = 0;
    for (const auto& from : *received) {
      const Index count = static_cast<Index>(from.size()) / message * n;
      results.push_back(
          bytes_of(std::span(*own).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count))));
      at += count;
    }
    const auto returned = ranks.exchange(results);
    if (!returned) return tl::unexpected(returned.error());
    std::vector<float> mine(static_cast<std::size_t>(own_tokens->count * top_k * n));
    for (std::size_t rank = 0; rank < slots_for.size(); ++rank) {
      const std::vector<float> rows = floats_of((*returned)[rank]);
      for (std::size_t i = 0; i < slots_for[rank].size(); ++i) {
        const Index row = slots_for[rank][i] - own_tokens->first * top_k;
        std::copy_n(rows.begin() + static_cast<Index>(i) * n, n, mine.begin() + row * n);
      }
    }
    communicate += watch.lap();
    outcome.compute_seconds.push_back(compute);
    outcome.communicate_seconds.push_back(communicate);
    if (run + 1 < runs) continue;
    const auto gathered = ranks.gather_all(std::as_bytes(std::span(mine)));  // for the check alone: not timed
    if (!gathered) return tl::unexpected(gathered.error());
    for (const auto& bytes : *gathered) {
      const std::vector<float> values = floats_of(bytes);
      outcome.c.insert(outcome.c.end(), values.begin(), values.end());
    }
  }
  return outcome;
}

}  // namespace millet
