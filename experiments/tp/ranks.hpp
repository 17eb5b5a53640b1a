// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "millet/error/expected.hpp"
#include "millet/layout/mapping.hpp"

namespace millet {

/// The processes of one run, and what they exchange. MPI must be initialized; every member is collective. A failure of
/// MPI itself ends all processes, as is MPI's default.
class Ranks {
 public:
  Ranks() noexcept;

  [[nodiscard]] Index rank() const noexcept { return rank_; }
  [[nodiscard]] Index size() const noexcept { return size_; }

  /// Waits until every rank has come here.
  void barrier() const;

  /// The same verdict on every rank: `mine` if all succeeded, else the error of the lowest rank that did not.
  [[nodiscard]] Expected<void> agree(const Expected<void>& mine) const;

  /// Sends parts[r] to rank r and returns what the ranks sent here, by rank. Errors: invalid_argument on every rank
  /// when the bytes of one pass 2^31 - 1, the most that MPI's counts can say.
  [[nodiscard]] Expected<std::vector<std::vector<std::byte>>> exchange(
      const std::vector<std::vector<std::byte>>& parts) const;

  /// Everybody's `mine`, by rank. Errors: as exchange().
  [[nodiscard]] Expected<std::vector<std::vector<std::byte>>> gather_all(std::span<const std::byte> mine) const;

 private:
  Index rank_ = 0;
  Index size_ = 1;
};

}  // namespace millet
