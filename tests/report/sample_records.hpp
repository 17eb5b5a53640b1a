// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "millet/report/record.hpp"

namespace millet {

/// A record in which no field has its default value but roof.read_by_level, which files of the first program lack.
[[nodiscard]] Record full_record();

/// A correct, measured record of a dense case on a machine that reads 10 GB/s and does 100 GFLOP/s.
[[nodiscard]] Record dense_record(const std::string& label, Index k, Index n, Index m, double median_us);

/// Sets the ids after the case or build was changed.
void renew_ids(Record& record);

/// A file or folder name that this test alone uses, removed with everything in it at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace millet
