// SPDX-License-Identifier: Apache-2.0
#include "millet/dispatch/kernel_instance.hpp"

#include <cstdlib>
#include <string_view>

namespace millet {

Expected<HostActivations> make_activations(ActivationFormat format, std::span<const float> x, Index rows, Index k) {
  HostActivations result;
  result.format = format;
  std::vector<float> rounded;
  if (format == ActivationFormat::bf16) {
    rounded.reserve(x.size());
    for (const float value : x) {
      result.bf16.push_back(BF16::round(value));
      rounded.push_back(result.bf16.back().value());
    }
    x = rounded;
  } else if (format == ActivationFormat::f32) {
    result.f32.assign(x.begin(), x.end());
  }
  auto mx = quantize_mx(x, rows, k);
  if (!mx) return fail(std::move(mx));
  result.mx = *std::move(mx);
  return result;
}

PackedWeights pack_weights(const LayoutDescriptor& layout, std::span<const MxMatrix<>> experts) {
  PackedWeights packed;
  packed.layout = &layout;
  if (experts.empty()) return packed;
  const Index rows = experts.front().rows();
  const Index cols = experts.front().cols();
  const Index values = layout.value_count(rows, cols);
  const Index scales = layout.scale_count(rows, cols);
  packed.values.assign(experts.size() * static_cast<std::size_t>(values), E4M3{0});
  packed.scales.assign(experts.size() * static_cast<std::size_t>(scales), E8M0{0});
  for (std::size_t expert = 0; expert < experts.size(); ++expert) {
    layout.pack(experts[expert].view(), packed.values.data() + static_cast<Index>(expert) * values,
                packed.scales.data() + static_cast<Index>(expert) * scales);
  }
  return packed;
}

template <class P>
struct KernelInstance<P>::State {
  const Backend* backend;
  const KernelFor<P>* kernel;
  int policy;
  P problem;
  DeviceBuffer a_values, a_scales, output, workspace;
  DeviceBuffer token_ids, expert_ids, tokens_post_padded, slot_weights;
  std::vector<DeviceBuffer> b_values, b_scales;
  typename KernelFor<P>::OperandsRef operands;  // with the weights of copy 0
  Index output_rows;
  Index output_cols;
};

namespace {

template <class T>
Expected<DeviceBuffer> upload(const Backend& backend, std::span<const T> data) {
  const auto bytes = static_cast<Index>(data.size_bytes());
  auto buffer = backend.allocate(bytes);
  if (!buffer) return buffer;
  if (auto copied = backend.copy_to_device(buffer->data(), data.data(), bytes, Stream{}); !copied) {
    return fail(std::move(copied));
  }
  return buffer;
}

// Moves an Expected's value into a place, or returns its error from the enclosing function.
#define MILLET_ASSIGN_OR_RETURN(place, expression)             \
  do {                                                         \
    auto millet_result = (expression);                         \
    if (!millet_result) return fail(std::move(millet_result)); \
    place = *std::move(millet_result);                         \
  } while (false)

template <class State>
Expected<void> upload_activations(const Backend& backend, const HostActivations& a, ActivationFormat wanted, Index rows,
                                  Index k, State& state) {
  if (a.format != wanted || a.mx.rows() < rows || a.mx.cols() != k) {
    return fail(ErrorCode::invalid_argument,
                "KernelInstance: activations are {} [{}, {}], the problem needs {} with at least {} rows of {}",
                to_string(a.format), a.mx.rows(), a.mx.cols(), to_string(wanted), rows, k);
  }
  Activations& ref = state.operands.a;
  ref.format = wanted;
  ref.value_stride = k;
  const auto elements = static_cast<std::size_t>(rows * k);
  switch (wanted) {
    case ActivationFormat::mx:
      MILLET_ASSIGN_OR_RETURN(state.a_values, upload(backend, std::span<const E4M3>(a.mx.values()).first(elements)));
      MILLET_ASSIGN_OR_RETURN(state.a_scales,
                              upload(backend, std::span<const E8M0>(a.mx.scales()).first(elements / MxBlock::k)));
      ref.scales = static_cast<const E8M0*>(state.a_scales.data());
      ref.scale_stride = MxBlock::count(k);
      break;
    case ActivationFormat::bf16:
      MILLET_ASSIGN_OR_RETURN(state.a_values, upload(backend, std::span<const BF16>(a.bf16).first(elements)));
      break;
    case ActivationFormat::f32:
      MILLET_ASSIGN_OR_RETURN(state.a_values, upload(backend, std::span<const float>(a.f32).first(elements)));
      break;
  }
  ref.values = state.a_values.data();
  return {};
}

template <class State>
Expected<void> upload_weights(const Backend& backend, const LayoutDescriptor& layout,
                              std::span<const MxMatrix<>> experts, Index n, Index k, Index copies, State& state) {
  for (const MxMatrix<>& expert : experts) {
    if (expert.rows() != n || expert.cols() != k) {
      return fail(ErrorCode::invalid_argument, "KernelInstance: weights are [{}, {}], the problem needs [{}, {}]",
                  expert.rows(), expert.cols(), n, k);
    }
  }
  if (copies < 1)
    return fail(ErrorCode::invalid_argument, "KernelInstance: weight_copies must be at least 1, got {}", copies);
  const PackedWeights packed = pack_weights(layout, experts);
  for (Index copy = 0; copy < copies; ++copy) {
    MILLET_ASSIGN_OR_RETURN(state.b_values.emplace_back(), upload(backend, std::span<const E4M3>(packed.values)));
    MILLET_ASSIGN_OR_RETURN(state.b_scales.emplace_back(), upload(backend, std::span<const E8M0>(packed.scales)));
  }
  state.operands.b = {&layout, static_cast<const E4M3*>(state.b_values.front().data()),
                      static_cast<const E8M0*>(state.b_scales.front().data()), static_cast<Index>(packed.values.size()),
                      static_cast<Index>(packed.scales.size())};
  return {};
}

template <class State>
Expected<void> upload_operands(const Backend& backend, const LayoutDescriptor& layout, const HostGemm& host,
                               Index copies, State& state) {
  const GemmProblem& p = host.problem;
  state.output_rows = p.m;
  state.output_cols = p.n;
  if (auto done = upload_activations(backend, *host.a, p.activation, p.m, p.k, state); !done) return done;
  return upload_weights(backend, layout, {host.b, 1}, p.n, p.k, copies, state);
}

Expected<void> validate_in_checked_mode(const GroupedProblem& problem, const Routing& routing) {
  const char* check = std::getenv("MILLET_CHECK");
  if (check == nullptr || std::string_view(check) != "1") return {};
  return validate_routing(problem, routing);
}

template <class State>
Expected<void> upload_operands(const Backend& backend, const LayoutDescriptor& layout, const HostGrouped& host,
                               Index copies, State& state) {
  const GroupedProblem& p = host.problem;
  if (auto valid = validate_in_checked_mode(p, *host.routing); !valid) return valid;
  if (static_cast<Index>(host.routing->sorted_token_ids.size()) < p.padded_slots ||
      static_cast<Index>(host.routing->expert_ids.size()) < p.blocks() ||
      static_cast<Index>(host.b->size()) != p.experts ||
      (p.weighted && (host.slot_weights == nullptr || static_cast<Index>(host.slot_weights->size()) < p.slots))) {
    return fail(ErrorCode::invalid_argument,
                "KernelInstance: {} experts, {} slot ids and {} expert ids given, the problem needs {}, {} and {}{}",
                host.b->size(), host.routing->sorted_token_ids.size(), host.routing->expert_ids.size(), p.experts,
                p.padded_slots, p.blocks(), p.weighted ? ", and a weight for each slot" : "");
  }
  state.output_rows = p.c_rows();
  state.output_cols = p.c_cols();
  if (auto done = upload_activations(backend, *host.a, p.activation, p.a_rows(), p.k, state); !done) return done;
  if (auto done = upload_weights(backend, layout, *host.b, p.n, p.k, copies, state); !done) return done;
  const Routing& routing = *host.routing;
  using Ids = std::span<const std::int32_t>;
  MILLET_ASSIGN_OR_RETURN(state.token_ids, upload(backend, Ids(routing.sorted_token_ids)));
  MILLET_ASSIGN_OR_RETURN(state.expert_ids, upload(backend, Ids(routing.expert_ids)));
  MILLET_ASSIGN_OR_RETURN(state.tokens_post_padded, upload(backend, Ids(&routing.num_tokens_post_padded, 1)));
  RoutingView& view = state.operands.routing;
  view.sorted_token_ids = static_cast<const std::int32_t*>(state.token_ids.data());
  view.expert_ids = static_cast<const std::int32_t*>(state.expert_ids.data());
  view.num_tokens_post_padded = static_cast<const std::int32_t*>(state.tokens_post_padded.data());
  if (p.weighted) {
    MILLET_ASSIGN_OR_RETURN(state.slot_weights, upload(backend, std::span<const float>(*host.slot_weights)));
    view.slot_weights = static_cast<const float*>(state.slot_weights.data());
  }
  return {};
}

}  // namespace

template <class P>
Expected<KernelInstance<P>> KernelInstance<P>::create(const Backend& backend, const KernelFor<P>& kernel, int policy,
                                                      const HostOperands<P>& operands, Index weight_copies) {
  if (policy < 0 || policy >= kernel.policy_count) {
    return fail(ErrorCode::invalid_argument, "{}: policy {} is outside [0, {})", kernel.id, policy,
                kernel.policy_count);
  }
  auto state = std::make_shared<State>();
  state->backend = &backend;
  state->kernel = &kernel;
  state->policy = policy;
  state->problem = operands.problem;
  if (auto done = upload_operands(backend, *kernel.weight_layout, operands, weight_copies, *state); !done) {
    return fail(std::move(done));
  }
  const P& p = state->problem;
  MILLET_ASSIGN_OR_RETURN(state->output,
                          backend.allocate(state->output_rows * state->output_cols * bytes_per_element(p.output)));
  state->operands.c = {state->output.data(), state->output_cols};
  if (const Index bytes = kernel.workspace_bytes(p, policy); bytes > 0) {
    MILLET_ASSIGN_OR_RETURN(state->workspace, backend.allocate(bytes));
  }
  return KernelInstance(std::move(state));
}

template <class P>
Expected<void> KernelInstance<P>::run(Stream stream, Index copy) const {
  const State& s = *state_;
  auto operands = s.operands;
  const auto chosen = static_cast<std::size_t>(copy % weight_copies());
  operands.b.values = static_cast<const E4M3*>(s.b_values[chosen].data());
  operands.b.scales = static_cast<const E8M0*>(s.b_scales[chosen].data());
  return s.kernel->run(s.problem, operands, s.policy, {s.workspace.data(), s.workspace.bytes()}, stream);
}

template <class P>
Launch KernelInstance<P>::launch(Index copy) const {
  return [self = *this, copy](Stream stream) { return self.run(stream, copy); };
}

template <class P>
Expected<void> KernelInstance<P>::reroute(const Routing& routing) const requires std::same_as<P, GroupedProblem> {
  const State& s = *state_;
  if (auto valid = validate_in_checked_mode(s.problem, routing); !valid) return valid;
  const auto ids = static_cast<Index>(routing.sorted_token_ids.size());
  const auto experts = static_cast<Index>(routing.expert_ids.size());
  if (ids != s.problem.padded_slots || experts != s.problem.blocks()) {
    return fail(ErrorCode::invalid_argument,
                "KernelInstance: {} slot ids and {} expert ids given to reroute, the problem has {} and {}", ids,
                experts, s.problem.padded_slots, s.problem.blocks());
  }
  const auto copy = [&](const DeviceBuffer& to, std::span<const std::int32_t> from) {
    return s.backend->copy_to_device(to.data(), from.data(), static_cast<Index>(from.size_bytes()), Stream{});
  };
  if (auto done = copy(s.token_ids, routing.sorted_token_ids); !done) return done;
  if (auto done = copy(s.expert_ids, routing.expert_ids); !done) return done;
  if (auto done = copy(s.tokens_post_padded, {&routing.num_tokens_post_padded, 1}); !done) return done;
  return s.backend->synchronize(Stream{});
}

template <class P>
Expected<void> KernelInstance<P>::fill_output(std::byte value) const {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state_->output.bytes()), value);
  if (auto copied =
          state_->backend->copy_to_device(state_->output.data(), bytes.data(), state_->output.bytes(), Stream{});
      !copied) {
    return copied;
  }
  return state_->backend->synchronize(Stream{});
}

