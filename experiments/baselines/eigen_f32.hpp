// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "baselines/eigen_f32_product.hpp"
#include "millet/device/host_info.hpp"
#include "millet/dispatch/host_operands.hpp"
#include "millet/measure/sampler.hpp"

namespace millet {

/// The code of Eigen's f32 product for one instruction set.
struct EigenF32 {
  EigenF32Product product = nullptr;
  HostIsa isa = HostIsa::baseline;

  /// Loads the library for `isa` from the folder of the running program, or from where it was built.
  /// Errors: unavailable, with the loader's own words.
  [[nodiscard]] static Expected<EigenF32> load(HostIsa isa);

  /// For tables: "eigen_f32 (avx2, 1 thread)".
  [[nodiscard]] std::string title(Index threads) const;
};

/// Weights decoded to f32 before anything is timed, in 2 MB pages where the system grants them: `copies` times the
/// matrices [n, k] of `experts`, behind each other.
class DecodedWeights {
 public:
  /// Errors: unavailable, naming the size, when there is not enough memory.
  [[nodiscard]] static Expected<DecodedWeights> make(const std::vector<const MxMatrix<>*>& experts, Index copies);

  [[nodiscard]] const float* matrix(Index copy, Index expert) const noexcept {
    return data_.get() + (copy * experts_ + expert) * n_ * k_;
  }
  [[nodiscard]] Index copies() const noexcept { return copies_; }
  [[nodiscard]] Index n() const noexcept { return n_; }
  [[nodiscard]] Index k() const noexcept { return k_; }
  /// Bytes of one copy.
  [[nodiscard]] Index copy_bytes() const noexcept { return experts_ * n_ * k_ * Index{sizeof(float)}; }

 private:
  std::shared_ptr<float> data_;
  Index copies_ = 0, experts_ = 0, n_ = 0, k_ = 0;
};

/// A product by Eigen that can be run, looked at and timed. Copies share the operands.
class EigenF32Run {
 public:
  /// C = A * B^T. \param threads  as many as the kernels that it is compared with use
  [[nodiscard]] static EigenF32Run dense(const EigenF32& code, const HostGemm& operands, DecodedWeights weights,
                                         Index threads);

  /// The grouped product: for each expert that the routing names, its rows are gathered, multiplied and scattered.
  /// \param weights  of those experts only, in ascending order
  [[nodiscard]] static EigenF32Run grouped(const EigenF32& code, const HostGrouped& operands, DecodedWeights weights,
                                           Index threads);

  /// Errors: unavailable when more than one thread is wanted of a library without threads.
  [[nodiscard]] Expected<void> run(Index copy) const;

  /// C [rows, n] after a run; rows that nobody wrote hold 0.
  [[nodiscard]] const std::vector<float>& output() const noexcept;

  /// One batch for each copy of the weights, timed by the host's clock.
  [[nodiscard]] Contender contender(std::string name, CacheState cache) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// The experts that `operands`'s routing names, in ascending order.
[[nodiscard]] std::vector<Index> experts_in_use(const HostGrouped& operands);

}  // namespace millet
