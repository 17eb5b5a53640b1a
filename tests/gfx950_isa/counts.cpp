// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <regex>
#include <sstream>

#include "millet/dispatch/kernel_instance.hpp"
#include "millet/dispatch/select.hpp"
#include "millet/problem/shape_file.hpp"
#include "target.hpp"

// gfx950_counts: docs/results/gfx950-static.md, from the compiled code objects. What the kernels execute for the shapes
// of a model's layers, with the kernel and policy that dispatch picks for 256 compute units and no tuned row.
//
//   gfx950_counts                      the page, on standard output
//   gfx950_counts --rows REGEX         the rows of tables whose first cell matches; the rest is not computed
//   gfx950_counts --check PAGE         exit code 1 where that file is another page
//   gfx950_counts --check PAGE REGEX   the same of these rows
//
// A page of another compiler than this build's is not compared: exit code 77.

namespace millet::gfx950_isa {
namespace {

constexpr double kibibyte = 1024;
constexpr double units = 256;

/// What was counted of the seed's kernels with the settings of its tuned table, and of Triton's object for tiles of 16
/// x 16 x 1024, compiled by the same clang, by another interpreter outside of this repository. Thousands of
/// wave-instructions; a text where there are none.
struct Anchor {
  const char* label;
  Index m;
  double seed;
  const char* triton;
  const char* seed_rounds;
  const char* triton_rounds;
  double seed_in_flight;
};
constexpr Anchor anchors[] = {
    {"qkv", 1, 1281, "395", "6", "6", 18.6},    {"qkv", 8, 827, "", "6 + 2", "", 9.3},
    {"qkv", 16, 847, "", "6 + 2", "", 9.3},     {"qkv", 64, 2615, "1519", "6 + 2", "6", 37.1},
    {"o_proj", 1, 1401, "444", "2", "2", 49.5}, {"o_proj", 8, 635, "", "16", "", 3.1},
    {"o_proj", 16, 635, "", "16", "", 3.1},     {"o_proj", 64, 1951, "1705", "17", "2", 0.0},
    {"gate_up", 1, 854, "", "6", "", 12.4},     {"gate_up", 8, 460, "", "24 + 2", "", 1.5},
    {"gate_up", 16, 565, "", "6 + 2", "", 6.2}, {"gate_up", 64, 1553, "", "12 + 2", "", 12.4},
    {"mlp_down", 1, 1385, "", "3", "", 24.8},   {"mlp_down", 8, 493, "", "12", "", 3.1},
    {"mlp_down", 16, 493, "", "12", "", 3.1},   {"mlp_down", 64, 1519, "", "13", "", 0.0},
};

/// One launch, counted; `scale` times its work-groups make the call that the row is about.
struct Counted {
  Counts counts;
  gfx950::CompiledKernel compiled;
  Kernel kernel;
  double scale;

