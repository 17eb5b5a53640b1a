// SPDX-License-Identifier: Apache-2.0
#include "millet/backends/portable/tiles/host_body_levels.hpp"

namespace millet::portable {

template const HostBodies<StripWeights::View>& host_bodies<StripWeights::View>(HostIsa isa) noexcept;

}  // namespace millet::portable
