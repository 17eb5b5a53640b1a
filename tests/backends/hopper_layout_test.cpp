// SPDX-License-Identifier: Apache-2.0
// The Hopper backend's index arithmetic that needs no GPU: where its layouts put each element, and what a lane reads.

#include <gtest/gtest.h>

#include "millet/backends/hopper/tiles/weight_strips.hpp"

namespace millet::hopper {
namespace {

TEST(HopperStripValues, ALaneReadsTwoWordsOfTwoRows) {
  const StripValues order(48, 96);
  for (Index strip = 0; strip < 3; ++strip) {
    for (Index block = 0; block < 3; ++block) {
      for (Index lane = 0; lane < 32; ++lane) {
        for (Index byte = 0; byte < 16; ++byte) {
          const Index offset = (strip * 3 + block) * 512 + lane * 16 + byte;
          const Index word = byte / 4;
          const Index row = strip * 16 + lane / 4 + word % 2 * 8;
          const Index k = block * 32 + word / 2 * 16 + lane % 4 * 4 + byte % 4;
          EXPECT_EQ(order(row, k), offset)
              << "strip " << strip << " block " << block << " lane " << lane << " byte " << byte;
        }
      }
    }
  }
}

TEST(HopperStripScales, ALaneReadsFourBlocksOfTwoRows) {
  const StripScales order(32, 10);  // a partial group of blocks at the end
  for (Index strip = 0; strip < 2; ++strip) {
    for (Index block = 0; block < 10; ++block) {
      for (Index row = 0; row < 16; ++row) {
        const Index offset = (strip * 3 + block / 4) * 64 + row % 8 * 8 + row / 8 * 4 + block % 4;
        EXPECT_EQ(order(strip * 16 + row, block), offset) << "strip " << strip << " block " << block << " row " << row;
      }
    }
  }
  EXPECT_EQ(order.required_span_size(), 2 * 3 * 64);
}

}  // namespace
}  // namespace millet::hopper
