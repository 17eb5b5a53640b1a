// SPDX-License-Identifier: Apache-2.0
#include "baselines/baseline_program.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "arguments.hpp"
#include "baselines/line_process.hpp"

namespace millet {

namespace {

using Json = nlohmann::json;

constexpr int protocol_version = 1;

// The file of a program: beside the running one, else where it was built.
std::string find_program(const std::string& file, const std::filesystem::path& built) {
  std::error_code ignored;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / "baselines" / file;
  return std::filesystem::exists(beside, ignored) ? beside.string() : (built / file).string();
}

std::string python_command() {
  const char* const named = std::getenv("MILLET_PYTHON");
  const std::string python = named != nullptr && *named != '\0' ? named : "python3";
  return shell_word(python) + " -B " + shell_word(find_program("gpu_products.py", MILLET_BASELINE_SOURCE_DIR));
}
std::string floor_command() { return shell_word(find_program("millet_read_floor", MILLET_BASELINE_DIR "/baselines")); }

struct BuiltIn {
  std::string (*command)();
  std::vector<std::string> names;
  const char* needs;
};
const std::vector<BuiltIn>& built_ins() {
  static const std::vector<BuiltIn> all{
      {python_command,
       {"triton", "triton_best", "triton_retuned", "cublaslt", "bf16"},
       "install python3 with torch and triton, or name another interpreter in MILLET_PYTHON"},
      {floor_command, {"floor", "floor_early"}, "build millet with MILLET_ENABLE_HOPPER and a CUDA compiler"},
  };
  return all;
}

std::vector<Index> routed_experts(const HostGrouped& operands) {
  const GroupedProblem& p = operands.problem;
  const Routing& routing = *operands.routing;
  std::vector<Index> expert_of_slot(static_cast<std::size_t>(p.slots), -1);
  std::vector<Index> place(static_cast<std::size_t>(p.experts), -1);
  Index places = 0;
  for (Index entry = 0; entry < std::min<Index>(routing.num_tokens_post_padded, p.padded_slots); ++entry) {
    const Index slot = routing.sorted_token_ids[entry];
    const Index expert = routing.expert_ids[entry / p.block_m];
    if (slot < 0 || slot >= p.slots || expert < 0 || expert >= p.experts) continue;
    if (place[expert] < 0) place[expert] = places++;
    expert_of_slot[slot] = place[expert];
  }
  return expert_of_slot;
}

// A text of an answer, or nothing.
std::string text_of(const Json& answer, const char* key) {
  const auto found = answer.find(key);
  return found != answer.end() && found->is_string() ? found->get<std::string>() : "";
}
double number_of(const Json& answer, const char* key) {
  const auto found = answer.find(key);
  return found != answer.end() && found->is_number() ? found->get<double>() : 0.0;
}

}  // namespace

const std::vector<std::string>& program_baseline_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const BuiltIn& program : built_ins()) all.insert(all.end(), program.names.begin(), program.names.end());
    return all;
  }();
  return names;
}

std::vector<BaselineCommand> built_in_programs(const std::vector<std::string>& names) {
  std::vector<BaselineCommand> commands;
  for (const BuiltIn& program : built_ins()) {
    BaselineCommand wanted{program.command(), {}, program.needs};
    for (const std::string& name : program.names) {
      if (std::find(names.begin(), names.end(), name) != names.end()) wanted.names.push_back(name);
    }
    if (!wanted.names.empty()) commands.push_back(std::move(wanted));
  }
  return commands;
}

ProgramProblem program_problem(const HostGemm& operands, Index touched_weight_bytes) {
  const GemmProblem& p = operands.problem;
  ProgramProblem problem;
  problem.operation = "dense";
  problem.m = p.m;
  problem.n = p.n;
  problem.k = p.k;
  problem.activation = to_string(p.activation);
  problem.output = to_string(p.output);
  problem.touched_weight_bytes = touched_weight_bytes;
  return problem;
}

ProgramProblem program_problem(const HostGrouped& operands, Index touched_weight_bytes) {
  const GroupedProblem& p = operands.problem;
  ProgramProblem problem;
  problem.operation = "grouped";
  problem.m = p.a_rows();
  problem.n = p.n;
  problem.k = p.k;
  problem.activation = to_string(p.activation);
  problem.output = to_string(p.output);
  problem.epilogue = to_string(p.epilogue);
  problem.a_div = p.a_div;
  problem.weighted = p.weighted;
  problem.expert_of_slot = routed_experts(operands);
  problem.touched_weight_bytes = touched_weight_bytes;
  return problem;
}

struct BaselineProgram::State {
  BaselineCommand command;
  std::string device;
  double limit = 0;
  std::unique_ptr<LineProcess> process;
  std::string failure;
  Index next_id = 0;

  [[nodiscard]] tl::unexpected<Error> fail_for_good(std::string_view request, std::string_view what) {
    failure = fmt::format("program '{}', asked to {}: {}", command.command, request, what);
    process.reset();
    return fail(ErrorCode::io_error, "{}", failure);
  }

  // The answer, an object. Errors: io_error when there is none, now or before.
  Expected<Json> ask(std::string_view request, Json line) {
    if (!failure.empty()) return fail(ErrorCode::io_error, "{}", failure);
    line["request"] = request;
    auto text = process->exchange(line.dump(), limit);
    if (!text) return fail_for_good(request, text.error().message);
    Json answer = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
    if (answer.is_object()) return answer;
    constexpr std::size_t shown = 80;
    return fail_for_good(request, fmt::format("it answered '{}', which is no JSON object; its standard output is for "
                                              "answers alone",
                                              text->substr(0, shown)));
  }

