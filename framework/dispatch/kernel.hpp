// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <concepts>
#include <string>
#include <string_view>
#include <type_traits>

#include "millet/device/device_info.hpp"
#include "millet/dispatch/envelope.hpp"
#include "millet/dispatch/operands.hpp"

namespace millet {

/// What a kernel does and for how many rows it is made; the middle part of its id.
enum class Operation { gemv, gemm, grouped_gemv, grouped_gemm };

[[nodiscard]] constexpr std::string_view to_string(Operation operation) noexcept {
  switch (operation) {
    case Operation::gemv:
      return "gemv";
    case Operation::gemm:
      return "gemm";
    case Operation::grouped_gemv:
      return "grouped_gemv";
    case Operation::grouped_gemm:
      return "grouped_gemm";
  }
  return "unknown_operation";
}

/// Which runs of a kernel give the same bits; each level includes those before it.
enum class Determinism {
  none,              ///< the order of a sum may change (atomics)
  run_to_run,        ///< same inputs, same device, same settings
  thread_invariant,  ///< and any number of threads
  batch_invariant,   ///< and any number of other rows: a row of C depends on its row of A and on B alone
};

[[nodiscard]] constexpr std::string_view to_string(Determinism level) noexcept {
  switch (level) {
    case Determinism::none:
      return "none";
    case Determinism::run_to_run:
      return "run_to_run";
    case Determinism::thread_invariant:
      return "thread_invariant";
    case Determinism::batch_invariant:
      return "batch_invariant";
  }
  return "unknown_determinism";
}

/// How a kernel adds up: what the error bound needs to know.
struct Accumulator {
  double unit_roundoff;      ///< 2^-24 for f32
  Index promotion_interval;  ///< products added in this accumulator before it is promoted to f32; 0: it is f32 itself
};
inline constexpr Accumulator f32_accumulator{0x1p-24, 0};

template <class Problem, class Layout>
struct OperandsOf;
template <class Layout>
struct OperandsOf<GemmProblem, Layout> {
  using type = GemmOperands<Layout>;
  using Ref = GemmOperandsRef;
};
template <class Layout>
struct OperandsOf<GroupedProblem, Layout> {
  using type = GroupedOperands<Layout>;
  using Ref = GroupedOperandsRef;
};

template <class Problem>
inline constexpr bool is_problem = std::same_as<Problem, GemmProblem> || std::same_as<Problem, GroupedProblem>;

/// What a kernel file provides. run() is asynchronous on its stream, allocates nothing and does not synchronize.
template <class T>
concept Kernel = is_problem<typename T::Problem> &&
    requires(const typename T::Problem& p, const typename T::Policy& policy,
             const typename OperandsOf<typename T::Problem, typename T::Weights>::type& x) {
  { T::id } -> std::convertible_to<std::string_view>;  // "<backend>.<operation>_<engine>"
  { T::operation } -> std::convertible_to<Operation>;
  { T::determinism } -> std::convertible_to<Determinism>;
  { T::accumulator } -> std::convertible_to<Accumulator>;
  { T::weight_alignment } -> std::convertible_to<Index>;
  { T::policies[0] } -> std::convertible_to<const typename T::Policy&>;  // the default first
  { T::name(policy) } -> std::same_as<std::string>;
  { T::supports(p) }
  noexcept->std::same_as<Verdict>;
  { T::workspace_bytes(p, policy) }
  noexcept->std::same_as<Index>;
  { T::run(p, x, policy, Workspace{}, Stream{}) } -> std::same_as<Expected<void>>;
};

/// A kernel that can tell about how long it takes: seconds on `device`, for choosing where nothing was tuned; infinity
/// or NaN where it cannot tell.
template <class T>
concept HasCostModel = requires(const typename T::Problem& p, const typename T::Policy& policy,
                                const DeviceInfo& device) {
  { T::estimate_seconds(p, policy, device) }
  noexcept->std::same_as<double>;
};

/// A kernel as a value: printable, copyable, without templates above it. Policies are named by their index.
template <class P>
struct KernelFor {
  using Problem = P;
  using OperandsRef = typename OperandsOf<P, RowMajorWeights>::Ref;

