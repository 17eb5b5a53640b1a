// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "conformance.hpp"
#include "millet/dispatch/kernel_instance.hpp"
#include "millet/reference/error_bound.hpp"
#include "operand_data.hpp"

namespace millet::conformance {

namespace {

/// A grouped product with all its operands.
struct GroupedCase {
  GroupedProblem problem;
  HostActivations a;
  std::vector<MxMatrix<>> b;
  Routing routing;
  std::vector<float> slot_weights;

  [[nodiscard]] HostGrouped host() const { return {problem, &a, &b, &routing, &slot_weights}; }
};

struct Shape {
  Index experts, tokens, top_k, n, k, block_m;
  bool up_projection;  ///< a_div = top_k: the choices of a token share its row of A
  bool weighted;
  Epilogue epilogue = Epilogue::none;
  Swiglu swiglu{};
};

GroupedCase make_case(const Shape& shape, Data data, OutputType output, std::span<const std::int32_t> topk_ids,
                      Random& random, ActivationFormat activation = ActivationFormat::mx) {
  GroupedCase c;
  c.routing = *build_routing(topk_ids, shape.experts, shape.block_m);
  c.problem = *make_grouped_problem({.experts = shape.experts,
                                     .slots = shape.tokens * shape.top_k,
                                     .n = shape.n,
                                     .k = shape.k,
                                     .a_div = shape.up_projection ? shape.top_k : 1,
                                     .block_m = shape.block_m,
                                     .padded_slots = static_cast<Index>(c.routing.sorted_token_ids.size()),
                                     .weighted = shape.weighted,
                                     .activation = activation,
                                     .output = output,
                                     .epilogue = shape.epilogue,
                                     .swiglu = shape.swiglu,
                                     .top_k = shape.top_k});
  c.a = random_activations(activation, data, c.problem.a_rows(), shape.k, random);
  for (Index expert = 0; expert < shape.experts; ++expert) c.b.push_back(random_matrix(data, shape.n, shape.k, random));
  if (shape.weighted) {
    // Powers of two on exact data keep it exact.
    for (Index slot = 0; slot < c.problem.slots; ++slot) {
      c.slot_weights.push_back(data == Data::exact_dyadic ? (random() % 2 != 0 ? 0.5F : 2.0F)
                                                          : 0.1F + 0.001F * static_cast<float>(random() % 900));
    }
  }
  return c;
}

std::vector<Shape> shapes() {
  return {
      {1, 1, 1, 33, 96, 1, true, false},     {1, 5, 1, 20, 160, 4, false, true},
      {8, 3, 2, 37, 96, 16, true, false},    {8, 3, 2, 37, 96, 16, false, true},
      {31, 9, 4, 17, 64, 8, true, true},     {4, 40, 2, 19, 128, 16, true, false},
      {2, 150, 1, 18, 64, 16, false, false}, {3, 70, 3, 16, 96, 64, true, true},
      {64, 4, 4, 40, 384, 64, true, false},  {16, 8, 2, 24, 576, 16, false, true},
      {8, 2, 8, 33, 768, 4, true, false},    {257, 6, 3, 5, 32, 2, false, false},
      {1025, 3, 2, 3, 32, 1, true, false},   {4, 4, 2, 130, 3072, 16, true, true},
      {2, 2, 1, 16, 6144, 64, false, false}, {2, 150, 1, 5, 32, 1, false, true},
      {3, 600, 1, 20, 96, 1, false, true},
  };
}

/// The epilogues on shapes with tails, many rows of one expert, experts without rows and one row alone.
std::vector<Shape> shapes_with_epilogue(Epilogue epilogue) {
  if (epilogue == Epilogue::swiglu) {
    return {
        {1, 1, 1, 34, 96, 1, true, false, epilogue},
        {8, 3, 2, 38, 96, 16, true, false, epilogue, swiglu_oai},
        {31, 9, 4, 18, 64, 8, true, true, epilogue, {0.5F, 0.25F, -1.0F}},
        {2, 150, 1, 20, 64, 16, true, false, epilogue},
        {64, 4, 4, 40, 384, 64, true, false, epilogue, swiglu_oai},
        {3, 70, 3, 2, 32, 64, true, false, epilogue},
        {4, 4, 2, 130, 3072, 16, true, false, epilogue, swiglu_oai},
        {2, 2, 1, 16, 6144, 64, false, false, epilogue},
    };
  }
  return {
      {1, 1, 1, 33, 96, 1, false, false, epilogue},   {8, 3, 2, 37, 96, 16, false, true, epilogue},
      {31, 9, 4, 17, 64, 8, false, true, epilogue},   {2, 150, 1, 18, 64, 16, false, true, epilogue},
      {64, 4, 4, 40, 384, 64, false, true, epilogue}, {16, 70, 8, 3, 32, 4, true, true, epilogue},
      {8, 2, 8, 33, 768, 4, false, false, epilogue},  {4, 4, 2, 130, 3072, 16, false, true, epilogue},
  };
}

/// Runs a kernel and returns C as f32.
Expected<std::vector<float>> run(const Backend& backend, const GroupedKernel& kernel, const GroupedCase& c,
                                 int policy = 0) {
  auto instance = KernelInstance<GroupedProblem>::create(backend, kernel, policy, c.host());
  if (!instance) return fail(std::move(instance));
  // NaN everywhere shows what is not written; the rows that nobody should write are told by their bits.
  if (auto filled = instance->fill_output(std::byte{0xFF}); !filled) return fail(std::move(filled));
  if (auto launched = instance->run(Stream{}); !launched) return fail(std::move(launched));
  return instance->output();
}

std::string describe_case(const GroupedProblem& p, const GroupedKernel& kernel, int policy) {
  return fmt::format("{} block_m={} c={} policy '{}'", to_string(p), p.block_m, to_string(p.output),
                     kernel.policy_name(policy));
}

void compare_with_reference(const Backend& backend, const GroupedKernel& kernel, const GroupedCase& c,
                            Failures& failures) {
  const reference::Product expected = reference::eigen_grouped_gemm(c.host());
  const float filling =
      c.problem.output == OutputType::bf16 ? BF16{0xFFFF}.value() : __builtin_bit_cast(float, 0xFFFFFFFFU);
  for (int policy = 0; policy < kernel.policy_count; ++policy) {
    const auto got = run(backend, kernel, c, policy);
    const std::string name = describe_case(c.problem, kernel, policy);
    if (!got) {
      failures.push_back(fmt::format("{}: {}", name, got.error().message));
      continue;
    }
    const auto comparison = reference::compare(*got, expected, {kernel.accumulator, c.problem.output}, filling);
    if (!comparison.correct) failures.push_back(fmt::format("{}: {}", name, comparison.verdict));
  }
}

Failures within_error_bound(const Backend& backend, const GroupedKernel& kernel, Data data) {
  Failures failures;
  Random random(41);
  for (const Shape& shape : shapes()) {
    for (const OutputType output : {OutputType::bf16, OutputType::f32}) {
      const auto ids = random_topk_ids(shape.tokens, shape.top_k, shape.experts, random);
      const GroupedCase c = make_case(shape, data, output, ids, random);
      if (kernel.supports(c.problem)) compare_with_reference(backend, kernel, c, failures);
    }
  }
  return failures;
}

Failures accepts_something(const Backend&, const GroupedKernel& kernel) {
  std::string_view reason;
  for (const Shape& s : shapes()) {
    const GroupedProblem p{.experts = s.experts, .slots = s.tokens * s.top_k, .n = s.n, .k = s.k, .padded_slots = 1};
    const Verdict verdict = kernel.supports(p);
    if (verdict) return {};
    reason = verdict.reason;
  }
  return {fmt::format("declines every problem of the suite, the last with: {}", reason)};
}

Failures matches_reference(const Backend& backend, const GroupedKernel& kernel) {
  return within_error_bound(backend, kernel, Data::gaussian);
}
Failures takes_each_scale_from_its_block(const Backend& backend, const GroupedKernel& kernel) {
  return within_error_bound(backend, kernel, Data::wide_scales);
}
Failures decodes_every_code(const Backend& backend, const GroupedKernel& kernel) {
  return within_error_bound(backend, kernel, Data::all_codes);
}

// The epilogues: gates from far below to far above their limits (alike scales keep most sums within a few units, wide
// ones saturate them), and sums over a token's slots.
Failures applies_epilogues(const Backend& backend, const GroupedKernel& kernel) {
  Failures failures;
  Random random(73);
  for (const Epilogue epilogue : {Epilogue::swiglu, Epilogue::topk_sum}) {
    for (const Shape& shape : shapes_with_epilogue(epilogue)) {
      for (const Data data : {Data::gaussian, Data::wide_scales}) {
        for (const OutputType output : {OutputType::bf16, OutputType::f32}) {
          const auto ids = random_topk_ids(shape.tokens, shape.top_k, shape.experts, random);
          const GroupedCase c = make_case(shape, data, output, ids, random);
          if (kernel.supports(c.problem)) compare_with_reference(backend, kernel, c, failures);
        }
      }
    }
  }
  return failures;
}

// A slot whose expert is elsewhere adds nothing to its token; a token without any gets zeros; ids out of range and
// blocks out of use count as elsewhere. Several times on one workspace, whose routing shrinks meanwhile: no call may
// find what an earlier one left.
Failures sums_what_is_here(const Backend& backend, const GroupedKernel& kernel) {
  Failures failures;
  Random random(79);
  const Shape shape{4, 12, 3, 20, 96, 4, false, true, Epilogue::topk_sum};
  const auto ids = random_topk_ids(shape.tokens, shape.top_k, shape.experts, random);
  const GroupedCase good = make_case(shape, Data::gaussian, OutputType::f32, ids, random);
  if (!kernel.supports(good.problem)) return {};
  for (const std::int32_t bad : {-1, 36, 1000}) {
    GroupedCase c = good;
    for (std::int32_t& slot : c.routing.sorted_token_ids) {
      if (slot / 3 == 5 || slot == 7) slot = bad;  // the whole of token 5, a choice of token 2
    }
    compare_with_reference(backend, kernel, c, failures);
    c = good;
    c.routing.expert_ids[1] = bad;
    compare_with_reference(backend, kernel, c, failures);
  }
  for (const std::int32_t used : {0, 4, -4}) {
    GroupedCase c = good;
    c.routing.num_tokens_post_padded = used;
    compare_with_reference(backend, kernel, c, failures);
  }
  GroupedCase fewer = good;
  for (std::int32_t& slot : fewer.routing.sorted_token_ids) slot = slot % 5 == 0 ? -1 : slot;
  fewer.routing.num_tokens_post_padded -= 4;
  for (int policy = 0; policy < kernel.policy_count; ++policy) {
    auto instance = KernelInstance<GroupedProblem>::create(backend, kernel, policy, good.host());
    if (!instance) return {instance.error().message};
    int call = 0;
    for (const GroupedCase* c : std::array<const GroupedCase*, 4>{&good, &fewer, &good, &good}) {
      ++call;
      if (auto routed = instance->reroute(c->routing); !routed) return {routed.error().message};
      if (auto launched = instance->run(Stream{}); !launched) return {launched.error().message};
      const auto got = instance->output();
      if (!got) return {got.error().message};
      const auto comparison =
          reference::compare(*got, reference::eigen_grouped_gemm(c->host()), {kernel.accumulator, OutputType::f32});
      if (comparison.correct) continue;
      failures.push_back(fmt::format("{}: call {} on one workspace: {}", describe_case(good.problem, kernel, policy),
                                     call, comparison.verdict));
      break;
    }
  }
  return failures;
}

Failures is_exact_on_dyadic_data(const Backend& backend, const GroupedKernel& kernel) {
  Failures failures;
  Random random(43);
  std::vector<Shape> all = shapes();
  const std::vector<Shape> summed = shapes_with_epilogue(Epilogue::topk_sum);
  all.insert(all.end(), summed.begin(), summed.end());
  for (const Shape& shape : all) {
    const auto ids = random_topk_ids(shape.tokens, shape.top_k, shape.experts, random);
    const GroupedCase c = make_case(shape, Data::exact_dyadic, OutputType::f32, ids, random);
    if (!kernel.supports(c.problem)) continue;
    const reference::Product expected = reference::eigen_grouped_gemm(c.host());
    for (int policy = 0; policy < kernel.policy_count; ++policy) {
      const auto got = run(backend, kernel, c, policy);
      if (!got) return {got.error().message};
      for (std::size_t at = 0; at < got->size(); ++at) {
        if ((*got)[at] == static_cast<float>(expected.y[at])) continue;
        failures.push_back(fmt::format("{}: element {} is {}, exactly {}", describe_case(c.problem, kernel, policy), at,
                                       (*got)[at], expected.y[at]));
        break;
      }
    }
  }
  return failures;
}

// All tokens on one expert (more than any row tile), every token on its own, and experts without tokens.
Failures follows_uneven_routing(const Backend& backend, const GroupedKernel& kernel) {
  Failures failures;
  Random random(47);
  const Shape shape{6, 140, 1, 21, 96, 16, false, false};
  std::vector<std::int32_t> ids(140, 4);
  const auto check = [&] {
    const GroupedCase c = make_case(shape, Data::gaussian, OutputType::bf16, ids, random);
    if (kernel.supports(c.problem)) compare_with_reference(backend, kernel, c, failures);
  };
  check();
  std::fill(ids.begin(), ids.begin() + 3, 0);
  check();
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i % 6);
  check();
  return failures;
}

// Ids out of range, as they come from a broken router: the entry or block is skipped, nothing else changes.
Failures skips_bad_ids(const Backend& backend, const GroupedKernel& kernel) {
  Failures failures;
  Random random(53);
  const Shape shape{4, 12, 2, 20, 96, 4, true, false};
  const auto ids = random_topk_ids(shape.tokens, shape.top_k, shape.experts, random);
  const GroupedCase good = make_case(shape, Data::gaussian, OutputType::bf16, ids, random);
  if (!kernel.supports(good.problem)) return {};
  constexpr std::int32_t lowest = std::numeric_limits<std::int32_t>::min();
  constexpr std::int32_t highest = std::numeric_limits<std::int32_t>::max();
  for (const std::int32_t bad : {-1, -5, lowest, highest, 24, 25, 1000}) {
    GroupedCase c = good;
    c.routing.sorted_token_ids[1] = bad;
    compare_with_reference(backend, kernel, c, failures);
  }
  for (const std::int32_t bad : {-1, lowest, highest, 4, 5}) {
    GroupedCase c = good;
    c.routing.expert_ids[1] = bad;
    compare_with_reference(backend, kernel, c, failures);
  }
  for (const std::int32_t used : {0, 4, 8, highest, -4, lowest}) {
    GroupedCase c = good;
    c.routing.num_tokens_post_padded = used;
    compare_with_reference(backend, kernel, c, failures);
  }
  return failures;
}

Failures propagates_nan(const Backend& backend, const GroupedKernel& kernel) {
  Failures failures;
  Random random(59);
  const Shape shape{4, 6, 2, 20, 96, 4, true, true};
  const auto ids = random_topk_ids(shape.tokens, shape.top_k, shape.experts, random);
  const GroupedCase good = make_case(shape, Data::gaussian, OutputType::bf16, ids, random);
  if (!kernel.supports(good.problem)) return {};
  GroupedCase c = good;
  c.a.mx.scales()[4] = E8M0{255};  // token 1
  compare_with_reference(backend, kernel, c, failures);
  c = good;
  c.b[static_cast<std::size_t>(ids[0])].values()[96 * 7 + 40] = E4M3{0xFF};  // column 7 of one expert
  compare_with_reference(backend, kernel, c, failures);
  c = good;
  c.b[static_cast<std::size_t>(ids[1])].scales()[3 * 19 + 2] = E8M0{255};
  compare_with_reference(backend, kernel, c, failures);

  // A gate or an up projection that is NaN must get past the limits; of a sum it makes one element NaN.
  Shape gated = shape;
  gated.epilogue = Epilogue::swiglu;
  gated.swiglu = swiglu_oai;
  Shape summed = shape;
  summed.up_projection = false;
  summed.epilogue = Epilogue::topk_sum;
  for (const Shape& s : {gated, summed}) {
    const GroupedCase fused = make_case(s, Data::gaussian, OutputType::bf16, ids, random);
    if (!kernel.supports(fused.problem)) continue;
    for (const Index row : {8, 9}) {
      c = fused;
      c.b[static_cast<std::size_t>(ids[0])].values()[96 * row + 40] = E4M3{0xFF};
      compare_with_reference(backend, kernel, c, failures);
    }
  }
  return failures;
}

// A slot's row depends on its own row of A and its expert alone: the same token in batches of any size.
Failures keeps_its_determinism(const Backend& backend, const GroupedKernel& kernel) {
  Failures failures;
  Random random(61);
  const Shape full{4, 90, 1, 19, 224, 16, false, false};
  const std::vector<std::int32_t> ids(90, 2);
  const GroupedCase all = make_case(full, Data::gaussian, OutputType::f32, ids, random);
  if (!kernel.supports(all.problem)) return {};
  const auto wanted = run(backend, kernel, all);
  if (!wanted) return {wanted.error().message};
  for (int repeat = 0; kernel.determinism >= Determinism::run_to_run && repeat < 20; ++repeat) {
    const auto again = run(backend, kernel, all);
    if (!again) return {again.error().message};
    if (std::memcmp(wanted->data(), again->data(), wanted->size() * sizeof(float)) != 0) {
      failures.push_back(to_string(all.problem) + ": two runs differ");
      break;
    }
  }
  for (Index tokens = 1; kernel.determinism >= Determinism::batch_invariant && tokens < 90; tokens += 1 + tokens / 5) {
    GroupedCase some = all;
    some.routing = *build_routing(std::span(ids).first(static_cast<std::size_t>(tokens)), full.experts, full.block_m);
    some.problem.slots = tokens;
    some.problem.padded_slots = static_cast<Index>(some.routing.sorted_token_ids.size());
    const auto got = run(backend, kernel, some);
    if (!got) return {got.error().message};
    if (std::memcmp(wanted->data(), got->data(), got->size() * sizeof(float)) != 0) {
      failures.push_back(fmt::format("{}: rows differ from those of a larger batch", to_string(some.problem)));
    }
  }
  // Of a sum, whichever work finishes last.
  const Shape shape{8, 30, 4, 19, 224, 4, false, true, Epilogue::topk_sum};
  const auto summed_ids = random_topk_ids(shape.tokens, shape.top_k, shape.experts, random);
  const GroupedCase summed = make_case(shape, Data::gaussian, OutputType::f32, summed_ids, random);
  if (!kernel.supports(summed.problem)) return failures;
  const auto first = run(backend, kernel, summed);
  if (!first) return {first.error().message};
  for (int repeat = 0; kernel.determinism >= Determinism::run_to_run && repeat < 20; ++repeat) {
    const auto again = run(backend, kernel, summed);
    if (!again) return {again.error().message};
    if (std::memcmp(first->data(), again->data(), first->size() * sizeof(float)) != 0) {
      failures.push_back(to_string(summed.problem) + ": two runs differ");
      break;
    }
  }
  return failures;
}

Failures quantizes_activations_like_the_framework(const Backend& backend, const GroupedKernel& kernel) {
  Failures failures;
  Random random(67);
  // The second has all tokens at one expert: more than a kernel that expects an even routing has room for at once.
  const Shape even{4, 6, 2, 20, 96, 4, true, false};
  const Shape uneven{4, 33, 1, 5, 352, 16, false, true};
  const auto even_ids = random_topk_ids(even.tokens, even.top_k, even.experts, random);
  const std::vector<std::int32_t> uneven_ids(33, 2);
  for (const ActivationFormat format : {ActivationFormat::bf16, ActivationFormat::f32}) {
    for (const bool is_even : {true, false}) {
      GroupedCase c = make_case(is_even ? even : uneven, Data::gaussian, OutputType::f32,
                                is_even ? even_ids : uneven_ids, random, format);
      const GroupedProblem raw = c.problem;
      GroupedProblem mx = raw;
      mx.activation = ActivationFormat::mx;
      if (!kernel.supports(raw)) continue;
      for (int policy = 0; policy < kernel.policy_count; ++policy) {
        c.problem = raw;
        c.a.format = format;
        const auto got = run(backend, kernel, c, policy);
        c.problem = mx;
        c.a.format = ActivationFormat::mx;
        const auto wanted = run(backend, kernel, c, policy);
        if (!got || !wanted) return {(got ? wanted : got).error().message};
        if (std::memcmp(got->data(), wanted->data(), got->size() * sizeof(float)) != 0) {
          failures.push_back(describe_case(raw, kernel, policy) +
                             ": differs from the same call with quantize_mx's operands");
        }
      }
    }
  }
  return failures;
}

Failures refuses_misuse(const Backend& backend, const GroupedKernel& kernel) {
  Failures failures;
  Random random(71);
  const Shape shape{4, 6, 2, 20, 96, 4, true, true};
  const auto ids = random_topk_ids(shape.tokens, shape.top_k, shape.experts, random);
  const GroupedCase good = make_case(shape, Data::gaussian, OutputType::bf16, ids, random);
  if (!kernel.supports(good.problem)) return {};
  const auto expect = [&](std::string_view what, std::string_view part, const GroupedCase& c) {
    const auto done = run(backend, kernel, c);
    if (done || done.error().message.find(part) == std::string::npos) {
      failures.push_back(
          fmt::format("{}: '{}' instead of an error with '{}'", what, done ? "accepted" : done.error().message, part));
    }
  };
  GroupedCase c = good;
  c.b.pop_back();
  expect("an expert too few", "3 experts", c);
  c = good;
  c.slot_weights.pop_back();
  expect("a slot weight too few", "a weight for each slot", c);
  c = good;
  c.routing.expert_ids.pop_back();
  expect("an expert id too few", "expert ids given", c);
  c = good;
  c.problem.activation = ActivationFormat::f32;
  expect("another format", "activations are mx", c);
  const auto null_routing = kernel.run(good.problem, GroupedOperandsRef{}, 0, {}, Stream{});
  if (null_routing || null_routing.error().message.find("routing pointer is null") == std::string::npos) {
    failures.emplace_back("a null routing was accepted");
  }
  return failures;
}

}  // namespace