  Expected<double> sample(Index id) {
    auto answer = ask("sample", {{"id", id}});
    if (!answer) return fail(std::move(answer));
    if (const std::string error = text_of(*answer, "error"); !error.empty()) return fail_for_good("sample", error);
    const double seconds = number_of(*answer, "seconds");
    if (seconds > 0 && std::isfinite(seconds)) return seconds;
    return fail_for_good("sample", fmt::format("it answered {}; wanted seconds > 0", answer->dump()));
  }
};

Expected<BaselineProgram> BaselineProgram::start(const BaselineCommand& command,
                                                 const std::vector<std::string>& devices, double limit) {
  auto process = LineProcess::start(command.command);
  if (!process) return fail(std::move(process));
  BaselineProgram program;
  program.state_ = std::make_shared<State>();
  State& state = *program.state_;
  state.command = command;
  state.limit = limit;
  state.process = *std::move(process);
  const auto answer =
      state.ask("hello", {{"protocol", protocol_version}, {"baselines", command.names}, {"devices", devices}});
  const std::string names = fmt::format("{}", fmt::join(command.names, ", "));
  if (!answer) {
    return fail(ErrorCode::unavailable, "baseline {}: {}{}{}", names, answer.error().message,
                command.needs.empty() ? "" : "; ", command.needs);
  }
  if (const std::string error = text_of(*answer, "error"); !error.empty()) {
    return fail(ErrorCode::unavailable, "baseline {}: {}", names, error);
  }
  if (number_of(*answer, "protocol") != protocol_version) {
    return fail(ErrorCode::unavailable, "baseline {}: program '{}' answered the greeting with {}; wanted protocol {}",
                names, command.command, answer->dump(), protocol_version);
  }
  state.device = text_of(*answer, "device");
  if (std::find(devices.begin(), devices.end(), state.device) == devices.end()) {
    return fail(ErrorCode::unavailable,
                "baseline {}: it computes on '{}', and kernels are timed on '{}' here: a ratio between devices would "
                "say nothing",
                names, state.device, fmt::join(devices, "', '"));
  }
  return program;
}

const std::vector<std::string>& BaselineProgram::names() const noexcept { return state_->command.names; }
const std::string& BaselineProgram::device() const noexcept { return state_->device; }
const std::string& BaselineProgram::failure() const noexcept { return state_->failure; }

Expected<ProgramContender> BaselineProgram::prepare(const std::string& name, const ProgramProblem& problem,
                                                    const ProgramConditions& conditions) const {
  Json line{{"baseline", name},
            {"operation", problem.operation},
            {"m", problem.m},
            {"n", problem.n},
            {"k", problem.k},
            {"activation", problem.activation},
            {"output", problem.output},
            {"touched_weight_bytes", problem.touched_weight_bytes},
            {"protocol", to_string(conditions.protocol)},
            {"last_level_cache_bytes", conditions.last_level_cache_bytes},
            {"launches_per_sample", conditions.launches_per_sample}};
  if (problem.operation == "grouped") {
    line["epilogue"] = problem.epilogue;
    line["a_div"] = problem.a_div;
    line["weighted"] = problem.weighted;
    line["expert_of_slot"] = problem.expert_of_slot;
  }
  const Index id = state_->next_id++;
  line["id"] = id;
  auto answer = state_->ask("prepare", std::move(line));
  if (!answer) return fail(std::move(answer));
  if (const std::string reason = text_of(*answer, "declined"); !reason.empty()) {
    return fail(ErrorCode::unsupported, "{}", reason);
  }
  if (const std::string what = text_of(*answer, "incorrect"); !what.empty()) {
    return fail(ErrorCode::incorrect_result, "{}", what);
  }
  if (const std::string error = text_of(*answer, "error"); !error.empty()) {
    return state_->fail_for_good("prepare", error);
  }
  ProgramContender made;
  made.title = text_of(*answer, "title");
  made.detail = text_of(*answer, "detail");
  made.role = text_of(*answer, "role");
  if (made.role.empty()) made.role = "performance";
  if (made.title.empty() || (made.role != "performance" && made.role != "floor")) {
    return state_->fail_for_good(
        "prepare",
        fmt::format("it answered {}; wanted a title, and a role that is performance or floor", answer->dump()));
  }
  Contender& contender = made.contender;
  contender.name = made.title;
  contender.cache.copies = static_cast<Index>(number_of(*answer, "copies"));
  contender.cache.footprint_bytes = static_cast<Index>(number_of(*answer, "footprint_bytes"));
  contender.cache.last_level_cache_bytes = conditions.last_level_cache_bytes;
  contender.cache.cold = conditions.protocol == Protocol::cold_graph && conditions.last_level_cache_bytes > 0 &&
                         contender.cache.footprint_bytes > 2 * conditions.last_level_cache_bytes;
  contender.batches.emplace_back([state = state_, id] { return state->sample(id); });
  return made;
}

void BaselineProgram::release() const {
  if (state_->failure.empty()) static_cast<void>(state_->ask("release", Json::object()));
}

}  // namespace millet
