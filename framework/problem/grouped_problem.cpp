// SPDX-License-Identifier: Apache-2.0
#include "millet/problem/grouped_problem.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "millet/problem/extent_checks.hpp"

namespace millet {

namespace {
constexpr Index max_id = std::numeric_limits<std::int32_t>::max();

Expected<void> check_epilogue(std::string_view where, const GroupedProblem& p) {
  if (p.epilogue == Epilogue::swiglu) {
    if (p.n % 2 != 0) {
      return fail(ErrorCode::invalid_problem, "{}: swiglu pairs gate and up rows, n must be even, got {}", where, p.n);
    }
    const Swiglu& s = p.swiglu;
    if (!std::isfinite(s.alpha) || !std::isfinite(s.up_offset) || !(s.limit > 0)) {
      return fail(ErrorCode::invalid_problem,
                  "{}: swiglu needs a finite alpha and up_offset and a limit above 0, got alpha={} limit={} "
                  "up_offset={}",
                  where, s.alpha, s.limit, s.up_offset);
    }
  }
  if (p.epilogue == Epilogue::topk_sum && p.slots % p.top_k != 0) {
    return fail(ErrorCode::invalid_problem, "{}: topk_sum needs a multiple of top_k={} slots, got {}", where, p.top_k,
                p.slots);
  }
  return {};
}

}  // namespace

std::optional<Epilogue> parse_epilogue(std::string_view name) noexcept {
  for (const Epilogue epilogue : {Epilogue::none, Epilogue::swiglu, Epilogue::topk_sum}) {
    if (name == to_string(epilogue)) return epilogue;
  }
  return std::nullopt;
}

std::string to_string(const GroupedProblem& problem) {
  std::string text = fmt::format("e={} slots={} n={} k={} a_div={}", problem.experts, problem.slots, problem.n,
                                 problem.k, problem.a_div);
  if (problem.weighted) text += " weighted";
  if (problem.epilogue == Epilogue::swiglu) {
    text += " swiglu";
    if (const Swiglu& s = problem.swiglu; s != Swiglu{})
      text += fmt::format("({}, {}, {})", s.alpha, s.limit, s.up_offset);
  }
  if (problem.epilogue == Epilogue::topk_sum) text += fmt::format(" topk_sum({})", problem.top_k);
  if (problem.activation != ActivationFormat::mx) text += fmt::format(" a={}", to_string(problem.activation));
  if (problem.output != OutputType::bf16) text += fmt::format(" c={}", to_string(problem.output));
  return text;
}

Expected<GroupedProblem> make_grouped_problem(GroupedProblem p) {
  constexpr std::string_view where = "GroupedProblem";
  if (auto checked = check_extents(where, {{"experts", p.experts},
                                           {"slots", p.slots},
                                           {"n", p.n},
                                           {"k", p.k},
                                           {"a_div", p.a_div},
                                           {"block_m", p.block_m},
                                           {"padded_slots", p.padded_slots},
                                           {"top_k", p.top_k}});
      !checked) {
    return fail(std::move(checked));
  }
  if (auto checked = check_scale_blocks(where, p.k); !checked) return fail(std::move(checked));
  if (p.padded_slots % p.block_m != 0) {
    return fail(ErrorCode::invalid_problem, "{}: padded_slots must be a multiple of block_m={}, got {}", where,
                p.block_m, p.padded_slots);
  }
  if (p.experts > max_id || p.slots >= max_id || p.padded_slots > max_id) {
    return fail(ErrorCode::invalid_problem,
                "{}: routing ids are 32-bit, got experts={} slots={} padded_slots={}; split the batch", where,
                p.experts, p.slots, p.padded_slots);
  }
  // 4 bytes is the widest element of any operand.
  for (const auto& factors :
       {std::initializer_list<Index>{p.experts, p.n, p.k, 4}, {p.slots, p.k, 4}, {p.slots, p.n, 4}}) {
    if (auto checked = check_addressable(where, factors); !checked) return fail(std::move(checked));
  }
  if (auto checked = check_epilogue(where, p); !checked) return fail(std::move(checked));
  return p;
}

Expected<Routing> build_routing(std::span<const std::int32_t> topk_ids, Index experts, Index block_m) {
  const auto slots = static_cast<Index>(topk_ids.size());
  if (auto checked = check_extents("build_routing", {{"slots", slots}, {"experts", experts}, {"block_m", block_m}});
      !checked) {
    return fail(std::move(checked));
  }
  // Every expert may need up to block_m - 1 padding entries. The first comparisons keep the product below from
  // wrapping.
  if (slots >= max_id || experts > max_id || block_m > max_id ||
      slots + std::min(slots, experts) * (block_m - 1) > max_id) {
    return fail(
        ErrorCode::invalid_problem,
        "build_routing: {} slots, {} experts and block_m={} need more entries than 32-bit ids name; split the batch",
        slots, experts, block_m);
  }
  std::vector<Index> counts(static_cast<std::size_t>(experts), 0);
  for (Index slot = 0; slot < slots; ++slot) {
    const Index expert = topk_ids[slot];
    if (expert < 0 || expert >= experts) {
      return fail(ErrorCode::invalid_routing, "build_routing: topk_ids[{}]={} is outside [0, {}); drop or remap the id",
                  slot, expert, experts);
    }
    ++counts[expert];
  }
  Routing routing;
  std::vector<Index> next(counts.size(), 0);  // where each expert's next slot goes
  Index total = 0;
  for (Index expert = 0; expert < experts; ++expert) {
    next[expert] = total;
    const Index blocks = tiles_to_cover(counts[expert], block_m);
    routing.expert_ids.insert(routing.expert_ids.end(), blocks, static_cast<std::int32_t>(expert));
    total += blocks * block_m;
  }
  routing.sorted_token_ids.assign(static_cast<std::size_t>(total), static_cast<std::int32_t>(slots));
  routing.num_tokens_post_padded = static_cast<std::int32_t>(total);
  for (Index slot = 0; slot < slots; ++slot) {
    routing.sorted_token_ids[next[topk_ids[slot]]++] = static_cast<std::int32_t>(slot);
  }
  return routing;
}

Index touched_experts(const Routing& routing, const GroupedProblem& problem) {
  std::vector<bool> touched(static_cast<std::size_t>(problem.experts), false);
  const Index entries = std::min<Index>(routing.num_tokens_post_padded, problem.padded_slots);
  const Index blocks_in_use = std::min(entries / problem.block_m, static_cast<Index>(routing.expert_ids.size()));
  for (Index block = 0; block < blocks_in_use; ++block) {
    const Index expert = routing.expert_ids[block];
    if (expert >= 0 && expert < problem.experts) touched[expert] = true;
  }
  return std::count(touched.begin(), touched.end(), true);
}

Expected<void> validate_routing(const GroupedProblem& problem, const Routing& routing) {
  const auto entries = static_cast<Index>(routing.sorted_token_ids.size());
  const auto blocks = static_cast<Index>(routing.expert_ids.size());
  if (entries != problem.padded_slots || blocks != problem.blocks()) {
    return fail(ErrorCode::invalid_routing, "Routing: {} slot ids and {} expert ids given, the problem needs {} and {}",
                entries, blocks, problem.padded_slots, problem.blocks());
  }
  const Index used = routing.num_tokens_post_padded;
  if (used < 0 || used > entries) {
    return fail(ErrorCode::invalid_routing,
                "Routing: num_tokens_post_padded={} is outside [0, {}], the length of the ids", used, entries);
  }
  if (used % problem.block_m != 0) {
    return fail(ErrorCode::invalid_routing, "Routing: num_tokens_post_padded={} is not a multiple of block_m={}", used,
                problem.block_m);
  }
  for (Index block = 0; block < used / problem.block_m; ++block) {
    const Index expert = routing.expert_ids[block];
    if (expert < 0 || expert >= problem.experts) {
      return fail(ErrorCode::invalid_routing, "Routing: expert_ids[{}]={} is outside [0, {})", block, expert,
                  problem.experts);
    }
  }
  std::vector<bool> seen(static_cast<std::size_t>(problem.slots), false);
  for (Index entry = 0; entry < used; ++entry) {
    const Index slot = routing.sorted_token_ids[entry];
    if (slot < 0 || slot > problem.slots) {
      return fail(ErrorCode::invalid_routing, "Routing: sorted_token_ids[{}]={} is outside [0, {}] ({} pads)", entry,
                  slot, problem.slots, problem.slots);
    }
    if (slot == problem.slots) continue;
    if (seen[slot]) {
      return fail(ErrorCode::invalid_routing, "Routing: slot {} appears twice, the second time at sorted_token_ids[{}]",
                  slot, entry);
    }
    seen[slot] = true;
  }
  return {};
}

}  // namespace millet
