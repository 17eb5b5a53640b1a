// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "millet/error/expected.hpp"

namespace millet {

/// What the program tells its caller. Part of the command line's contract.
enum class ExitCode {
  ok = 0,
  failed = 1,       ///< the system refused something: no disk space, a device error
  usage = 2,        ///< a wrong option, name or input file, or nothing to do
  slower = 3,       ///< a comparison found a regression
  incorrect = 4,    ///< a kernel's output is outside its error bound
  unavailable = 5,  ///< a backend that was asked for by name cannot run here
  interrupted = 130,
};

/// The code that a failure of this kind ends the program with.
[[nodiscard]] constexpr ExitCode exit_code_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::unavailable:
      return ExitCode::unavailable;
    case ErrorCode::incorrect_result:
      return ExitCode::incorrect;
    case ErrorCode::device_error:
    case ErrorCode::io_error:
      return ExitCode::failed;
    default:
      return ExitCode::usage;
  }
}

inline constexpr const char* exit_code_help =
    "Exit codes: 0 ok, 1 input/output or device failure, 2 usage or no match, 3 slower, 4 incorrect result, "
    "5 requested backend unavailable, 130 interrupted.";

}  // namespace millet
