// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "millet/dispatch/backend.hpp"

namespace millet {

/// What a tuned row is about: a device, identified by architecture and unit count, and a problem. For a grouped problem
/// m is the number of slots and groups the number of experts; for a dense one groups is 0.
struct TunedKey {
  std::string arch;
  Index units = 0;
  std::string operation;  ///< "dense", "grouped", "grouped_swiglu" or "grouped_topk_sum"
  ActivationFormat activation = ActivationFormat::mx;
  Index m = 0;
  Index n = 0;
  Index k = 0;
  Index groups = 0;

  friend bool operator==(const TunedKey&, const TunedKey&) = default;
};

[[nodiscard]] std::string to_string(const TunedKey& key);
[[nodiscard]] TunedKey tuned_key(const DeviceInfo& device, const GemmProblem& problem);
[[nodiscard]] TunedKey tuned_key(const DeviceInfo& device, const GroupedProblem& problem);

/// The winner of one tuning, with its birth certificate.
struct TunedRow {
  TunedKey key;
  std::string kernel;
  int policy = 0;
  double median_us = 0;
  double spread_pct = 0;  ///< half width of the 95 % confidence interval of the median
  std::string baseline;
  double baseline_us = 0;
  bool use = true;  ///< whether the kernel beat the baseline by more than 3 %
  std::string toolchain;
  std::string commit;
  std::string date;  ///< YYYY-MM-DD
  int line = 0;
};

/// Tuned rows of one backend, from a CSV text of this form (an empty file is an empty table; # starts a comment line):
///
///   # millet-tuned 1
///   arch,units,operation,activation,m,n,k,groups,kernel,policy,median_us,spread_pct,baseline,baseline_us,use,
///   toolchain,commit,date                                            (one line in the file)
///   sm_90a,132,dense,mx,16,4096,7168,0,hopper.gemm_wgmma,3,...
class TunedTable {
 public:
  TunedTable() = default;

  /// Reads `csv`. A malformed row (wrong number of fields, a number that is none, negative or NaN, a k that is no
  /// multiple of 32), a duplicate key, and a row whose kernel `backend` does not have, whose policy it does not have,
  /// or that declines the row's problem, is left out and described in rejected() as "name:line: reason". Errors:
  /// parse_error for a missing or other schema line or header; with `strict` for the first rejected row too. \param
  /// name  of the file, for messages
  [[nodiscard]] static Expected<TunedTable> parse(std::string_view csv, std::string_view name, const Backend& backend,
                                                  bool strict = false);

  /// The row of exactly this key, or null.
  [[nodiscard]] const TunedRow* find(const TunedKey& key) const noexcept;

  /// Rows that differ from `key` in m only, nearest m first (by ratio; of two equally near the larger).
  [[nodiscard]] std::vector<const TunedRow*> nearest_m(const TunedKey& key) const;

  [[nodiscard]] const std::vector<TunedRow>& rows() const noexcept { return rows_; }
  [[nodiscard]] const std::vector<std::string>& rejected() const noexcept { return rejected_; }

 private:
  struct KeyHash {
    std::size_t operator()(const TunedKey& key) const noexcept;
  };

  std::vector<TunedRow> rows_;
  std::vector<std::string> rejected_;
  std::unordered_map<TunedKey, std::size_t, KeyHash> index_;
};

/// The schema line and the header line of a tuned table, for writers.
inline constexpr std::string_view tuned_table_schema = "# millet-tuned 1";
inline constexpr std::string_view tuned_table_header =
    "arch,units,operation,activation,m,n,k,groups,kernel,policy,median_us,spread_pct,baseline,baseline_us,use,"
    "toolchain,"
    "commit,date";

/// One CSV line for `row`, without the newline. Commas and line breaks in its texts become spaces.
[[nodiscard]] std::string to_csv(const TunedRow& row);

}  // namespace millet