  [[nodiscard]] double waves() const { return static_cast<double>(counts.waves) * scale; }
  [[nodiscard]] double a_wave(std::uint64_t count) const {
    return static_cast<double>(count) / static_cast<double>(counts.waves);
  }
  [[nodiscard]] double a_wave(InstructionClass x) const { return a_wave(counts.of(x)); }
  /// KiB of weights that a compute unit has outstanding when its waves first wait for some: those of the call that are
  /// resident at once, spread evenly.
  [[nodiscard]] double in_flight() const {
    constexpr double lds_bytes = 160 * kibibyte;
    const double waves_a_group = compiled.threads / 64.0;
    const double registers = std::ceil(kernel.vector_registers / 8.0) * 8;
    const double by_registers = std::floor(4 * std::min(8.0, std::floor(512 / registers)) / waves_a_group);
    const double by_lds = kernel.lds_bytes == 0 ? 1e9 : std::floor(lds_bytes / kernel.lds_bytes);
    const double resident = std::min(waves(), units * std::min(by_registers, by_lds) * waves_a_group);
    const double a_streaming_wave =
        static_cast<double>(counts.in_flight_at_first_wait) / static_cast<double>(counts.streaming_waves);
    // Loads beyond k, which move nothing, count as outstanding too.
    const double most = static_cast<double>(counts.bytes_streamed) * scale;
    return std::min(resident * a_streaming_wave, most) / units / kibibyte;
  }
};

template <class P>
Expected<Counted> count(const KernelFor<P>& kernel, int policy, const HostOperands<P>& host, double scale = 1) {
  const Backend isa = backend();
  const auto instance = KernelInstance<P>::create(isa, kernel, policy, host);
  if (!instance) return fail(instance.error().code, "{}", instance.error().message);
  if (const auto done = instance->run(Stream{}); !done) return fail(done.error().code, "{}", done.error().message);
  const gfx950::CompiledKernel& compiled = gfx950::compiled_kernels()[static_cast<std::size_t>(last_kernel())];
  return Counted{last_counts(), compiled, *program(compiled.code_object)->find(compiled.symbol), scale};
}

MxMatrix<> zeros(Index rows, Index k) { return {RowMajor(rows, k), RowMajorScales(RowMajor(rows, k / MxBlock::k))}; }

HostActivations zero_activations(ActivationFormat format, Index rows, Index k) {
  HostActivations a;
  a.format = format;
  a.mx = zeros(rows, k);
  a.bf16.resize(static_cast<std::size_t>(rows * k));
  return a;
}

Expected<Counted> count_dense(const GemmKernel& kernel, int policy, const GemmProblem& p) {
  const HostActivations a = zero_activations(p.activation, p.m, p.k);
  const MxMatrix<> b = zeros(p.n, p.k);
  return count<GemmProblem>(kernel, policy, {p, &a, &b});
}

/// The page, or the rows of it that match.
class Page {
 public:
  explicit Page(const std::string& filter) : filter_(filter), all_(filter.empty()) {}

  void text(std::string_view text) {
    if (all_) text_ += text;
  }
  [[nodiscard]] bool wants(const std::string& name) const { return std::regex_search(name, filter_); }
  void row(const std::string& cells) { text_ += cells + '\n'; }
  [[nodiscard]] const std::string& content() const { return text_; }