template <class P>
Expected<std::vector<float>> KernelInstance<P>::output() const {
  const State& s = *state_;
  const auto count = static_cast<std::size_t>(s.output_rows * s.output_cols);
  std::vector<float> result(count);
  std::vector<BF16> narrow(s.problem.output == OutputType::bf16 ? count : 0);
  void* const target = narrow.empty() ? static_cast<void*>(result.data()) : narrow.data();
  if (auto copied = s.backend->copy_to_host(target, s.output.data(), s.output.bytes(), Stream{}); !copied) {
    return fail(std::move(copied));
  }
  if (auto done = s.backend->synchronize(Stream{}); !done) return fail(std::move(done));
  for (std::size_t i = 0; i < narrow.size(); ++i) result[i] = narrow[i].value();
  return result;
}

template <class P>
Expected<std::vector<std::byte>> KernelInstance<P>::workspace() const {
  std::vector<std::byte> result(static_cast<std::size_t>(state_->workspace.bytes()));
  if (result.empty()) return result;
  if (auto copied =
          state_->backend->copy_to_host(result.data(), state_->workspace.data(), state_->workspace.bytes(), Stream{});
      !copied) {
    return fail(std::move(copied));
  }
  if (auto done = state_->backend->synchronize(Stream{}); !done) return fail(std::move(done));
  return result;
}

template <class P>
const P& KernelInstance<P>::problem() const noexcept {
  return state_->problem;
}
template <class P>
const KernelFor<P>& KernelInstance<P>::kernel() const noexcept {
  return *state_->kernel;
}
template <class P>
Index KernelInstance<P>::weight_copies() const noexcept {
  return static_cast<Index>(state_->b_values.size());
}
template <class P>
Index KernelInstance<P>::weight_bytes() const noexcept {
  return state_->b_values.front().bytes() + state_->b_scales.front().bytes();
}

template class KernelInstance<GemmProblem>;
template class KernelInstance<GroupedProblem>;

}  // namespace millet
