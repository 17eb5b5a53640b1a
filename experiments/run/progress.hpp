// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace millet {

/// Tells on stderr how far a run is: one line that changes in place on a terminal, a line a case elsewhere.
class Progress {
 public:
  Progress(std::size_t total, bool quiet) noexcept;
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Case `done` + 1 of the total begins. \param eta_seconds  until the end of the run, or negative where unknown
  void begin(const std::string& name, double eta_seconds);
  /// The case that began is done; `outcome` is shown, in a file or pipe as a line of its own.
  void end(const std::string& outcome);
  /// A line that stays, whatever the terminal.
  void note(const std::string& text);
  /// Removes the changing line.
  void clear() noexcept;

 private:
  std::size_t total_;
  std::size_t done_ = 0;
  bool quiet_;
  bool terminal_;
  bool shown_ = false;
  std::string name_;
};

}  // namespace millet
