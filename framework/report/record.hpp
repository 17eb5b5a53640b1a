// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millet/measure/measurement.hpp"
#include "millet/measure/roofline.hpp"

namespace millet {

/// What was timed. Texts are the names that the command line and the other headers use; extents are in elements.
struct RecordCase {
  std::string preset;               ///< where the shape came from; for people
  std::string label;                ///< projection or layer, such as "qkv" or "moe_gemm1"; for people
  Index tp = 0;                     ///< tensor-parallel degree that the shape belongs to, or 0
  std::string operation = "dense";  ///< or "grouped"
  Index m = 0;                      ///< rows of A; of a grouped problem the tokens
  Index n = 0;
  Index k = 0;
  Index experts = 0;  ///< this and the next four: 0 (false) for a dense problem
  Index slots = 0;
  Index a_div = 0;
  Index block_m = 0;
  bool weighted = false;
  std::string activation = "mx";
  std::string output = "bf16";
  std::string scale_mode = "rceil";
  std::string weight_layout;
  std::string backend;
  std::string kernel;                   ///< full id
  std::string policy;                   ///< its name
  std::string chosen;                   ///< to_string(Chosen)
  std::string execution_space;          ///< of the backend: "OpenMP", "Serial", "stream", ...
  Index threads = 0;                    ///< host threads that compute, or 0 for a device
  std::string protocol;                 ///< to_string(Protocol)
  std::uint64_t seed = 0;               ///< of operands and routing
  std::optional<std::string> epilogue;  ///< as shape files name it; absent: none
  std::optional<std::string> weights;   ///< fingerprint of weights from a file; absent: random by the seed

  bool operator==(const RecordCase&) const = default;
};

/// Times of one call.
struct RecordResult {
  Index n = 0;  ///< samples; 0: no time was taken
  double median_ns = 0;
  double ci95_lo_ns = 0;  ///< 95 % confidence interval of the median
  double ci95_hi_ns = 0;
  double min_ns = 0;
  double mad_ns = 0;               ///< median absolute deviation
  std::vector<double> samples_ns;  ///< in the order taken

  bool operator==(const RecordResult&) const = default;
};

/// The work of one call. \see Work
struct RecordWork {
  double bytes = 0;
  double flops = 0;
  Index touched_experts = 0;  ///< experts whose weights `bytes` counts; 0 for a dense problem

  bool operator==(const RecordWork&) const = default;
};

/// A measured read rate over a working set that a cache holds.
struct RecordReadRate {
  Index footprint_bytes = 0;
  double bytes_per_second = 0;

  bool operator==(const RecordReadRate&) const = default;
};

/// The measured roofs, and where the median stands below them.
struct RecordRoof {
  double read_bytes_per_second = 0;
  double fma_flops_per_second = 0;
  std::string source;  ///< how the roofs were obtained
  double pct_of_read = 0;
  double pct_of_fma = 0;
  double lower_bound_ns = 0;  ///< the greater of the times that the two roofs allow
  bool above_roof = false;    ///< faster than the bound allows by more than roof_tolerance: an error of the measurement
  std::vector<RecordReadRate> read_by_level;  ///< of the caches, from the smallest; absent in older files

  bool operator==(const RecordRoof&) const = default;
};

/// How the output of the very kernel and policy that were timed was checked.
struct RecordVerify {
  std::string mode = "none";  ///< such as "oracle"; "none": nothing was compared
  double max_ratio = 0;       ///< largest error over its bound; may be infinite (JSON then holds the largest double)
  double mismatch_fraction = 0;
  bool correct = false;
  std::string verdict;  ///< "ok", or what is wrong and where

  bool operator==(const RecordVerify&) const = default;
};

/// Another implementation, timed interleaved with this one on the same problem.
struct RecordBaseline {
  std::string name;
  std::string role =
      "performance";  ///< or "correctness": a reference that nobody tuned; or "floor": less than the work
  Index n = 0;
  double median_ns = 0;
  double ci95_lo_ns = 0;
  double ci95_hi_ns = 0;
  std::optional<std::string> detail{};  ///< what it chose for this problem, such as a tile; absent: nothing to choose

  bool operator==(const RecordBaseline&) const = default;
};

/// A figure that somebody else published about this problem, on their machine.
struct RecordPublished {
  double speedup = 0;
  std::string device;
  std::string baseline;
  std::string source;
  std::string note;

