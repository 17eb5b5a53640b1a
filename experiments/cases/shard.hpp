// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <vector>

namespace millet {

/// One of `count` parts of the cases, for runs that share them: numbers from 1.
struct Shard {
  std::size_t number = 1;
  std::size_t count = 1;
};

/// Which of `ids`, in any order and with repetitions, belong to a shard: of the distinct ones in ascending order every
/// count-th, so that every id is in exactly one shard, shards differ by one id at most, and order does not matter.
[[nodiscard]] std::set<std::string> shard_of(const std::vector<std::string>& ids, const Shard& shard);

}  // namespace millet
