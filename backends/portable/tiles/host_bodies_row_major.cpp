// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/portable/tiles/host_body_levels.hpp"

namespace millet::portable {

template const HostBodies<RowMajorWeights::View>& host_bodies<RowMajorWeights::View>(HostIsa isa) noexcept;

}  // namespace millet::portable
