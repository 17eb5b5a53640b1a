// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <ostream>

#include "backends/conformance.hpp"
#include "millet/dispatch/host_backend.hpp"

/// What the tests of the checks share: a backend for kernels that are wrong on purpose, and what it means to be caught.
namespace millet::conformance {

/// Host memory, with room behind each buffer for a kernel that writes too far; the caller adds kernels.
inline Backend faulty_backend() {
  Backend b = make_host_backend();
  b.name = "faulty";
  b.description = "kernels that are wrong on purpose";
  b.available = []() -> Expected<void> { return {}; };
  b.device_info = []() -> Expected<DeviceInfo> { return DeviceInfo{}; };
  b.allocate = [](Index bytes) -> Expected<DeviceBuffer> {
    return DeviceBuffer(std::calloc(1, static_cast<std::size_t>(bytes) + 64), bytes,
                        [](void* p) noexcept { std::free(p); });
  };
  return b;
}

/// A mistake of a kernel, and the check that is there for it.
template <class Fault>
struct Seeded {
  Fault fault;
  std::string_view name;
  std::string_view caught_by;
};

template <class Fault>
std::ostream& operator<<(std::ostream& out, const Seeded<Fault>& seeded) {
  return out << seeded.name;
}

/// Expects that the check finds something. \param check_with  runs a check on the kernel with a fault
template <class P, class Fault, class CheckWith>
void expect_caught(std::span<const Check<P>> checks, const Seeded<Fault>& seeded, CheckWith check_with) {
  const auto check =
      std::find_if(checks.begin(), checks.end(), [&](const Check<P>& c) { return c.name == seeded.caught_by; });
  ASSERT_NE(check, checks.end()) << seeded.caught_by;
  EXPECT_FALSE(check_with(seeded.fault, *check).empty()) << check->name << " does not notice " << seeded.name;
}

}  // namespace millet::conformance
