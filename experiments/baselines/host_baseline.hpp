// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "baselines/baseline_product.hpp"
#include "millet/device/host_info.hpp"
#include "millet/dispatch/host_operands.hpp"
#include "millet/measure/sampler.hpp"

namespace millet {

/// The libraries of the host that can be timed beside kernels, in this build or not.
[[nodiscard]] const std::vector<std::string>& host_baseline_names();

/// The code of one baseline, loaded at run time.
struct HostBaseline {
  std::string name;
  const BaselineProduct* product = nullptr;

  /// Loads the library of `name` from the folder of the running program, or from where it was built. eigen_f32 is
  /// compiled for several instruction sets; `isa` says for which. Errors: unavailable, with the loader's own words,
  /// with what to install for a baseline that this build does not have, or where the library has no product for this
  /// CPU.
  [[nodiscard]] static Expected<HostBaseline> load(std::string_view name, HostIsa isa = host_isa());

  /// For tables: "eigen_f32 (avx2, 1 thread)".
  [[nodiscard]] std::string title(Index threads) const;
};

/// Weights as a baseline wants them, in 2 MB pages where the system grants them: `copies` times the matrices of the
/// experts in use, behind each other. Copies of this object share them.
struct BaselineWeights {
  std::shared_ptr<std::byte> data;
  Index copies = 0;
  Index copy_bytes = 0;
};

/// Weights that are the same for every m, kept from one m to the next by the name of their baseline.
using BaselineWeightCache = std::map<std::string, BaselineWeights>;

/// A product by a baseline that can be run, looked at and timed. Copies share the operands.
///
/// Of a grouped product, the rows of each expert that the routing names are gathered, multiplied and scattered.
class HostBaselineRun {
 public:
  /// Decodes the activations. \param threads  as many as the kernels that it is compared with use
  /// Errors: unavailable, with the library's own words, where it cannot compute this product; unsupported when a value
  /// is no number of the baseline's type.
  [[nodiscard]] static Expected<HostBaselineRun> make(const HostBaseline& baseline, const HostGemm& operands,
                                                      Index threads);
  [[nodiscard]] static Expected<HostBaselineRun> make(const HostBaseline& baseline, const HostGrouped& operands,
                                                      Index threads);

  /// Bytes of one copy of the weights.
  [[nodiscard]] Index copy_bytes() const noexcept;

  /// Decodes the weights and packs them, exactly. \param kept  where weights that are the same for every m are looked
  /// for and left; null: nowhere
  /// Errors: unavailable, naming the size, without enough memory; unsupported when a weight is no number of the
  /// baseline's type.
  [[nodiscard]] Expected<void> prepare(Index copies, BaselineWeightCache* kept);

  /// After prepare(). Errors: unavailable when the library fails.
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
