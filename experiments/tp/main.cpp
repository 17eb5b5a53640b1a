// SPDX-License-Identifier: Apache-2.0
// millet_tp: one layer shared out over the ranks of an MPI run, checked against one rank alone, with the time that each
// rank computes and communicates.
#include <mpi.h>

#include <CLI/CLI.hpp>
#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstdio>

#include "exit_code.hpp"
#include "millet/dispatch/kernel_instance.hpp"
#include "millet/dispatch/select.hpp"
#include "millet/measure/statistics.hpp"
#include "millet/reference/error_bound.hpp"
#include "millet/report/text_grid.hpp"
#include "near_names.hpp"
#include "operands/generate.hpp"
#include "run/backend_session.hpp"
#include "tp/exact_values.hpp"
#include "tp/layer.hpp"

namespace millet {

namespace {

// The options as typed.
struct Arguments {
  std::string split = "row";
  std::string backend = "portable";
  std::string values = "random";
  Index m = 4;
  Index n = 6144;
  Index k = 6144;
  Index experts = 32;
  Index top_k = 4;
  int runs = 11;
  std::uint64_t seed = 1;
};

// Complete operands; every rank makes the same.
struct Operands {
  HostActivations a;
  std::vector<MxMatrix<>> b;  // one matrix, or one for each expert
  std::vector<std::int32_t> topk_ids;
};

Expected<Operands> make_operands(const Arguments& arguments) {
  const bool exact = arguments.values == "exact";
  const bool moe = arguments.split == "experts";
  Operands operands;
  if (exact) {
    operands.a.mx = exact_values(arguments.m, arguments.k, arguments.seed);
  } else {
    auto a = make_activations(ActivationFormat::mx, random_activations(arguments.m, arguments.k, arguments.seed),
                              arguments.m, arguments.k);
    if (!a) return fail(std::move(a));
    operands.a = *std::move(a);
  }
  for (Index expert = 0; expert < (moe ? arguments.experts : 1); ++expert) {
    const std::uint64_t seed = mix_seed(arguments.seed, {1, static_cast<std::uint64_t>(expert)});
    operands.b.push_back(exact ? exact_values(arguments.n, arguments.k, seed)
                               : random_weights(arguments.n, arguments.k, ScaleMode::rceil, seed));
  }
  if (moe) operands.topk_ids = random_top_k(arguments.m, arguments.top_k, arguments.experts, arguments.seed);
  return operands;
}

// What one rank alone computes, and the oracle's answer.
struct Expectation {
  std::vector<float> c;
  reference::Product oracle;
};

template <class P>
Expected<Expectation> expect(const BackendSession& session, const HostOperands<P>& operands,
                             reference::Product oracle) {
  SelectOptions options;
  options.tuned = &session.tuned;
  auto chosen = select(*session.backend, session.device, operands.problem, with_environment(options));
  if (!chosen) return fail(std::move(chosen));
  auto instance = KernelInstance<P>::create(*session.backend, *chosen->kernel, chosen->policy, operands);
  if (!instance) return fail(std::move(instance));
  if (auto done = instance->run(Stream{}); !done) return fail(std::move(done));
  auto c = instance->output();
  if (!c) return fail(std::move(c));
  return Expectation{*std::move(c), std::move(oracle)};
}

Expected<Expectation> expect_alone(const Arguments& arguments, const BackendSession& session,
                                   const Operands& operands) {
  if (arguments.split != "experts") {
    const auto problem =
        make_gemm_problem(arguments.m, arguments.n, arguments.k, ActivationFormat::mx, OutputType::f32);
    if (!problem) return tl::unexpected(problem.error());
    const HostGemm host{*problem, &operands.a, &operands.b.front()};
    return expect<GemmProblem>(session, host, reference::eigen_gemm(host));
  }
  constexpr Index block_m = 16;
  auto routing = build_routing(operands.topk_ids, arguments.experts, block_m);
  if (!routing) return fail(std::move(routing));
  GroupedProblem fields;
  fields.experts = arguments.experts;
  fields.slots = arguments.m * arguments.top_k;
  fields.n = arguments.n;
  fields.k = arguments.k;
  fields.a_div = arguments.top_k;
  fields.block_m = block_m;
  fields.padded_slots = static_cast<Index>(routing->sorted_token_ids.size());
  fields.output = OutputType::f32;
  const auto problem = make_grouped_problem(fields);
  if (!problem) return tl::unexpected(problem.error());
  const HostGrouped host{*problem, &operands.a, &operands.b, &*routing, nullptr};
  return expect<GroupedProblem>(session, host, reference::eigen_grouped_gemm(host));
}

// Whether the result is right, in one line: bit for bit where the arithmetic is exact, else within the error bound.
struct Verdict {
  bool correct = false;
  std::string text;
};

Verdict judge(const Arguments& arguments, const std::vector<float>& c, const Expectation& alone) {
  std::size_t different = 0;
  for (std::size_t i = 0; i < alone.c.size(); ++i) {
    different += __builtin_bit_cast(std::uint32_t, c[i]) == __builtin_bit_cast(std::uint32_t, alone.c[i]) ? 0 : 1;
  }
  const auto comparison =
      reference::compare(c, alone.oracle, {.accumulator = f32_accumulator, .output = OutputType::f32});
  const bool exact = arguments.values == "exact";
  const std::string bits =
      different == 0 ? "bit-equal to one rank"
                     : fmt::format("{} of {} elements differ from one rank's bits", different, alone.c.size());
  const std::string bound = comparison.correct ? fmt::format("errors up to {:.3f} of the bound", comparison.max_ratio)
                                               : "INCORRECT: " + comparison.verdict;
  return {comparison.correct && (!exact || different == 0), bits + "; " + bound};
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

Expected<ExitCode> run(const Arguments& arguments, const Ranks& ranks) {
  const std::vector<std::string> splits{"column", "row", "experts"};
  if (std::find(splits.begin(), splits.end(), arguments.split) == splits.end()) {
    return tl::unexpected(unknown_name("--split", arguments.split, splits));
  }
  const std::vector<std::string> kinds{"random", "exact"};
  if (std::find(kinds.begin(), kinds.end(), arguments.values) == kinds.end()) {
    return tl::unexpected(unknown_name("--values", arguments.values, kinds));
  }
  if (const auto problem = make_gemm_problem(arguments.m, arguments.n, arguments.k); !problem) {
    return tl::unexpected(problem.error());
  }
  if (arguments.split == "experts" && (arguments.top_k < 1 || arguments.top_k > arguments.experts)) {
    return fail(ErrorCode::invalid_argument, "--top-k: {} of {} experts; give a number in [1, {}]", arguments.top_k,
                arguments.experts, arguments.experts);
  }
  auto sessions = open_backends({arguments.backend}, Purpose::results, false);
  Expected<void> opened;
  if (!sessions) opened = fail(sessions.error().code, "{}", sessions.error().message);
  if (auto all = ranks.agree(opened); !all) return fail(std::move(all));
  const BackendSession& session = sessions->front();
  const auto operands = make_operands(arguments);
  if (!operands) return tl::unexpected(operands.error());

  auto outcome = arguments.split == "column"
                     ? column_parallel(ranks, session, operands->a, operands->b.front(), arguments.m, arguments.runs)
                 : arguments.split == "row"
                     ? row_parallel(ranks, session, operands->a, operands->b.front(), arguments.m, arguments.runs)
                     : expert_parallel(ranks, session, operands->a, operands->b, operands->topk_ids, arguments.runs);
  if (!outcome) return fail(std::move(outcome));

  const std::string line = fmt::format(
      "{}\n{}\n{:.1f}\n{:.1f}", outcome->share, outcome->kernel.empty() ? "nothing to compute" : outcome->kernel,
      1e6 * summarize(outcome->compute_seconds).median, 1e6 * summarize(outcome->communicate_seconds).median);
  const auto lines = ranks.gather_all(bytes_of(line));
  if (!lines) return tl::unexpected(lines.error());
  Verdict verdict;
  Expected<void> judged;
  if (ranks.rank() == 0) {
    const auto alone = expect_alone(arguments, session, *operands);
    if (alone) {
      verdict = judge(arguments, outcome->c, *alone);
    } else {
      judged = fail(alone.error().code, "{}", alone.error().message);
    }
    if (alone && !verdict.correct) judged = fail(ErrorCode::incorrect_result, "{}", verdict.text);
  }
  if (auto all = ranks.agree(judged); !all) return fail(std::move(all));
  if (ranks.rank() != 0) return ExitCode::ok;
  TextGrid grid;
  grid.header = {"rank", "share", "kernel", "compute us", "communicate us"};
  grid.left_columns = 3;
  for (std::size_t rank = 0; rank < lines->size(); ++rank) {
    const auto& bytes = (*lines)[rank];
    std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    std::vector<std::string> row{fmt::format("{}", rank)};
    for (std::size_t end = 0; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
      row.push_back(text.substr(0, end));
    }
    row.push_back(text);
    grid.rows.push_back(std::move(row));
  }
  fmt::print(
      "{} split over {} rank{}: m={} n={} k={}{}, {} values, {} on {}; medians of {} runs\n\n{}\n{}\n", arguments.split,
      ranks.size(), ranks.size() == 1 ? "" : "s", arguments.m, arguments.n, arguments.k,
      arguments.split == "experts" ? fmt::format(" experts={} top_k={}", arguments.experts, arguments.top_k) : "",
      arguments.values, session.backend->name, session.device.runtime, arguments.runs, to_terminal(grid), verdict.text);
  return ExitCode::ok;
}

// Parses, runs, and tells about errors once.
int run_ranks(int argc, char** argv) {
  const Ranks ranks;
  Arguments a;
  CLI::App app{"One layer shared out over MPI ranks: mpirun -n 4 millet_tp --split row", "millet_tp"};
  app.add_option("--split", a.split,
                 "What is shared out: row (k, default), column (n), experts (of a MoE layer, and its tokens)");
  app.add_option("--m", a.m, "Rows of A; with --split experts the tokens");
  app.add_option("--n", a.n, "Columns of C");
  app.add_option("--k", a.k, "Reduction extent");
  app.add_option("--experts", a.experts, "Experts of the layer")->check(CLI::PositiveNumber);
  app.add_option("--top-k", a.top_k, "Experts of a token");
  app.add_option("--backend", a.backend, "What each rank computes with: portable (default), ...");
  app.add_option("--values", a.values, "random (default; checked by the error bound) or exact (checked bit for bit)");
  app.add_option("--runs", a.runs, "Timed runs")->check(CLI::PositiveNumber);
  app.add_option("--seed", a.seed, "Of operands and routing");
  app.footer(exit_code_help);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool help = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
    if (ranks.rank() == 0) {
      if (help) return app.exit(error);
      fmt::print(stderr, "millet_tp: {}; see millet_tp --help\n", error.what());
    }
    return static_cast<int>(help ? ExitCode::ok : ExitCode::usage);
  }
  const auto code = run(a, ranks);
  if (code) return static_cast<int>(*code);
  if (ranks.rank() == 0) fmt::print(stderr, "millet_tp: {}\n", code.error().message);
  return static_cast<int>(exit_code_of(code.error().code));
}

}  // namespace
}  // namespace millet

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int code = 0;
  {
    const Kokkos::ScopeGuard kokkos;
    code = millet::run_ranks(argc, argv);
  }
  MPI_Finalize();
  return code;
}
