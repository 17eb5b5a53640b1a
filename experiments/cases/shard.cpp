// SPDX-License-Identifier: Apache-2.0
#include "cases/shard.hpp"

namespace millet {

std::set<std::string> shard_of(const std::vector<std::string>& ids, const Shard& shard) {
  const std::set<std::string> distinct(ids.begin(), ids.end());
  std::set<std::string> mine;
  std::size_t rank = 0;
  for (const std::string& id : distinct) {
    if (rank++ % shard.count == shard.number - 1) mine.insert(id);
  }
  return mine;
}

}  // namespace millet
