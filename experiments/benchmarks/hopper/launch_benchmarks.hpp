// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace millet {

/// Where the hopper backend can run: benchmarks "launch/..." of what an eager call costs the host, through the C++
/// entry and with selection before it, beside the driver's own launch of an empty kernel of the same geometry and
/// attributes. They end with an error if a recorded call is anything but one kernel.
void register_launch_benchmarks();

}  // namespace millet
