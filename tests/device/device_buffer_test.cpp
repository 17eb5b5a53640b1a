// SPDX-License-Identifier: Apache-2.0
#include "millet/device/device_buffer.hpp"

#include <gtest/gtest.h>

#include <type_traits>
#include <utility>
#include <vector>

namespace millet {
namespace {

std::vector<void*> released;

void release(void* data) noexcept { released.push_back(data); }

class DeviceBufferTest : public testing::Test {
 protected:
  DeviceBufferTest() { released.clear(); }

  char memory[2] = {};
  void* const first = &memory[0];
  void* const second = &memory[1];
};

TEST_F(DeviceBufferTest, ReleasesItsMemoryOnce) {
  {
    const DeviceBuffer buffer(first, 100, release);
    EXPECT_EQ(buffer.data(), first);
    EXPECT_EQ(buffer.bytes(), 100);
    EXPECT_TRUE(released.empty());
  }
  EXPECT_EQ(released, std::vector{first});
}

TEST_F(DeviceBufferTest, AnEmptyOneReleasesNothing) {
  {
    const DeviceBuffer empty;
    EXPECT_EQ(empty.data(), nullptr);
    EXPECT_EQ(empty.bytes(), 0);
    const DeviceBuffer borrowed(first, 100, nullptr);
  }
  EXPECT_TRUE(released.empty());
}

TEST_F(DeviceBufferTest, MovesItsMemory) {
  {
    DeviceBuffer from(first, 100, release);
    const DeviceBuffer to = std::move(from);
    EXPECT_EQ(to.data(), first);
    EXPECT_EQ(to.bytes(), 100);
    EXPECT_EQ(from.data(), nullptr);
    EXPECT_EQ(from.bytes(), 0);
  }
  EXPECT_EQ(released, std::vector{first});
}

TEST_F(DeviceBufferTest, MoveAssignmentReleasesBothMemoriesOnce) {
  {
    DeviceBuffer to(first, 100, release);
    {
      DeviceBuffer from(second, 200, release);
      to = std::move(from);
      EXPECT_EQ(to.data(), second);
      EXPECT_EQ(to.bytes(), 200);
    }
    EXPECT_EQ(released, std::vector{first});  // not later than the end of the source
  }
  EXPECT_EQ(released, (std::vector{first, second}));
}

TEST_F(DeviceBufferTest, AssigningATemporaryFreesTheOldMemoryAtOnce) {
  DeviceBuffer buffer(first, 100, release);
  buffer = DeviceBuffer(second, 200, release);
  EXPECT_EQ(released, std::vector{first});
  buffer = DeviceBuffer();
  EXPECT_EQ(released, (std::vector{first, second}));
  EXPECT_EQ(buffer.data(), nullptr);
}

TEST_F(DeviceBufferTest, SelfMoveKeepsTheMemory) {
  {
    DeviceBuffer buffer(first, 100, release);
    DeviceBuffer& same = buffer;
    buffer = std::move(same);
    EXPECT_EQ(buffer.data(), first);
    EXPECT_EQ(buffer.bytes(), 100);
    EXPECT_TRUE(released.empty());
  }
  EXPECT_EQ(released, std::vector{first});
}

TEST_F(DeviceBufferTest, IsNotCopied) {
  static_assert(!std::is_copy_constructible_v<DeviceBuffer> && !std::is_copy_assignable_v<DeviceBuffer>);
  static_assert(std::is_nothrow_move_constructible_v<DeviceBuffer> && std::is_nothrow_move_assignable_v<DeviceBuffer>);
}

}  // namespace
}  // namespace millet
