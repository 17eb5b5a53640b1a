// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace millet {

/// What kind of mistake an Error reports; callers branch on it, people read the message.
enum class ErrorCode {
  invalid_problem,   ///< extents that no kernel can compute
  invalid_layout,    ///< an operand in another layout, or with other extents, than the callee wants
  invalid_routing,   ///< MoE routing metadata out of range
  invalid_argument,  ///< a null, misaligned, aliasing or too small buffer, or an option value out of range
  unknown_name,      ///< no backend, kernel, preset or tensor of that name
  unsupported,       ///< a valid request that nothing here implements; the message says why
  unavailable,       ///< the device, driver or package is not present
  parse_error,       ///< malformed input text or file
  io_error,          ///< the operating system refused to read or write
  device_error,      ///< the device or its driver reported a failure; the message has its own words
  incorrect_result,  ///< a kernel's output is outside its error bound
};

/// The name of `code` as it stands in the source, for records and messages.
[[nodiscard]] constexpr std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_problem:
      return "invalid_problem";
    case ErrorCode::invalid_layout:
      return "invalid_layout";
    case ErrorCode::invalid_routing:
      return "invalid_routing";
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::unknown_name:
      return "unknown_name";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::unavailable:
      return "unavailable";
    case ErrorCode::parse_error:
      return "parse_error";
    case ErrorCode::io_error:
      return "io_error";
    case ErrorCode::device_error:
      return "device_error";
    case ErrorCode::incorrect_result:
      return "incorrect_result";
  }
  return "unknown_error_code";
}

/// One line that names the place, the offending value and the remedy:
/// "GemmProblem: k must be a multiple of 32, got k=100; zero-pad A and B to k=128".
struct Error {
  ErrorCode code;
  std::string message;
};

template <class T>
using Expected = tl::expected<T, Error>;

/// Builds the failure side of an Expected from a format string.
template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> text, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(text, std::forward<Args>(args)...)});
}

/// Passes the failure of one Expected on as the failure of another.
template <class T>
[[nodiscard]] tl::unexpected<Error> fail(Expected<T>&& failed) {
  return tl::unexpected<Error>(std::move(failed).error());
}

}  // namespace millet
