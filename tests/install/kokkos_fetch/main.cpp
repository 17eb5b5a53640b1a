// SPDX-License-Identifier: Apache-2.0
#include <Kokkos_Core.hpp>

int main() { return Kokkos::is_stand_in() ? 0 : 1; }
