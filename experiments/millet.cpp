// SPDX-License-Identifier: Apache-2.0
#include <Kokkos_Core.hpp>

#include "subcommands.hpp"

// The portable backend's memory lives in Kokkos, so Kokkos must outlive everything that the command line starts. Its
// own options come from the environment (KOKKOS_NUM_THREADS and others): the command line belongs to the subcommands.
int main(int argc, char** argv) {
  const Kokkos::ScopeGuard kokkos;
  return millet::run_command_line(argc, argv);
}
