// SPDX-License-Identifier: Apache-2.0
#include "run/plan.hpp"

#include <algorithm>
#include <regex>
#include <utility>

#include "near_names.hpp"

namespace millet {

namespace {

// What the case has in common for all backends.
RecordCase common_subject(const RunOptions& options, const ShapeCases& shape, Index m) {
  RecordCase subject;
  subject.preset = shape.preset;
  subject.m = m;
  subject.activation = to_string(options.operands.activation);
  subject.output = to_string(options.operands.output);
  subject.scale_mode = to_string(options.operands.scale_mode);
  subject.protocol = to_string(options.protocol);
  subject.seed = options.operands.seed;
  return subject;
}

template <class P>
Expected<void> choose(const RunOptions& options, const BackendSession& session, const P& problem, Entrant<P>& entrant) {
  SelectOptions select_options;
  select_options.forced_kernel = options.kernel;
  select_options.forced_policy = options.policy;
  select_options.tuned = &session.tuned;
  select_options = with_environment(select_options);
  auto selection = select(*session.backend, session.device, problem, select_options);
  if (!selection) {
    if (!select_options.forced_kernel.empty()) return fail(std::move(selection));
    entrant.decline = std::move(selection).error().message;
    return {};
  }
  entrant.choice.selection = *std::move(selection);
  return {};
}

// What a search is over: the default choice first, then the other policies of the kernels that accept.
template <class P>
std::vector<Selection<P>> candidates(const BackendSession& session, const P& problem, const std::regex& wanted) {
  std::vector<Selection<P>> found;
  const auto choice = select(*session.backend, session.device, problem);
  if (!choice) return found;
  found.push_back({choice->kernel, choice->policy, Chosen::forced, nullptr, {}});
  for (const KernelFor<P>& kernel : session.backend->template kernels<P>()) {
    if (!std::regex_search(std::string(kernel.id), wanted) || !kernel.supports(problem)) continue;
    for (int policy = 0; policy < kernel.policy_count; ++policy) {
      if (&kernel == choice->kernel && policy == choice->policy) continue;
      found.push_back({&kernel, policy, Chosen::forced, nullptr, {}});
    }
  }
  return found;
}

Expected<std::regex> kernel_expression(const SearchSpace& space, const std::vector<BackendSession>& backends) {
  std::regex expression;
  try {
    expression = std::regex(space.kernels);
  } catch (const std::regex_error& error) {
    return fail(ErrorCode::invalid_argument, "--kernel: '{}' is no regular expression: {}", space.kernels,
                error.what());
  }
  std::vector<std::string> ids;
  for (const BackendSession& session : backends) {
    for (const GemmKernel& kernel : session.backend->gemm_kernels) ids.emplace_back(kernel.id);
    for (const GroupedKernel& kernel : session.backend->grouped_kernels) ids.emplace_back(kernel.id);
  }
  if (std::any_of(ids.begin(), ids.end(), [&](const std::string& id) { return std::regex_search(id, expression); })) {
    return expression;
  }
  return tl::unexpected(unknown_name("kernel", space.kernels, ids));
}

class Planner {
 public:
  Planner(const RunOptions& options, const std::vector<BackendSession>& backends,
          const std::vector<const BackendSession*>& baselines, std::set<std::string> done)
      : options_(options), backends_(backends), baselines_(baselines), done_(std::move(done)) {}

  // Fills in who computes `planned`; whether anybody is left to do so.
  template <class P>
  Expected<bool> enter(PlannedCase<P>& planned, const RecordCase& common) {
    planned.id = problem_id(common);
    ids_.push_back(planned.id);
    for (const BackendSession& session : backends_) {
      std::vector<Entrant<P>> together;
      if (options_.search) {
        for (Selection<P>& candidate : candidates(session, planned.problem, search_)) {
          together.emplace_back().choice.selection = std::move(candidate);
        }
      }
      if (together.empty()) {
        Entrant<P>& entrant = together.emplace_back();
        if (auto chosen = choose(options_, session, planned.problem, entrant); !chosen) return fail(std::move(chosen));
      }
      for (Entrant<P>& entrant : together) {
        entrant.choice.session = &session;
        entrant.subject = common;
        describe(session, entrant);
      }
      const auto is_done = [&](const Entrant<P>& entrant) { return done_.contains(entrant.id); };
      if (std::all_of(together.begin(), together.end(), is_done)) {
        plan_.resumed += together.size();
      } else if (!planned_.insert(together.front().id).second) {
        plan_.repeated += together.size();
      } else {
        std::move(together.begin(), together.end(), std::back_inserter(planned.entrants));
      }
    }
    if (planned.entrants.empty()) return false;
    for (const BackendSession* session : baselines_) {
      SelectOptions select_options;  // a forced kernel is the contestant's, not the baseline's
      select_options.tuned = &session->tuned;
      auto selection = select(*session->backend, session->device, planned.problem, select_options);
      if (selection) planned.baseline_kernels.push_back({session, *std::move(selection)});
    }
    ++plan_.cases;
    return true;
  }

