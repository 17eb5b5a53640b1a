// SPDX-License-Identifier: Apache-2.0
#include "run/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace millet {

namespace {

bool stderr_moves_its_cursor() noexcept {
  const char* const kind = std::getenv("TERM");
  return isatty(STDERR_FILENO) != 0 && (kind == nullptr || std::string_view(kind) != "dumb");
}

// A changing line must not wrap, or it could not be rewritten.
std::string fitted(std::string text) {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  const std::size_t columns = known ? size.ws_col - 1U : 79U;
  if (text.size() > columns) text.resize(columns);
  return text;
}

std::string minutes(double seconds) {
  if (seconds < 0) return "";
  const auto whole = static_cast<long>(seconds + 0.5);
  return fmt::format("  ETA {:02}:{:02}", whole / 60, whole % 60);
}

}  // namespace

Progress::Progress(std::size_t total, bool quiet) noexcept
    : total_(total), quiet_(quiet), terminal_(stderr_moves_its_cursor()) {}

void Progress::begin(const std::string& name, double eta_seconds) {
  name_ = name;
  if (quiet_ || !terminal_) return;
  fmt::print(stderr, "\r{}\x1b[K", fitted(fmt::format("[{}/{}] {}{}", done_ + 1, total_, name, minutes(eta_seconds))));
  std::fflush(stderr);
  shown_ = true;
}

void Progress::end(const std::string& outcome) {
  ++done_;
  if (quiet_) return;
  if (terminal_) {
    fmt::print(stderr, "\r{}\x1b[K", fitted(fmt::format("[{}/{}] {}  {}", done_, total_, name_, outcome)));
    shown_ = true;
  } else {
    fmt::print(stderr, "[{}/{}] {}  {}\n", done_, total_, name_, outcome);
  }
  std::fflush(stderr);
}

void Progress::note(const std::string& text) {
  clear();
  fmt::print(stderr, "{}\n", text);
  std::fflush(stderr);
}

void Progress::clear() noexcept {
  if (!shown_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  shown_ = false;
}

}  // namespace millet