  bool operator==(const RecordPublished&) const = default;
};

struct RecordCache {
  std::string mode = "cold";  ///< "cold", "warm" (a rotation that does not pass twice the cache) or "hot"
  Index copies = 1;
  Index footprint_bytes = 0;
  Index last_level_cache_bytes = 0;

  bool operator==(const RecordCache&) const = default;
};

struct RecordClock {
  std::string source;  ///< of the samples: "steady_clock", "cuda events", ...
  double before_ghz = 0;
  double after_ghz = 0;
  bool throttled = false;

  bool operator==(const RecordClock&) const = default;
};

/// The machine and its state. What was not found out stays empty.
struct RecordEnv {
  std::string device;
  std::string architecture;
  Index compute_units = 0;
  std::string runtime;
  std::string cpu;
  Index cores = 0;
  std::string affinity;
  std::string governor;
  std::string os;
  std::string huge_pages;
  std::vector<std::string> warnings;  ///< what makes times doubtful here, each a sentence for the reader of the table

  bool operator==(const RecordEnv&) const = default;
};

struct RecordBuild {
  std::string git;
  bool dirty = false;
  std::string compiler;
  std::string flags;
  std::string type;
  std::string sanitizer;
  std::map<std::string, std::string> libraries;  ///< name to version

  bool operator==(const RecordBuild&) const = default;
};

struct RecordRun {
  std::uint64_t seed = 0;  ///< of the order of samples
  std::string command_line;
  std::string start;      ///< UTC, ISO 8601
  std::string host_hash;  ///< tells machines apart without naming them
  double load = 0;        ///< one-minute load average at the start

  bool operator==(const RecordRun&) const = default;
};

struct RecordTuned {
  std::string row = "default";  ///< "file:line" of the tuned row that decided, or "default"
  Index rejected_rows = 0;      ///< malformed or stale rows of the table

  bool operator==(const RecordTuned&) const = default;
};

/// One measured case: one line of a results file. A plain value; every text is for people or an exact name.
struct Record {
  std::string case_id;   ///< millet::case_id(subject)
  std::string build_id;  ///< millet::build_id(build)
  Evidence evidence = Evidence::not_run;
  std::string note;    ///< why there is no time, or what else a reader must know
  RecordCase subject;  ///< "case" in JSON
  RecordResult result;
  RecordWork work;
  RecordRoof roof;
  RecordVerify verify;
  std::vector<RecordBaseline> baselines;
  std::optional<RecordPublished> published;
  RecordCache cache;
  RecordClock clock;
  RecordEnv env;
  RecordBuild build;
  RecordRun run;
  RecordTuned tuned;
  std::string repro;  ///< command line that runs this case alone
  std::map<std::string, std::string> tags;

  /// Whether a comparison was made and failed: such a record has no time to show.
  [[nodiscard]] bool wrong() const noexcept { return verify.mode != "none" && !verify.correct; }
  /// Whether the record holds a time that may be shown.
  [[nodiscard]] bool timed() const noexcept { return evidence != Evidence::not_run && result.n > 0 && !wrong(); }

  bool operator==(const Record&) const = default;
};

/// Version of the JSON form.
inline constexpr int record_schema = 1;

/// A median may pass the measured roofs by this factor before it is an error: the roofs have noise too.
inline constexpr double roof_tolerance = 1.05;

/// Identity of a case over builds and runs, 16 hexadecimal digits: a 64-bit FNV-1a hash of everything that changes the
/// work or its conditions (operation, extents, routing, types, scale mode, weight layout, backend, kernel, policy,
/// execution space, threads, protocol, seed, weights), but not of preset, label, tp and chosen, which only say how one
/// came to it.
[[nodiscard]] std::string case_id(const RecordCase& subject);

/// Identity of a build, 16 hexadecimal digits. Two dirty builds of one commit have the same: do not resume over those.
[[nodiscard]] std::string build_id(const RecordBuild& build);

/// Times in ns of `measurement`.
[[nodiscard]] RecordResult record_result(const Measurement& measurement);

/// The baseline's times in ns.
[[nodiscard]] RecordBaseline record_baseline(std::string name, std::string role, const Measurement& measurement);

/// Mode "hot" for the hot protocol, "cold" or "warm" by the state otherwise.
[[nodiscard]] RecordCache record_cache(const CacheState& cache, Protocol protocol);

/// Where a median of `median_ns` stands. Without a time (0) or a roof (0) the percentages that need it are 0 and
/// nothing is above the roof.
[[nodiscard]] RecordRoof record_roof(const Work& work, const Ceilings& ceilings, double median_ns);

}  // namespace millet
