// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace Kokkos {
bool is_stand_in();
}
