// SPDX-License-Identifier: Apache-2.0
// MILLET_DIGITS comes from the command line. Digits that skip or repeat positions would map two elements to one offset.
#include "millet/layout/fragment_order.hpp"

using namespace millet;

Index tile_size() { return FragmentOrder<MILLET_DIGITS>::tile_size; }
