// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/gfx950/tiles/ceilings_body.hpp"

extern "C" __attribute__((global, amdgpu_flat_work_group_size(256, 256))) void read_streaming(
    const millet::gfx950::ReadArguments x) {
  millet::gfx950::read_streaming(x);
}
extern "C" __attribute__((global, amdgpu_flat_work_group_size(256, 256))) void mfma_peak(
    const millet::gfx950::PeakArguments x) {
  millet::gfx950::mfma_peak(x);
}