std::span<const Check<GroupedProblem>> grouped_checks() {
  static constexpr std::array checks{
      Check<GroupedProblem>{"AcceptsSomething", accepts_something},
      Check<GroupedProblem>{"MatchesReference", matches_reference},
      Check<GroupedProblem>{"TakesEachScaleFromItsBlock", takes_each_scale_from_its_block},
      Check<GroupedProblem>{"DecodesEveryCode", decodes_every_code},
      Check<GroupedProblem>{"AppliesEpilogues", applies_epilogues},
      Check<GroupedProblem>{"SumsWhatIsHere", sums_what_is_here},
      Check<GroupedProblem>{"IsExactOnDyadicData", is_exact_on_dyadic_data},
      Check<GroupedProblem>{"FollowsUnevenRouting", follows_uneven_routing},
      Check<GroupedProblem>{"SkipsBadIds", skips_bad_ids},
      Check<GroupedProblem>{"PropagatesNan", propagates_nan},
      Check<GroupedProblem>{"KeepsItsDeterminism", keeps_its_determinism},
      Check<GroupedProblem>{"QuantizesActivationsLikeTheFramework", quantizes_activations_like_the_framework},
      Check<GroupedProblem>{"RefusesMisuse", refuses_misuse},
  };
  return checks;
}

}  // namespace millet::conformance
