// SPDX-License-Identifier: Apache-2.0
#include "tp/ranks.hpp"

#include <mpi.h>

#include <algorithm>
#include <limits>
#include <string>

namespace millet {

namespace {

// Sizes and places of the parts of a message, as MPI wants them.
struct Layout {
  std::vector<int> counts;
  std::vector<int> places;
  Index total = 0;

  explicit Layout(const std::vector<Index>& sizes) {
    for (const Index size : sizes) {
      counts.push_back(static_cast<int>(size));
      places.push_back(static_cast<int>(total));
      total += size;
    }
  }
};

std::vector<std::vector<std::byte>> split(const std::vector<std::byte>& bytes, const Layout& layout) {
  std::vector<std::vector<std::byte>> parts;
  for (std::size_t i = 0; i < layout.counts.size(); ++i) {
    const auto begin = bytes.begin() + layout.places[i];
    parts.emplace_back(begin, begin + layout.counts[i]);
  }
  return parts;
}

}  // namespace

Ranks::Ranks() noexcept {
  int rank = 0;
  int size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  rank_ = rank;
  size_ = size;
}

void Ranks::barrier() const { MPI_Barrier(MPI_COMM_WORLD); }

Expected<void> Ranks::agree(const Expected<void>& mine) const {
  const int failed = mine ? static_cast<int>(size_) : static_cast<int>(rank_);
  int first = 0;
  MPI_Allreduce(&failed, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  if (first == static_cast<int>(size_)) return {};
  std::string message = mine ? "" : mine.error().message;
  int head[2] = {mine ? 0 : static_cast<int>(mine.error().code), static_cast<int>(message.size())};
  MPI_Bcast(head, 2, MPI_INT, first, MPI_COMM_WORLD);
  message.resize(static_cast<std::size_t>(head[1]));
  MPI_Bcast(message.data(), head[1], MPI_CHAR, first, MPI_COMM_WORLD);
  return fail(static_cast<ErrorCode>(head[0]), "rank {}: {}", first, message);
}

Expected<std::vector<std::vector<std::byte>>> Ranks::exchange(const std::vector<std::vector<std::byte>>& parts) const {
  std::vector<Index> sizes;
  for (const auto& part : parts) sizes.push_back(static_cast<Index>(part.size()));
  std::vector<Index> incoming(parts.size());
  static_assert(sizeof(Index) == sizeof(std::int64_t));
  MPI_Alltoall(sizes.data(), 1, MPI_INT64_T, incoming.data(), 1, MPI_INT64_T, MPI_COMM_WORLD);
  Index most = 0;
  for (const auto* list : {&sizes, &incoming}) {
    Index total = 0;
    for (const Index size : *list) total += size;
    most = std::max(most, total);
  }
  Expected<void> fits;
  if (most > std::numeric_limits<int>::max()) {
    fits = fail(ErrorCode::invalid_argument, "{} bytes in one exchange; use smaller extents or more ranks", most);
  }
  if (auto all = agree(fits); !all) return fail(std::move(all));
  const Layout out(sizes);
  const Layout in(incoming);
  std::vector<std::byte> sent;
  for (const auto& part : parts) sent.insert(sent.end(), part.begin(), part.end());
  std::vector<std::byte> received(static_cast<std::size_t>(in.total));
  MPI_Alltoallv(sent.data(), out.counts.data(), out.places.data(), MPI_BYTE, received.data(), in.counts.data(),
                in.places.data(), MPI_BYTE, MPI_COMM_WORLD);
  return split(received, in);
}

Expected<std::vector<std::vector<std::byte>>> Ranks::gather_all(std::span<const std::byte> mine) const {
  const auto size = static_cast<Index>(mine.size());
  std::vector<Index> incoming(static_cast<std::size_t>(size_));
  MPI_Allgather(&size, 1, MPI_INT64_T, incoming.data(), 1, MPI_INT64_T, MPI_COMM_WORLD);
  Index total = 0;
  for (const Index one : incoming) total += one;
  if (total > std::numeric_limits<int>::max()) {  // the same on every rank
    return fail(ErrorCode::invalid_argument, "{} bytes in one exchange; use smaller extents", total);
  }
  const Layout in(incoming);
  std::vector<std::byte> received(static_cast<std::size_t>(in.total));
  MPI_Allgatherv(mine.data(), static_cast<int>(size), MPI_BYTE, received.data(), in.counts.data(), in.places.data(),
                 MPI_BYTE, MPI_COMM_WORLD);
  return split(received, in);
}

}  // namespace millet
