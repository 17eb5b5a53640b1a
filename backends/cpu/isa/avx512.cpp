// SPDX-License-Identifier: Apache-2.0
// AVX-512 as every processor with it has it.
#include "millet/backends/cpu/isa/avx512_lanes.hpp"

namespace millet::cpu {

namespace {

struct Avx512 : Avx512Lanes<Avx512> {};

}  // namespace

const StripKernels& avx512_kernels() noexcept { return kernels_of<Avx512>; }

}  // namespace millet::cpu
