// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "millet/error/expected.hpp"

namespace millet {

/// A child process that answers each line on its standard input with one line on its standard output.
///
/// It leads a process group of its own, so that an interrupt from the keyboard reaches the parent alone, and everything
/// that it started ends with it. Its standard error is kept in a file without a name.
class LineProcess {
 public:
  /// \param command  for /bin/sh
  /// Errors: io_error when the system refuses. A command that does not exist shows at the first exchange.
  [[nodiscard]] static Expected<std::unique_ptr<LineProcess>> start(const std::string& command);

  /// Closes its input, which tells it to end, and kills it where it has not done so within two seconds.
  ~LineProcess();
  LineProcess(const LineProcess&) = delete;
  LineProcess& operator=(const LineProcess&) = delete;

  /// Sends a line and waits for the answer, which comes without its line end.
  /// Errors: io_error, with what became of the process and the last line of its standard error: it ended, did not
  /// answer within `limit` seconds, or wrote more than a mebibyte without a line end. In each case it is killed.
  [[nodiscard]] Expected<std::string> exchange(std::string_view line, double limit);

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };

  LineProcess() = default;
  void kill_group() noexcept;
  /// How it ended; waits for that, and after two seconds makes it end.
  [[nodiscard]] std::string ending();
  /// "; its last words: ..." or nothing.
  [[nodiscard]] std::string last_words() const;

  pid_t pid_ = -1;
  int socket_ = -1;
  std::string unread_;
  std::unique_ptr<std::FILE, CloseFile> errors_;
};

}  // namespace millet
