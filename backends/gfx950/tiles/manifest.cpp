// SPDX-License-Identifier: Apache-2.0
// Writes the manifest of the code objects to standard output, as JSON: for each kernel and policy what it takes to
// launch it without this project's host code. Everything here comes from the definitions that the host side launches
// with.

#include <fmt/format.h>

#include <cstddef>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "millet/backends/gfx950/kernels/gemm_mfma_scale.hpp"
#include "millet/backends/gfx950/kernels/gemv_packed_fma.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemm_mfma_scale.hpp"
#include "millet/backends/gfx950/kernels/grouped_gemv_packed_fma.hpp"

namespace millet::gfx950 {
namespace {

using Json = nlohmann::ordered_json;

/// Names the kernels; nothing is launched.
struct ManifestTarget {
  static constexpr std::string_view gemm_id = "gfx950.gemm_mfma_scale";
  static constexpr std::string_view gemm_row_major_id = "gfx950.gemm_mfma_scale_row_major";
  static constexpr std::string_view grouped_gemm_id = "gfx950.grouped_gemm_mfma_scale";
  static constexpr std::string_view grouped_gemm_row_major_id = "gfx950.grouped_gemm_mfma_scale_row_major";
  static constexpr std::string_view gemv_id = "gfx950.gemv_packed_fma";
  static constexpr std::string_view gemv_row_major_id = "gfx950.gemv_packed_fma_row_major";
  static constexpr std::string_view grouped_gemv_id = "gfx950.grouped_gemv_packed_fma";
  static constexpr std::string_view grouped_gemv_row_major_id = "gfx950.grouped_gemv_packed_fma_row_major";
  static Expected<void> launch(const KernelLaunch&, Stream) { return {}; }
};

template <class T>
std::string type_name() {
  if constexpr (std::is_pointer_v<T>) {
    return "pointer";
  } else {
    const char* const kind = std::is_floating_point_v<T> ? "f" : std::is_signed_v<T> ? "i" : "u";
    return fmt::format("{}{}", kind, 8 * sizeof(T));
  }
}

#define MILLET_FIELD(structure, member, meaning)                                       \
  fields.push_back({{"name", #member},                                                 \
                    {"type", type_name<decltype(std::declval<structure>().member)>()}, \
                    {"offset", offsetof(structure, member)},                           \
                    {"meaning", meaning}})

/// What the dense and the grouped arguments begin with.
template <class Arguments>
void add_operands(Json& fields) {
  MILLET_FIELD(Arguments, b.values, "weights, e4m3, in the kernel's value layout; of expert 0");
  MILLET_FIELD(Arguments, b.scales, "their scales, e8m0, in the kernel's scale layout");
  MILLET_FIELD(Arguments, b.expert_value_stride, "bytes from an expert's values to the next one's; 0 if dense");
  MILLET_FIELD(Arguments, b.expert_scale_stride, "bytes from an expert's scales to the next one's; 0 if dense");
  MILLET_FIELD(Arguments, b.n, "rows of B, and columns of C unless gated; below 2^26");
  MILLET_FIELD(Arguments, b.k, "a multiple of 32, below 2^26");
  MILLET_FIELD(Arguments, b.strips, "ceil(n / 16)");
  MILLET_FIELD(Arguments, b.steps, "ceil(k / 128)");
  MILLET_FIELD(Arguments, a.values, "activations, row-major: e4m3, or bf16 for a kernel of bf16 activations");
  MILLET_FIELD(Arguments, a.scales, "e8m0 [rows, k / 32], row-major; null for bf16");
  MILLET_FIELD(Arguments, a.rows, "rows of A: m if dense");
  MILLET_FIELD(Arguments, a.value_stride, "bytes from row to row");
  MILLET_FIELD(Arguments, a.scale_stride, "bytes from row to row");
  MILLET_FIELD(Arguments, a.value_bytes, "(rows - 1) * value_stride + bytes of a row, at most 2^30");
  MILLET_FIELD(Arguments, a.scale_bytes, "(rows - 1) * scale_stride + k / 32, at most 2^30; 0 for bf16");
  MILLET_FIELD(Arguments, c.values, "output, row-major");
  MILLET_FIELD(Arguments, c.row_stride, "elements from row to row");
  MILLET_FIELD(Arguments, c.bf16, "1: bf16, 0: f32");
}

Json gemm_arguments() {
  Json fields = Json::array();
  add_operands<GemmArguments>(fields);
  MILLET_FIELD(GemmArguments, k_waves_log2, "as the policy says");
  MILLET_FIELD(GemmArguments, splits, "as the policy says");
  MILLET_FIELD(GemmArguments, arrivals, "with splits > 1: u32 [grid x], zero before the first call; else unused");
  MILLET_FIELD(
      GemmArguments, partial_sums,
      "with splits > 1: f32 [grid x][splits][waves / k_waves * 256 * token tiles], 16-byte aligned; else unused");
  return {{"bytes", sizeof(GemmArguments)}, {"fields", fields}};
}

Json grouped_arguments() {
  Json fields = Json::array();
  add_operands<GroupedArguments>(fields);
  MILLET_FIELD(GroupedArguments, experts, "experts of B");
  MILLET_FIELD(GroupedArguments, slots, "rows of C, without top_k");
  MILLET_FIELD(GroupedArguments, a_div, "slots that share a row of A");
  MILLET_FIELD(GroupedArguments, block_m, "routing entries of a block");
  MILLET_FIELD(GroupedArguments, routing_blocks, "length of expert_ids");
  MILLET_FIELD(GroupedArguments, sorted_token_ids, "i32 [routing_blocks * block_m]: slots; others are skipped");
  MILLET_FIELD(GroupedArguments, expert_ids, "i32 [routing_blocks], blocks of an expert adjacent");
  MILLET_FIELD(GroupedArguments, num_tokens_post_padded, "i32 [1]: routing entries in use");
  MILLET_FIELD(GroupedArguments, slot_weights, "f32 [slots], or null for 1");
  MILLET_FIELD(GroupedArguments, k_waves_log2, "as the policy says");
  MILLET_FIELD(GroupedArguments, gated,
               "1: C [slots, n / 2], from rows of B by turns: g gate, u up: f(min(g, limit)) * (u within +-limit + "
               "up_offset), f(x) = x / (1 + exp(-alpha x)); else 0");
  MILLET_FIELD(GroupedArguments, top_k,
               "0, or slots of a token, at most 1024: C [slots / top_k, n] is their sum; not with gated");
  MILLET_FIELD(GroupedArguments, gate.alpha, "if gated; 1 for silu");
  MILLET_FIELD(GroupedArguments, gate.limit, "if gated; infinity for none");
  MILLET_FIELD(GroupedArguments, gate.up_offset, "if gated");
  MILLET_FIELD(GroupedArguments, arrivals, "with top_k: u32 [grid x], zero before the first call; else unused");
  MILLET_FIELD(GroupedArguments, slot_rows,
               "with top_k: f32 [slots][16 * strips], 16-byte aligned, below 2^31 bytes; else unused");
  return {{"bytes", sizeof(GroupedArguments)}, {"fields", fields}};
}

/// The first and last row count of each instance: 1 .. 16, 17 .. 32, 33 .. 64, and so on.
struct Rows {
  Index first;
  Index last;
};

template <class K>
void add_kernel(Json& kernels, std::string_view arguments, const std::vector<Rows>& rows, bool bf16,
                std::string_view grid_y) {
  for (int i = 0; i < static_cast<int>(std::size(K::policies)); ++i) {
    const auto& policy = K::policies[i];
    for (const Rows& range : rows) {
      typename K::Problem p{};
      p.activation = bf16 ? ActivationFormat::bf16 : ActivationFormat::mx;
      if constexpr (requires { p.m; }) p.m = range.first;
      const int at = K::compiled_kernel(p, policy);
      const CompiledKernel& compiled = compiled_kernels()[static_cast<std::size_t>(at)];
      Json entry{{"id", K::id},
                 {"policy", i},
                 {"policy_name", K::name(policy)},
                 {"activations", bf16 ? "bf16" : "e4m3 with e8m0"},
                 {"code_object", fmt::format("{}.co", code_object_names[static_cast<int>(compiled.code_object)])},
                 {"symbol", compiled.symbol},
                 {"arguments", arguments},
                 {"weight_values", K::Weights::ValueMapping::name()},
                 {"weight_scales", K::Weights::ScalesMapping::BlockMapping::name()},
                 {"work_group", {compiled.threads, 1, 1}},
                 {"dynamic_lds_bytes", 0},
                 {"grid_x", fmt::format("ceil(ceil(n / 16) / {})", policy.waves / policy.k_waves)},
                 {"k_waves_log2", log2_of_power(policy.k_waves)}};
      if constexpr (requires { policy.splits; }) {
        entry["grid_y"] = policy.splits;
        entry["splits"] = policy.splits;
        entry["workspace_bytes"] =
            policy.splits == 1 ? "0" : "4 * grid_x, rounded up to 16, and the partial sums; zeroed once";
      } else {
        entry["grid_y"] = grid_y;
        const bool sums_slots = std::is_same_v<typename K::Problem, GroupedProblem>;
        entry["workspace_bytes"] =
            sums_slots ? "0, or with top_k 4 * grid_x, rounded up to 16, and slot_rows; zeroed once" : "0";
      }
      if constexpr (requires { p.m; }) entry["rows"] = {range.first, range.last};
      kernels.push_back(std::move(entry));
    }
  }
}

template <class Layout>
void add_kernels(Json& kernels) {
  const std::vector<Rows> tiles{{1, 16}, {17, 32}, {33, 64}};
  const std::vector<Rows> tokens{{1, 1}, {2, 2}, {3, 16}};
  for (const bool bf16 : {false, true}) {
    add_kernel<GemmMfmaScale<Layout, ManifestTarget>>(kernels, "gemm", tiles, bf16, "");
    add_kernel<GroupedGemmMfmaScale<Layout, ManifestTarget>>(kernels, "grouped", {{1, 1}}, bf16, "routing_blocks");
    add_kernel<GemvPackedFma<Layout, ManifestTarget>>(kernels, "gemm", tokens, bf16, "1");
    add_kernel<GroupedGemvPackedFma<Layout, ManifestTarget>>(kernels, "grouped", {{1, 1}}, bf16, "routing_blocks");
  }
}

}  // namespace
}  // namespace millet::gfx950

int main() {
  using namespace millet::gfx950;
  Json kernels = Json::array();
  add_kernels<StripWeights>(kernels);
  add_kernels<millet::RowMajorWeights>(kernels);
  const Json manifest{{"schema", 1},
                      {"architecture", "gfx950"},
                      {"launch", "one kernel argument: the structure by value"},
                      {"arguments", {{"gemm", gemm_arguments()}, {"grouped", grouped_arguments()}}},
                      {"kernels", kernels}};
  std::cout << manifest.dump(1) << '\n';
  return std::cout.good() ? 0 : 1;
}
