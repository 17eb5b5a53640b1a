// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include "millet/dispatch/tuned_table.hpp"

namespace {

using namespace millet;

/// Ends the process as a crash would, in release builds too, so that libFuzzer keeps the input.
void require(bool holds) {
  if (!holds) __builtin_trap();
}

/// Kernels that decline a part of the problems and run none: a table is read without them running.
template <class P>
KernelFor<P> kernel_called(std::string_view id, Operation operation) {
  KernelFor<P> kernel{};
  kernel.id = id;
  kernel.operation = operation;
  kernel.policy_count = 3;
  kernel.supports = [](const P& problem) noexcept {
    return Envelope{.m_min = 1, .m_max = 64, .n_multiple = 16, .k_multiple = 128, .bf16_activations = true}.contains(
        problem);
  };
  return kernel;
}

const Backend& small_backend() {
  static const std::array gemm{kernel_called<GemmProblem>("small.gemv_a", Operation::gemv),
                               kernel_called<GemmProblem>("small.gemm_b", Operation::gemm)};
  static const std::array grouped{kernel_called<GroupedProblem>("small.grouped_gemv_a", Operation::grouped_gemv)};
  static const Backend backend = [] {
    Backend small{};
    small.name = "small";
    small.gemm_kernels = gemm;
    small.grouped_kernels = grouped;
    return small;
  }();
  return backend;
}

void require_sane(const TunedTable& table, const TunedRow& row) {
  require(table.find(row.key) == &row);
  for (const TunedRow* near : table.nearest_m(row.key)) require(near->key.n == row.key.n && near->key.k == row.key.k);
  require(row.key.m >= 1 && row.key.n >= 1 && row.key.k >= 1 && row.key.k % 128 == 0 && row.key.n % 16 == 0);
  require(row.policy >= 0 && row.policy < 3);
  require(std::isfinite(row.median_us) && row.median_us >= 0);
  require(std::isfinite(row.baseline_us) && row.baseline_us >= 0);
  require(row.line >= 3);

  // What a writer makes of the row reads as the same row, for the numbers rounded once more do not change.
  const std::string text =
      std::string(tuned_table_schema) + "\n" + std::string(tuned_table_header) + "\n" + to_csv(row);
  const Expected<TunedTable> again = TunedTable::parse(text, "again", small_backend(), true);
  require(again && again->rows().size() == 1);
  require(again->rows().front().key == row.key && again->rows().front().kernel == row.kernel);
  require(to_csv(again->rows().front()) == to_csv(row));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Expected<TunedTable> lenient = TunedTable::parse(text, "input", small_backend());
  const Expected<TunedTable> strict = TunedTable::parse(text, "input", small_backend(), true);
  if (!lenient) {
    require(lenient.error().code == ErrorCode::parse_error && lenient.error().message.starts_with("input:"));
    require(!strict);
    return 0;
  }
  require(strict.has_value() == lenient->rejected().empty());
  for (const std::string& rejected : lenient->rejected()) require(rejected.starts_with("input:"));
  for (const TunedRow& row : lenient->rows()) require_sane(*lenient, row);
  return 0;
}
