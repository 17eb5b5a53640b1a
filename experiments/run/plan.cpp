// SPDX-License-Identifier: Apache-2.0
#include "run/plan.hpp"

#include <utility>

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

class Planner {
 public:
  Planner(const RunOptions& options, const std::vector<BackendSession>& backends,
          const std::vector<const BackendSession*>& baselines, std::set<std::string> done)
      : options_(options), backends_(backends), baselines_(baselines), done_(std::move(done)) {}

  // Fills in who computes `planned`; whether anybody is left to do so.
  template <class P>
  Expected<bool> enter(PlannedCase<P>& planned, const RecordCase& common) {
    for (const BackendSession& session : backends_) {
      Entrant<P> entrant;
      entrant.choice.session = &session;
      if (auto chosen = choose(options_, session, planned.problem, entrant); !chosen) return fail(std::move(chosen));
      entrant.subject = common;
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
      if (done_.contains(entrant.id)) {
        ++plan_.resumed;
      } else if (!planned_.insert(entrant.id).second) {
        ++plan_.repeated;
      } else {
        planned.entrants.push_back(std::move(entrant));
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
      auto entered = enter(planned, subject);
      if (!entered) return fail(std::move(entered));
      if (*entered) planned_shape.grouped.push_back(std::move(planned));
    }
    return {};
  }

  Expected<Plan> plan() {
    for (const ShapeCases& cases : options_.shapes) {
      PlannedShape planned;
      planned.shape = &cases;
      const auto* dense = std::get_if<DenseShape>(&cases.shape);
      auto added = dense != nullptr ? add_dense(cases, *dense, planned)
                                    : add_grouped(cases, std::get<MoeShape>(cases.shape), planned);
      if (!added) return fail(std::move(added));
      if (!planned.dense.empty() || !planned.grouped.empty()) plan_.shapes.push_back(std::move(planned));
    }
    return std::move(plan_);
  }

 private:
  const RunOptions& options_;
  const std::vector<BackendSession>& backends_;
  const std::vector<const BackendSession*>& baselines_;
  const std::set<std::string> done_;
  std::set<std::string> planned_;
  Plan plan_;
};

}  // namespace

Expected<Plan> make_plan(const RunOptions& options, const std::vector<BackendSession>& backends,
                         const std::vector<const BackendSession*>& baselines, std::set<std::string> done) {
  return Planner(options, backends, baselines, std::move(done)).plan();
}

}  // namespace millet