  std::string_view id;
  Operation operation;
  Determinism determinism;
  Accumulator accumulator;
  const LayoutDescriptor* weight_layout;
  Index weight_alignment;  ///< bytes
  int policy_count;
  std::string (*policy_name)(int policy);
  Verdict (*supports)(const P&) noexcept;
  Index (*workspace_bytes)(const P&, int policy) noexcept;
  /// Null without a cost model.
  double (*estimate_seconds)(const P&, int policy, const DeviceInfo&) noexcept;
  /// Checks the operands (check_operands), then launches. Errors: those of the check; unsupported, with the reason,
  /// when the kernel declines the problem; invalid_argument for a policy outside [0, policy_count).
  Expected<void> (*run)(const P&, const OperandsRef&, int policy, Workspace, Stream);
};
using GemmKernel = KernelFor<GemmProblem>;
using GroupedKernel = KernelFor<GroupedProblem>;

namespace detail {

template <class Layout>
typename Layout::View typed_view(const WeightsRef& weights, Index rows, Index cols) noexcept {
  return {weights.values, weights.scales, LayoutFunctions<Layout>::values(rows, cols),
          LayoutFunctions<Layout>::scales(rows, cols)};
}

template <class Layout>
GemmOperands<Layout> typed_operands(const GemmProblem& p, const GemmOperandsRef& x) noexcept {
  return {x.a, typed_view<Layout>(x.b, p.n, p.k), x.c};
}
template <class Layout>
GroupedOperands<Layout> typed_operands(const GroupedProblem& p, const GroupedOperandsRef& x) noexcept {
  return {x.a,
          typed_view<Layout>(x.b, p.n, p.k),
          LayoutFunctions<Layout>::value_count(p.n, p.k),
          LayoutFunctions<Layout>::scale_count(p.n, p.k),
          x.routing,
          x.c};
}

template <Kernel K>
Expected<void> checked_run(const typename K::Problem& p,
                           const typename OperandsOf<typename K::Problem, typename K::Weights>::Ref& x, int policy,
                           Workspace workspace, Stream stream) {
  if (policy < 0 || policy >= static_cast<int>(std::size(K::policies))) {
    return fail(ErrorCode::invalid_argument, "{}: policy {} is outside [0, {})", K::id, policy, std::size(K::policies));
  }
  if (const Verdict verdict = K::supports(p); !verdict) {
    return fail(ErrorCode::unsupported, "{} declines {}: {}", K::id, to_string(p), verdict.reason);
  }
  const auto& chosen = K::policies[static_cast<std::size_t>(policy)];
  if (auto checked = check_operands(K::id, p, x, layout_descriptor<typename K::Weights>, K::weight_alignment, workspace,
                                    K::workspace_bytes(p, chosen));
      !checked) {
    return checked;
  }
  return K::run(p, typed_operands<typename K::Weights>(p, x), chosen, workspace, stream);
}

// "<backend>.<operation>_<engine>", the operation being K's.
constexpr bool id_names_operation(std::string_view id, Operation operation) noexcept {
  const auto dot = id.find('.');
  if (dot == std::string_view::npos || dot == 0) return false;
  const std::string_view rest = id.substr(dot + 1);
  const std::string_view name = to_string(operation);
  return rest.starts_with(name) && rest.size() > name.size() + 1 && rest[name.size()] == '_';
}

}  // namespace detail

/// The one step from a kernel's type to its value.
template <Kernel K>
[[nodiscard]] constexpr KernelFor<typename K::Problem> describe() noexcept {
  using P = typename K::Problem;
  static_assert(detail::id_names_operation(K::id, K::operation), "Kernel: id must be <backend>.<operation>_<engine>");
  KernelFor<P> kernel{};
  kernel.id = K::id;
  kernel.operation = K::operation;
  kernel.determinism = K::determinism;
  kernel.accumulator = K::accumulator;
  kernel.weight_layout = &layout_descriptor<typename K::Weights>;
  kernel.weight_alignment = K::weight_alignment;
  kernel.policy_count = static_cast<int>(std::size(K::policies));
  kernel.policy_name = [](int policy) { return K::name(K::policies[static_cast<std::size_t>(policy)]); };
  kernel.supports = [](const P& p) noexcept { return K::supports(p); };
  kernel.workspace_bytes = [](const P& p, int policy) noexcept {
    return K::workspace_bytes(p, K::policies[static_cast<std::size_t>(policy)]);
  };
  if constexpr (HasCostModel<K>) {
    kernel.estimate_seconds = [](const P& p, int policy, const DeviceInfo& device) noexcept {
      return K::estimate_seconds(p, K::policies[static_cast<std::size_t>(policy)], device);
    };
  }
  kernel.run = detail::checked_run<K>;
  return kernel;
}

}  // namespace millet
