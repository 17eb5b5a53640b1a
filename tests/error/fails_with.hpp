// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string_view>

#include "millet/error/expected.hpp"

namespace millet {

/// Whether `result` failed with `code` and a message that contains each of `parts`.
template <class T>
[[nodiscard]] testing::AssertionResult fails_with(const Expected<T>& result, ErrorCode code,
                                                  std::initializer_list<std::string_view> parts) {
  if (result) return testing::AssertionFailure() << "no error; wanted " << to_string(code);
  const Error& error = result.error();
  if (error.code != code) {
    return testing::AssertionFailure() << to_string(error.code) << " instead of " << to_string(code) << ": "
                                       << error.message;
  }
  for (const std::string_view part : parts) {
    if (error.message.find(part) == std::string::npos) {
      return testing::AssertionFailure() << "'" << error.message << "' does not contain '" << part << "'";
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace millet
