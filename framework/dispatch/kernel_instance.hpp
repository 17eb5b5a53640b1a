// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "millet/dispatch/backend.hpp"
#include "millet/dispatch/host_operands.hpp"

namespace millet {

/// Weights packed into one layout, all experts behind each other, in host memory.
struct PackedWeights {
  const LayoutDescriptor* layout = nullptr;
  std::vector<E4M3> values;
  std::vector<E8M0> scales;
};
[[nodiscard]] PackedWeights pack_weights(const LayoutDescriptor& layout, std::span<const MxMatrix<>> experts);

/// A kernel with its operands in device memory, ready to run: what tests check, drivers time and users copy.
///
/// The weights may be uploaded several times; run() takes the copy to use. Rotating over copies that together pass
/// twice the last-level cache keeps the weights cold.
template <class P>
class KernelInstance {
 public:
  /// \param weight_copies  at least 1
  /// Errors: those of the backend's allocate and copy; invalid_argument when the operands do not fit the problem;
  /// in checked mode (MILLET_CHECK=1 in the environment) those of validate_routing.
  [[nodiscard]] static Expected<KernelInstance> create(const Backend& backend, const KernelFor<P>& kernel, int policy,
                                                       const HostOperands<P>& operands, Index weight_copies = 1);

  /// Puts one call on the stream; `copy` chooses the weights (modulo their number).
  [[nodiscard]] Expected<void> run(Stream stream, Index copy = 0) const;

  /// A launch that outlives this object's scope: it shares the device memory.
  [[nodiscard]] Launch launch(Index copy) const;

  /// Routes the next calls of a grouped product otherwise, as every step of a decoder does; the workspace stays as the
  /// calls before left it. Errors: invalid_argument when the lengths differ from the problem's; in checked mode
  /// those of validate_routing.
  [[nodiscard]] Expected<void> reroute(const Routing& routing) const requires std::same_as<P, GroupedProblem>;

  /// Fills C with a byte, so that rows which nobody writes can be told (0xFF is NaN in bf16 and f32).
  [[nodiscard]] Expected<void> fill_output(std::byte value) const;

  /// Waits for the default stream and returns C contiguous, bf16 widened to f32.
  [[nodiscard]] Expected<std::vector<float>> output() const;

  /// Waits and returns the workspace's bytes, for tests that look at what a kernel leaves behind.
  [[nodiscard]] Expected<std::vector<std::byte>> workspace() const;

  [[nodiscard]] const P& problem() const noexcept;
  [[nodiscard]] const KernelFor<P>& kernel() const noexcept;
  [[nodiscard]] Index weight_copies() const noexcept;
  /// Bytes of one copy of the weights, as laid out on the device.
  [[nodiscard]] Index weight_bytes() const noexcept;

 private:
  struct State;
  explicit KernelInstance(std::shared_ptr<const State> state) : state_(std::move(state)) {}

  std::shared_ptr<const State> state_;
};

extern template class KernelInstance<GemmProblem>;
extern template class KernelInstance<GroupedProblem>;

}  // namespace millet