 private:
  std::regex filter_;
  bool all_;
  std::string text_;
};

constexpr std::string_view count_columns =
    "policy | regs | waves | instr | VALU | MFMA | load | LDS | SALU | wait | R | SR | before | in flight | read |";
constexpr std::string_view count_rule = "---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

/// \param weights  bytes of values that the launch needs
std::string count_cells(const Counted& x, std::string_view policy, double weights) {
  using enum InstructionClass;
  return fmt::format(
      "{} | {} | {:.0f} | {:.0f} | {:.0f} | {:.0f} | {:.0f} | {:.0f} | {:.0f} | {:.0f} | {} | {} | {:.0f} | {:.1f} | "
      "{:.2f} |",
      policy, x.kernel.vector_registers, x.waves(), x.a_wave(x.counts.total()), x.a_wave(valu), x.a_wave(mfma),
      x.a_wave(vector_load), x.a_wave(lds), x.a_wave(salu), x.a_wave(wait), x.counts.load_rounds,
      x.counts.scalar_rounds,
      static_cast<double>(x.counts.instructions_before_streaming) / static_cast<double>(x.counts.streaming_waves),
      x.in_flight(), static_cast<double>(x.counts.bytes_streamed) / weights);
}

/// The policy, with the kernel's name where it is another one than the matrix kernel for prepared weights.
template <class P>
std::string pick_name(const Selection<P>& pick) {
  const std::string policy = pick.kernel->policy_name(pick.policy);
  const std::string_view name = pick.kernel->id.substr(pick.kernel->id.find('.') + 1);
  const bool usual = name == "gemm_mfma_scale" || name == "grouped_gemm_mfma_scale";
  return usual ? policy : fmt::format("{}: {}", name, policy);
}

std::string or_blank(double us) { return us > 0 ? fmt::format("{:.2f}", us) : std::string(); }

/// The files of shapes and published figures, and the device that the cost model is asked about.
struct Inputs {
  std::vector<DenseShape> dense;
  std::vector<MoeShape> moe;
  std::vector<PublishedCell> published;
  DeviceInfo device;
};

template <class T>
Expected<T> read_table(Expected<T> (*parse)(std::string_view, std::string_view), const char* name) {
  const std::string path = fmt::format("{}/{}", MILLET_SHAPE_FOLDER, name);
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) return fail(ErrorCode::io_error, "cannot read {}", path);
  return parse(text, path);
}

Expected<Inputs> read_inputs() {
  auto dense = read_table(parse_dense_shapes, "dense.csv");
  auto moe = read_table(parse_moe_shapes, "moe.csv");
  auto published = read_table(parse_published, "published.csv");
  auto device = backend().device_info();
  if (!dense) return fail(std::move(dense));
  if (!moe) return fail(std::move(moe));
  if (!published) return fail(std::move(published));
  if (!device) return fail(std::move(device));
  return Inputs{shapes_of_preset(*dense, "tp"), *moe, *published, *device};
}

std::string cell_name(const DenseShape& shape, Index m) { return fmt::format("{} tp{} m{}", shape.label, shape.tp, m); }

/// The kernel and policy that dispatch picks.
template <class P>
Expected<Selection<P>> picked(const Inputs& inputs, const P& p) {
  static const Backend isa = backend();
  return select(isa, inputs.device, p);
}

/// That kernel with the policy that its cost model likes best.
template <class P>
Expected<Selection<P>> best_of(std::string_view id, const Inputs& inputs, const P& p) {
  static const Backend isa = backend();
  for (const KernelFor<P>& kernel : isa.kernels<P>()) {
    if (kernel.id != id) continue;
    int best = 0;
    for (int policy = 1; policy < kernel.policy_count; ++policy) {
      if (kernel.estimate_seconds(p, policy, inputs.device) < kernel.estimate_seconds(p, best, inputs.device))
        best = policy;
    }
    return Selection<P>{&kernel, best, Chosen::cost_model, nullptr, {}};
  }
  return fail(ErrorCode::unknown_name, "no kernel {}", id);
}

/// How many of the dense cells keep what the design promises.
struct Kept {
  int cells = 0;
  int read_once = 0;
  int two_rounds = 0;
  int in_flight = 0;
};

Expected<void> dense_table(const Inputs& inputs, Page& page) {
  constexpr double wanted_in_flight = 31;  // KiB: 8 TB/s for 1 us, over 256 compute units
  Kept kept;
  page.text(
      fmt::format("| cell | {} model us | seed us | Triton us |\n|---|{}---:|---:|---:|\n", count_columns, count_rule));
  for (const DenseShape& shape : inputs.dense) {
    for (const Index m : shape.m) {
      const std::string name = cell_name(shape, m);
      if (!page.wants(name)) continue;
      const GemmProblem p{.m = m, .n = shape.n, .k = shape.k};
      const auto pick = picked(inputs, p);
      if (!pick) return fail(pick.error().code, "{}", pick.error().message);
      const auto counted = count_dense(*pick->kernel, pick->policy, p);
      if (!counted) return fail(counted.error().code, "{}: {}", name, counted.error().message);
      const double weights = static_cast<double>(shape.n) * static_cast<double>(shape.k);
      ++kept.cells;
      kept.read_once += static_cast<double>(counted->counts.bytes_streamed) == weights ? 1 : 0;
      kept.two_rounds += counted->counts.load_rounds <= 2 ? 1 : 0;
      kept.in_flight +=
          counted->in_flight() >= std::min(wanted_in_flight, std::floor(weights / units / kibibyte)) ? 1 : 0;
      const PublishedCell* const cell = find_published(inputs.published, m, shape.n, shape.k);
      page.row(fmt::format("| {} | {} {:.1f} | {} | {} |", name, count_cells(*counted, pick_name(*pick), weights),
                           1e6 * pick->kernel->estimate_seconds(p, pick->policy, inputs.device),
                           or_blank(cell == nullptr ? 0 : cell->us),
                           or_blank(cell == nullptr ? 0 : cell->baseline_us)));
    }
  }
  page.text(fmt::format(
      "\nOf {} cells, {} request each weight once, {} make at most two dependent rounds of loads, and {} have 31 KiB "
      "of weights a compute\nunit in flight, or all that there are.\n",
      kept.cells, kept.read_once, kept.two_rounds, kept.in_flight));
  return {};
}

Expected<void> anchor_table(const Inputs& inputs, Page& page) {
  page.text(
      "| beside | ours | seed | Triton | rounds: ours | seed | Triton | in flight: ours | seed |\n"
      "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
  for (const Anchor& anchor : anchors) {
    for (const DenseShape& shape : inputs.dense) {
      const std::string name = "beside " + cell_name(shape, anchor.m);
      if (shape.tp != 4 || shape.label != anchor.label || !page.wants(name)) continue;
      const GemmProblem p{.m = anchor.m, .n = shape.n, .k = shape.k};
      const auto pick = picked(inputs, p);
      if (!pick) return fail(pick.error().code, "{}", pick.error().message);
      const auto counted = count_dense(*pick->kernel, pick->policy, p);
      if (!counted) return fail(counted.error().code, "{}: {}", name, counted.error().message);
      page.row(fmt::format("| {} | {:.0f} | {:.0f} | {} | {} | {} | {} | {:.1f} | {:.1f} |", name,
                           static_cast<double>(counted->counts.total()) / 1000, anchor.seed, anchor.triton,
                           counted->counts.load_rounds, anchor.seed_rounds, anchor.triton_rounds, counted->in_flight(),
                           anchor.seed_in_flight));
    }
  }
  return {};
}

/// Rows of one kernel that dispatch does not pick for MX activations: bf16 activations, or the vector units.
Expected<void> other_dense_table(const Inputs& inputs, Page& page, std::string_view title, std::string_view id,
                                 ActivationFormat format, std::initializer_list<Index> rows) {
  page.text(fmt::format("| {} | {} model us |\n|---|{}---:|\n", title, count_columns, count_rule));
  for (const DenseShape& shape : inputs.dense) {
    if (shape.tp != 4) continue;
    for (const Index m : rows) {
      const std::string name = fmt::format("{} {}", title, cell_name(shape, m));
      if (!page.wants(name)) continue;
      const GemmProblem p{.m = m, .n = shape.n, .k = shape.k, .activation = format};
      const auto pick = best_of<GemmProblem>(id, inputs, p);
      if (!pick) return fail(pick.error().code, "{}", pick.error().message);
      const auto [kernel, policy] = std::pair(pick->kernel, pick->policy);
      const auto counted = count_dense(*kernel, policy, p);
      if (!counted) return fail(counted.error().code, "{}: {}", name, counted.error().message);
      page.row(fmt::format("| {} | {} {:.1f} |", name,
                           count_cells(*counted, kernel->policy_name(policy),
                                       static_cast<double>(shape.n) * static_cast<double>(shape.k)),
                           1e6 * kernel->estimate_seconds(p, policy, inputs.device)));
    }
  }
  return {};
}

/// Columns of C that are executed of a MoE call: every work-group does the same, and all of them would take gigabytes.
constexpr Index moe_columns = 256;

/// \param id  of the kernel; empty: what dispatch picks
Expected<void> moe_table(const Inputs& inputs, Page& page, std::string_view title, std::string_view preset,
                         std::string_view id, ActivationFormat format = ActivationFormat::mx) {
  page.text(fmt::format("| {} | {} model us |\n|---|{}---:|\n", title, count_columns, count_rule));
  for (const MoeShape& shape : shapes_of_preset(inputs.moe, preset)) {
    for (const Index m : shape.m) {
      const std::string name = fmt::format("{} {} tp{} ep{} e{} block{}{}{} n{} k{} m{}", title, shape.label, shape.tp,
                                           shape.ep, shape.experts, shape.block_m, shape.weighted ? " weighted" : "",
                                           shape.epilogue == "none" ? "" : " " + shape.epilogue, shape.n, shape.k, m);
      if (!page.wants(name)) continue;
      std::vector<std::int32_t> experts;
      for (Index slot = 0; slot < m * shape.top_k; ++slot)
        experts.push_back(static_cast<std::int32_t>(7 * slot % shape.experts));
      const auto routing = build_routing(experts, shape.experts, shape.block_m);
      if (!routing) return fail(routing.error().code, "{}", routing.error().message);
      const auto epilogue = parse_named_epilogue(shape.epilogue);
      if (!epilogue) return fail(ErrorCode::unknown_name, "{}: no epilogue {}", name, shape.epilogue);
      const auto p = make_grouped_problem({.experts = shape.experts,
                                           .slots = m * shape.top_k,
                                           .n = shape.n,
                                           .k = shape.k,
                                           .a_div = shape.a_div,
                                           .block_m = shape.block_m,
                                           .padded_slots = static_cast<Index>(routing->sorted_token_ids.size()),
                                           .weighted = shape.weighted,
                                           .activation = format,
                                           .epilogue = epilogue->epilogue,
                                           .swiglu = epilogue->swiglu,
                                           .top_k = shape.top_k});
      if (!p) return fail(p.error().code, "{}", p.error().message);
      const auto pick = id.empty() ? picked(inputs, *p) : best_of<GroupedProblem>(id, inputs, *p);
      if (!pick) return fail(pick.error().code, "{}", pick.error().message);
      const auto [kernel, policy] = std::pair(pick->kernel, pick->policy);
      GroupedProblem part = *p;
      part.n = moe_columns;
      const HostActivations a = zero_activations(p->activation, p->a_rows(), p->k);
      const std::vector<MxMatrix<>> b(static_cast<std::size_t>(shape.experts), zeros(part.n, shape.k));
      const std::vector<float> weights(static_cast<std::size_t>(shape.weighted ? p->slots : 0), 1.0F);
      const auto counted = count<GroupedProblem>(*kernel, policy, {part, &a, &b, &*routing, &weights},
                                                 static_cast<double>(shape.n) / static_cast<double>(moe_columns));
      if (!counted) return fail(counted.error().code, "{}: {}", name, counted.error().message);
      page.row(fmt::format("| {} | {} {:.1f} |", name,
                           count_cells(*counted, id.empty() ? pick_name(*pick) : kernel->policy_name(policy),
                                       static_cast<double>(touched_experts(*routing, part)) *
                                           static_cast<double>(part.n) * static_cast<double>(part.k)),
                           1e6 * kernel->estimate_seconds(*p, policy, inputs.device)));
    }
  }
  return {};
}

constexpr std::string_view compiler_line = "Compiler: ";

Expected<void> write_page(const Inputs& inputs, Page& page) {
  page.text(R"(# gfx950: what the compiled kernels execute

Generated; the command below writes this page, and a test compares it.

    cmake --build --preset gfx950 --target gfx950_counts
    build/gfx950/tests/gfx950_isa/gfx950_counts > docs/results/gfx950-static.md

Counts, not times: the code objects, executed by the interpreter of `tests/gfx950_isa`, with the kernel and policy that dispatch picks
for 256 compute units and no tuned row. No MI355X was involved. `model us` is the cost model's, which nobody has held against a device;
`seed us` and `Triton us` were published (experiments/shapes/published.csv names the source), from a machine that this project had no
access to. So no column of times may be compared with another.

)");
  page.text(fmt::format("{}{}\n", compiler_line, MILLET_GFX950_COMPILER));
  page.text(R"(
Instructions are those of a wave, means over the launch's waves. `regs`: vector registers of a lane. `R`: the longest chain of dependent vector
loads in a wave; `SR`: of scalar loads. `before`: instructions before the first load of weights. `in flight`: KiB of weights that a compute unit has
outstanding when its waves first wait for them, over what is resident of the call. `read`: bytes of weights requested, as a multiple of those
there are. Every call is one launch.

## Beside the seed and Triton

Thousands of wave-instructions a call. The seed's columns are counts of its own kernels with the settings of its tuned table, compiled by the
same clang and executed without hardware; "a + b" is its second, summing kernel. Triton's are of the object for 16 x 16 x 1024 tiles that
newer selectors take for M <= 64. Both were counted by another interpreter, outside of this repository, and cannot be counted again from it. The
seed requests all weights four times at M = 64. Scaled MFMAs a tile of 16 x 16 x 128: 1 here, 4 in the seed, 2 in Triton's object.

)");
  if (auto done = anchor_table(inputs, page); !done) return done;
  page.text("\n## Dense: 15 shapes, 7 M\n\n");
  if (auto done = dense_table(inputs, page); !done) return done;
  page.text("\n## Dense, bf16 activations quantized in the kernel\n\n");
  if (auto done =
          other_dense_table(inputs, page, "bf16", "gfx950_isa.gemm_mfma_scale", ActivationFormat::bf16, {1, 8, 16, 64});
      !done) {
    return done;
  }
  page.text("\n## Dense, on the vector units\n\n`gemv_packed_fma`, which dispatch does not pick.\n\n");
  constexpr std::string_view gemv = "gfx950_isa.gemv_packed_fma";
  if (auto done = other_dense_table(inputs, page, "gemv", gemv, ActivationFormat::mx, {1, 2, 4, 8, 16}); !done) {
    return done;
  }
  page.text("\nWith bf16 activations, which 16 lanes quantize together:\n\n");
  if (auto done = other_dense_table(inputs, page, "gemv bf16", gemv, ActivationFormat::bf16, {1, 4, 16}); !done) {
    return done;
  }
  page.text(R"(
## Mixture of experts

Slot s goes to expert 7 s mod E, so that as many experts have rows as can. 256 columns of C were executed, and `waves` is scaled up to all: work-groups
along n do the same. Waits for the routing come before any weights are asked for.

)");
  if (auto done = moe_table(inputs, page, "seed", "seed-moe", ""); !done) return done;
  page.text("\n");
  if (auto done = moe_table(inputs, page, "m3", "m3", ""); !done) return done;
  page.text("\nWith their epilogues, each still one launch:\n\n");
  if (auto done = moe_table(inputs, page, "fused", "m3-fused", ""); !done) return done;
  page.text("\nThe same configurations of the seed's tests on the vector units (`grouped_gemv_packed_fma`):\n\n");
  constexpr std::string_view grouped_gemv = "gfx950_isa.grouped_gemv_packed_fma";
  if (auto done = moe_table(inputs, page, "gemv", "seed-moe", grouped_gemv); !done) return done;
  page.text("\nWith bf16 activations, in either kernel:\n\n");
  if (auto done =
          moe_table(inputs, page, "bf16", "seed-moe", "gfx950_isa.grouped_gemm_mfma_scale", ActivationFormat::bf16);
      !done) {
    return done;
  }
  page.text("\n");
  return moe_table(inputs, page, "gemv bf16", "seed-moe", grouped_gemv, ActivationFormat::bf16);
}

constexpr int differs = 1;
constexpr int usage = 2;
constexpr int skipped = 77;

/// Compares what was made with the file, line by line; prints the first difference.
int compare(const std::string& made, const std::string& path, bool whole) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  if (lines.empty()) {
    std::cerr << "gfx950_counts: cannot read " << path << '\n';
    return usage;
  }
  const std::string here = std::string(compiler_line) + MILLET_GFX950_COMPILER;
  if (std::find(lines.begin(), lines.end(), here) == lines.end()) {
    std::cerr << "gfx950_counts: " << path << " was made with another compiler than " << MILLET_GFX950_COMPILER << '\n';
    return skipped;
  }
  std::istringstream rows(made);
  std::size_t at = 0;
  for (std::string row; std::getline(rows, row); ++at) {
    const bool found =
        whole ? at < lines.size() && lines[at] == row : std::find(lines.begin(), lines.end(), row) != lines.end();
    if (found) continue;
    std::cerr << "gfx950_counts: not in " << path << ", which is to be made anew:\n" << row << '\n';
    return differs;
  }
  if (at == 0 || (whole && at != lines.size())) {
    std::cerr << "gfx950_counts: " << path << " has " << lines.size() << " lines, " << at << " were made\n";
    return differs;
  }
  return 0;
}

int main_of(int argc, char** argv) {
  const bool check = argc > 1 && std::string_view(argv[1]) == "--check";
  const bool rows = argc > 1 && std::string_view(argv[1]) == "--rows";
  if (argc > 1 && !(check && (argc == 3 || argc == 4)) && !(rows && argc == 3)) {
    std::cerr << "usage: gfx950_counts [--rows REGEX | --check PAGE [REGEX]]\n";
    return usage;
  }
  Page page(rows ? argv[2] : argc == 4 ? argv[3] : "");
  const auto inputs = read_inputs();
  const auto done = inputs ? write_page(*inputs, page) : Expected<void>(tl::unexpected(inputs.error()));
  if (!done) {
    std::cerr << "gfx950_counts: " << done.error().message << '\n';
    return usage;
  }
  if (check) return compare(page.content(), argv[2], argc == 3);
  std::cout << page.content();
  return std::cout.good() ? 0 : usage;
}

}  // namespace
}  // namespace millet::gfx950_isa

int main(int argc, char** argv) { return millet::gfx950_isa::main_of(argc, argv); }
