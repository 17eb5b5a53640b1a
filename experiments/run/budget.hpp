// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>

namespace millet {

/// The wall-clock time of a run, generation of operands and verification included, and how it is shared out.
///
/// What is left after the predicted preparation of all remaining cases is divided equally among their samples. The
/// prediction is a model of the work times a factor that the run corrects as it goes.
class Budget {
 public:
  explicit Budget(double seconds) noexcept : seconds_(seconds) {}

  [[nodiscard]] double seconds() const noexcept { return seconds_; }
  [[nodiscard]] double elapsed() const noexcept {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  [[nodiscard]] double left() const noexcept { return seconds_ + set_aside_ - elapsed(); }

  /// Time that has passed and shall not count: a baseline's program compiles as long as it needs.
  void set_aside(double seconds) noexcept { set_aside_ += seconds; }

  /// Tells what a preparation that the model puts at `modelled` seconds took.
  void learn(double modelled, double actual) noexcept {
    modelled_ += modelled;
    actual_ += actual;
  }
  /// The model's seconds, corrected by what was learned; the first seconds of experience do not outweigh the model.
  [[nodiscard]] double predicted(double modelled) const noexcept {
    constexpr double trust = 0.5;
    return modelled * (actual_ + trust) / (modelled_ + trust);
  }

  /// Seconds for the samples of the next of `cases_left` cases, whose preparations are modelled to take
  /// `modelled_left`.
  [[nodiscard]] double share(std::size_t cases_left, double modelled_left) const noexcept {
    return std::max(0.0,
                    (left() - predicted(modelled_left)) / static_cast<double>(std::max<std::size_t>(1, cases_left)));
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double seconds_;
  double set_aside_ = 0;
  double modelled_ = 0;
  double actual_ = 0;
};

}  // namespace millet