  // What a record says about the kernel that was chosen.
  template <class P>
  static void describe(const BackendSession& session, Entrant<P>& entrant) {
    RecordCase& subject = entrant.subject;
    subject.backend = session.backend->name;
    subject.execution_space = session.device.runtime;
    subject.threads = session.threads();
    if (const auto* kernel = entrant.choice.selection.kernel; kernel != nullptr) {
      subject.kernel = kernel->id;
      subject.policy = kernel->policy_name(entrant.choice.selection.policy);
      subject.chosen = to_string(entrant.choice.selection.how);
      subject.weight_layout = kernel->weight_layout->name();
    }
    entrant.id = case_id(subject);
  }

  Expected<void> add_dense(const ShapeCases& cases, const DenseShape& shape, PlannedShape& planned_shape) {
    const WeightSource& source = cases.weights;
    const auto fingerprint = source.fingerprint ? std::optional(source.fingerprint()) : std::nullopt;
    for (const Index m : shape.m) {
      DenseCase planned;
      planned.name = case_name(cases, m);
      planned.m = m;
      auto problem = make_gemm_problem(m, shape.n, shape.k, options_.operands.activation, options_.operands.output);
      if (!problem) return fail(std::move(problem));
      planned.problem = *problem;
      RecordCase subject = common_subject(options_, cases, m);
      subject.label = shape.label;
      subject.tp = shape.tp;
      subject.n = shape.n;
      subject.k = shape.k;
      subject.weights = fingerprint;
      if (source.stored_mx) subject.scale_mode = "stored";
      auto entered = enter(planned, subject);
      if (!entered) return fail(std::move(entered));
      if (*entered) planned_shape.dense.push_back(std::move(planned));
    }
    return {};
  }

  Expected<void> add_grouped(const ShapeCases& cases, const MoeShape& shape, PlannedShape& planned_shape) {
    for (const Index tokens : shape.m) {
      GroupedCase planned;
      planned.name = case_name(cases, tokens);
      planned.m = tokens;
      auto routed = route_tokens(shape, tokens, options_.operands);
      if (!routed) return fail(std::move(routed));
      planned.routed = *std::move(routed);
      planned.problem = planned.routed.logical;
      RecordCase subject = common_subject(options_, cases, tokens);
      subject.operation = "grouped";
      subject.label = shape.label;
      subject.tp = shape.tp;
      subject.n = shape.n;
      subject.k = shape.k;
      subject.experts = shape.experts;
      subject.slots = planned.problem.slots;
      subject.a_div = shape.a_div;
      subject.block_m = shape.block_m;
      subject.weighted = shape.weighted;
      if (shape.epilogue != "none") subject.epilogue = shape.epilogue;
      auto entered = enter(planned, subject);
      if (!entered) return fail(std::move(entered));
      if (*entered) planned_shape.grouped.push_back(std::move(planned));
    }
    return {};
  }

  Expected<Plan> plan() {
    if (options_.search) {
      auto expression = kernel_expression(*options_.search, backends_);
      if (!expression) return fail(std::move(expression));
      search_ = *std::move(expression);
    }
    for (const ShapeCases& cases : options_.shapes) {
      PlannedShape planned;
      planned.shape = &cases;
      const auto* dense = std::get_if<DenseShape>(&cases.shape);
      auto added = dense != nullptr ? add_dense(cases, *dense, planned)
                                    : add_grouped(cases, std::get<MoeShape>(cases.shape), planned);
      if (!added) return fail(std::move(added));
      if (!planned.dense.empty() || !planned.grouped.empty()) plan_.shapes.push_back(std::move(planned));
    }
    if (options_.shard) keep_shard(shard_of(ids_, *options_.shard));
    return std::move(plan_);
  }

 private:
  void keep_shard(const std::set<std::string>& mine) {
    const auto elsewhere = [&](const auto& planned) { return !mine.contains(planned.id); };
    for (PlannedShape& shape : plan_.shapes) {
      plan_.elsewhere += std::erase_if(shape.dense, elsewhere) + std::erase_if(shape.grouped, elsewhere);
    }
    std::erase_if(plan_.shapes, [](const PlannedShape& shape) { return shape.dense.empty() && shape.grouped.empty(); });
    plan_.cases -= plan_.elsewhere;
  }

  const RunOptions& options_;
  const std::vector<BackendSession>& backends_;
  const std::vector<const BackendSession*>& baselines_;
  const std::set<std::string> done_;
  std::regex search_;
  std::vector<std::string> ids_;  // of all problems
  std::set<std::string> planned_;
  Plan plan_;
};

}  // namespace

std::string problem_id(const RecordCase& subject) {
  RecordCase problem = subject;
  for (std::string* text : {&problem.weight_layout, &problem.backend, &problem.kernel, &problem.policy, &problem.chosen,
                            &problem.execution_space}) {
    text->clear();
  }
  problem.threads = 0;
  return case_id(problem);
}

Expected<Plan> make_plan(const RunOptions& options, const std::vector<BackendSession>& backends,
                         const std::vector<const BackendSession*>& baselines, std::set<std::string> done) {
  return Planner(options, backends, baselines, std::move(done)).plan();
}

}  // namespace millet
