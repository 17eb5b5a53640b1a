// SPDX-License-Identifier: Apache-2.0
#include "report/sample_records.hpp"

#include <stdlib.h>

#include <filesystem>
#include <stdexcept>

namespace millet {

void renew_ids(Record& record) {
  record.case_id = case_id(record.subject);
  record.build_id = build_id(record.build);
}

Record full_record() {
  Record r;
  r.evidence = Evidence::measured;
  r.note = "a \"note\", with\ttab and \xC3\xA9";
  r.subject = {"seed-moe",
               "moe_gemm1",
               4,
               "grouped",
               4,
               1536,
               6144,
               128,
               16,
               5,
               64,
               true,
               "bf16",
               "f32",
               "even",
               "row_major",
               "cpu",
               "cpu.grouped_gemv_avx512",
               "rows4",
               "tuned_exact",
               "OpenMP",
               2,
               "cold+graph",
               18446744073709551615U,
               std::nullopt,
               "weights of a file"};
  r.result = {3, 7200.5, 7100.25, 7300.75, 7000, 12.5, {7000, 7200.5, 7800}};
  r.work = {14614528, 28311552, 15};
  r.roof = {2.125e10, 9.6e10, "read loop, 1 thread", 9.5, 4.125, 687.75, true, {}};
  r.verify = {"oracle", 0.25, 0.0009765625, true, "ok"};
  r.baselines = {{"portable", "performance", 4, 14401, 14400, 14402}, {"eigen", "correctness", 5, 99000, 98000, 99500}};
  r.published = RecordPublished{3.64, "MI355X", "stock Triton", "ROCm/aiter pull request 3783", "a note"};
  r.cache = {"warm", 7, 102301696, 33554432};
  r.clock = {"steady_clock", 3.5, 3.25, true};
  r.env = {"device", "x86-64-v4",   2,           "OpenMP 4.5", "a CPU",       8,
           "0-1",    "performance", "Linux 6.1", "always",     {"one", "two"}};
  r.build = {"0123456789abcdef", true, "g++ 12.2", "-O3", "Release", "address", {{"fmt", "9.1"}, {"kokkos", "3.4"}}};
  r.run = {7, "millet run --preset seed-moe", "2026-01-02T03:04:05Z", "feedface", 0.75};
  r.tuned = {"tuned.csv:12", 3};
  r.repro = "millet run --m 4";
  r.tags = {{"node", "a"}, {"try", "2"}};
  renew_ids(r);
  return r;
}

Record dense_record(const std::string& label, Index k, Index n, Index m, double median_us) {
  Record r;
  r.evidence = Evidence::measured;
  r.subject.preset = "seed-dense";
  r.subject.label = label;
  r.subject.tp = 4;
  r.subject.m = m;
  r.subject.n = n;
  r.subject.k = k;
  r.subject.weight_layout = "row_major";
  r.subject.backend = "cpu";
  r.subject.kernel = "cpu.gemv_avx2";
  r.subject.policy = "rows4";
  r.subject.chosen = "cost_model";
  r.subject.execution_space = "OpenMP";
  r.subject.threads = 2;
  r.subject.protocol = "cold+graph";
  r.subject.seed = 1;
  const double ns = 1000 * median_us;
  r.result = {9, ns, 0.99 * ns, 1.01 * ns, 0.95 * ns, 0.01 * ns, {}};
  const Work work{1e6, 2e6};  // 100 us for the memory, 20 us for the arithmetic
  r.work = {work.bytes, work.flops, 0};
  r.roof = record_roof(work, Ceilings{10e9, 100e9, {}, 2, "loops of this test"}, ns);
  r.verify = {"oracle", 0.5, 0, true, "ok"};
  r.cache = {"cold", 5, 80000000, 33554432};
  r.clock = {"steady_clock", 3.0, 3.0, false};
  r.env.device = "Test CPU";
  r.env.architecture = "x86-64-v3";
  r.env.cores = 2;
  r.env.os = "Linux 6.1";
  r.build.git = "abcdef0";
  r.build.compiler = "g++ 12.2";
  r.build.type = "Release";
  r.run.host_hash = "feedface";
  renew_ids(r);
  return r;
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "millet-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot create " + name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace millet
