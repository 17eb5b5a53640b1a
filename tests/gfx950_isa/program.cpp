// SPDX-License-Identifier: Apache-2.0
#include "program.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <stdexcept>
#include <unordered_map>

namespace millet::gfx950_isa {

namespace {

constexpr std::string_view operation_names[] = {
#define MILLET_NAME(name) #name,
    MILLET_GFX950_OPERATIONS(MILLET_NAME)
#undef MILLET_NAME
};

const std::unordered_map<std::string_view, Operation>& operations_by_name() {
  static const auto by_name = [] {
    std::unordered_map<std::string_view, Operation> map;
    for (std::size_t i = 0; i < std::size(operation_names); ++i)
      map.emplace(operation_names[i], static_cast<Operation>(i));
    return map;
  }();
  return by_name;
}

/// Why a line cannot be decoded.
struct Unknown : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Args>
[[noreturn]] void unknown(fmt::format_string<Args...> text, Args&&... args) {
  throw Unknown(fmt::format(text, std::forward<Args>(args)...));
}

std::string_view trim(std::string_view x) {
  while (!x.empty() && (x.front() == ' ' || x.front() == '\t')) x.remove_prefix(1);
  while (!x.empty() && (x.back() == ' ' || x.back() == '\t' || x.back() == '\r')) x.remove_suffix(1);
  return x;
}

/// The text up to `separator`, which is taken off the front of `rest`.
std::string_view split_off(std::string_view& rest, char separator) {
  const std::size_t at = std::min(rest.find(separator), rest.size());
  const std::string_view head = rest.substr(0, at);
  rest.remove_prefix(std::min(at + 1, rest.size()));
  return head;
}

template <class T>
std::optional<T> parse_number(std::string_view text, int base) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  if (text.starts_with("0x")) {
    const auto value = parse_number<std::uint32_t>(text.substr(2), 16);
    if (!value) return std::nullopt;
    return static_cast<std::int64_t>(*value);
  }
  return parse_number<std::int64_t>(text, 10);
}

int parse_register_number(std::string_view text, std::string_view operand) {
  const auto number = parse_number<int>(text, 10);
  if (!number) unknown("operand '{}'", operand);
  return *number;
}

/// s4, v[2:5], vcc, exec_lo, -1, 0x7f, 1.0, off, -v4, |v4|, -|v4|
Operand parse_operand(std::string_view text) {
  Operand operand;
  if (text.size() > 1 && text[0] == '-' && (text[1] == 'v' || text[1] == 's' || text[1] == '|')) {
    operand = parse_operand(text.substr(1));
    if (operand.kind == Operand::Kind::constant) unknown("operand '{}'", text);
    operand.negated = true;
    return operand;
  }
  if (text.size() > 2 && text.front() == '|' && text.back() == '|') {
    operand = parse_operand(text.substr(1, text.size() - 2));
    if (operand.kind == Operand::Kind::constant) unknown("operand '{}'", text);
    operand.absolute = true;
    return operand;
  }
  const auto scalar = [&](int first, int count) {
    operand.kind = Operand::Kind::scalar;
    operand.first = static_cast<std::uint16_t>(first);
    operand.count = static_cast<std::uint8_t>(count);
    return operand;
  };
  if (text == "vcc") return scalar(vcc, 2);
  if (text == "vcc_lo") return scalar(vcc, 1);
  if (text == "vcc_hi") return scalar(vcc + 1, 1);
  if (text == "exec") return scalar(exec, 2);
  if (text == "exec_lo") return scalar(exec, 1);
  if (text == "exec_hi") return scalar(exec + 1, 1);
  if (text == "m0") return scalar(m0, 1);
  if (text == "off") {
    operand.kind = Operand::Kind::off;
    return operand;
  }
  constexpr std::pair<std::string_view, float> fractions[] = {{"0.5", 0.5F},   {"-0.5", -0.5F}, {"1.0", 1.0F},
                                                              {"-1.0", -1.0F}, {"2.0", 2.0F},   {"-2.0", -2.0F},
                                                              {"4.0", 4.0F},   {"-4.0", -4.0F}};
  for (const auto& [name, value] : fractions) {
    if (text != name) continue;
    operand.kind = Operand::Kind::constant;
    operand.value = static_cast<std::int64_t>(__builtin_bit_cast(std::uint32_t, value));
    return operand;
  }
  if (const auto value = parse_integer(text)) {
    operand.kind = Operand::Kind::constant;
    operand.value = *value;
    return operand;
  }
  if (text.size() < 2 || (text[0] != 's' && text[0] != 'v' && text[0] != 'a')) unknown("operand '{}'", text);
  std::string_view numbers = text.substr(1);
  int first = 0;
  int last = 0;
  if (numbers.front() == '[' && numbers.back() == ']') {
    numbers = numbers.substr(1, numbers.size() - 2);
    first = parse_register_number(split_off(numbers, ':'), text);
    last = parse_register_number(numbers, text);
  } else {
    first = last = parse_register_number(numbers, text);
  }
  const int registers = text[0] == 's' ? general_scalar_registers : 256;
  if (first < 0 || last < first || last >= registers || last - first >= 16) unknown("operand '{}'", text);
  if (text[0] == 'a') {
    first += 256;
    last += 256;
  }
  operand.kind = text[0] == 's' ? Operand::Kind::scalar : Operand::Kind::vector;
  operand.first = static_cast<std::uint16_t>(first);
  operand.count = static_cast<std::uint8_t>(last - first + 1);
  return operand;
}

/// [1,0,1] as bits.
std::uint8_t parse_bits(std::string_view text) {
  if (text.size() < 3 || text.front() != '[' || text.back() != ']') unknown("modifier value '{}'", text);
  std::string_view rest = text.substr(1, text.size() - 2);
  int bits = 0;
  for (int i = 0; !rest.empty(); ++i) {
    const std::string_view bit = split_off(rest, ',');
    if ((bit != "0" && bit != "1") || i > 3) unknown("modifier value '{}'", text);
    if (bit == "1") bits |= 1 << i;
  }
  return static_cast<std::uint8_t>(bits);
}

Select parse_select(std::string_view text) {
  constexpr std::pair<std::string_view, Select> names[] = {
      {"DWORD", Select::dword},   {"BYTE_0", Select::byte_0}, {"BYTE_1", Select::byte_1}, {"BYTE_2", Select::byte_2},
      {"BYTE_3", Select::byte_3}, {"WORD_0", Select::word_0}, {"WORD_1", Select::word_1}};
  for (const auto& [name, select] : names)
    if (text == name) return select;
  unknown("selection '{}'", text);
}

void parse_modifier(std::string_view text, Instruction& to) {
  if (text == "nt") {
    to.nt = true;
  } else if (text == "sc0") {
    to.sc0 = true;
  } else if (text == "sc1") {
    to.sc1 = true;
  } else if (text == "offen") {
    to.offen = true;
  } else if (text == "clamp") {
    to.clamp = true;
  } else if (text.starts_with("offset:")) {
    const auto value = parse_integer(text.substr(7));
    if (!value) unknown("modifier '{}'", text);
    to.offset = static_cast<std::int32_t>(*value);
  } else if (text.starts_with("offset0:") || text.starts_with("offset1:") || text.starts_with("bitop3:")) {
    const auto value = parse_integer(text.substr(text.find(':') + 1));
    if (!value || *value < 0 || *value > 255) unknown("modifier '{}'", text);
    if (text.starts_with("offset0:")) to.offset = static_cast<std::int32_t>(*value);
    if (text.starts_with("offset1:")) to.offset1 = static_cast<std::int32_t>(*value);
    if (text.starts_with("bitop3:")) to.truth_table = static_cast<std::uint8_t>(*value);
  } else if (text.starts_with("op_sel:")) {
    to.op_sel = parse_bits(text.substr(7));
  } else if (text.starts_with("op_sel_hi:")) {
    to.op_sel_hi = parse_bits(text.substr(10));
  } else if (text.starts_with("neg_lo:")) {
    to.neg_lo = parse_bits(text.substr(7));
  } else if (text.starts_with("neg_hi:")) {
    to.neg_hi = parse_bits(text.substr(7));
  } else if (text.starts_with("src0_sel:")) {
    to.select[0] = parse_select(text.substr(9));
  } else if (text.starts_with("src1_sel:")) {
    to.select[1] = parse_select(text.substr(9));
  } else if (text.starts_with("row_newbcast:")) {
    const auto lane = parse_number<std::int8_t>(text.substr(text.find(':') + 1), 10);
    if (!lane || *lane < 0 || *lane > 15) unknown("modifier '{}'", text);
    to.broadcast = *lane;
  } else if (text != "dst_sel:DWORD" && text != "dst_unused:UNUSED_PAD" && text != "row_mask:0xf" &&
             text != "bank_mask:0xf" && text != "bound_ctrl:1") {
    unknown("modifier '{}'", text);
  }
}

/// vmcnt(3) expcnt(0) lgkmcnt(0)
void parse_waits(std::string_view text, Instruction& to) {
  while (!(text = trim(text)).empty()) {
    const std::string_view name = split_off(text, '(');
    const auto count = parse_number<std::int16_t>(split_off(text, ')'), 10);
    if (!count || *count < 0) unknown("wait '{}'", name);
    if (name == "vmcnt") {
      to.vmcnt = *count;
    } else if (name == "lgkmcnt") {
      to.lgkmcnt = *count;
    } else if (name != "expcnt") {  // exports, which compute kernels have none of
      unknown("wait '{}'", name);
    }
  }
}

bool is_branch(Operation operation) noexcept {
  return operation >= Operation::s_branch && operation <= Operation::s_cbranch_execnz;
}

/// Whether -x and |x| of a source are implemented: sources are f32, one register each.
bool takes_signs(std::string_view name) noexcept {
  return (name.ends_with("_f32") && !name.starts_with("v_pk_") && !name.starts_with("v_cvt_")) ||
         name == "v_cndmask_b32";
}

Instruction parse_instruction(std::string_view text) {
  Instruction x;
  x.text = text;
  std::string_view rest = text;
  std::string_view name = split_off(rest, ' ');
  rest = trim(rest);
  for (const std::string_view suffix : {"_e32", "_e64", "_sdwa", "_dpp"}) {
    if (!name.ends_with(suffix)) continue;
    x.sdwa = suffix == "_sdwa";
    x.dpp = suffix == "_dpp";
    name.remove_suffix(suffix.size());
    break;
  }
  const auto found = operations_by_name().find(name);
  if (found == operations_by_name().end()) unknown("instruction '{}'", name);
  x.operation = found->second;
  if (x.operation == Operation::s_waitcnt) {
    parse_waits(rest, x);
    return x;
  }
  if (is_branch(x.operation) || class_of(x.operation) == InstructionClass::control) return x;
  while (!rest.empty()) {
    std::string_view word = trim(split_off(rest, ','));
    // The last operand is followed by modifiers, whose values may have commas of their own.
    const std::size_t space = word.find(' ');
    if (space != std::string_view::npos) {
      rest = std::string_view(word.data() + space,
                              static_cast<std::size_t>(text.data() + text.size() - word.data()) - space);
      word = word.substr(0, space);
    }
    if (x.operand_count == x.operands.size()) unknown("more than {} operands", x.operands.size());
    x.operands[x.operand_count] = parse_operand(word);
    const Operand& operand = x.operands[x.operand_count++];
    if ((operand.negated || operand.absolute) && !takes_signs(name)) unknown("operand '{}' of {}", word, name);
    if (space == std::string_view::npos) continue;
    while (!(rest = trim(rest)).empty()) parse_modifier(split_off(rest, ' '), x);
  }
  const bool takes_dpp = name == "v_mov_b32" || name == "v_max_u32" || name == "v_add_u32";
  if (x.dpp && (!takes_dpp || x.broadcast < 0)) unknown("DPP of {}", name);
  if (x.clamp && name != "v_sub_u32") unknown("modifier 'clamp' of {}", name);
  if (x.sdwa && x.operand_count != 3 && x.operand_count != 2) unknown("SDWA with {} operands", x.operand_count);
  const bool selects = x.op_sel != 0 || x.op_sel_hi != 7 || x.neg_lo != 0 || x.neg_hi != 0;
  if (selects && !name.starts_with("v_pk_") && !name.starts_with("v_mfma_") && name != "v_cvt_pk_fp8_f32")
    unknown("modifiers of {}", name);
  return x;
}

void read_metadata(std::string_view notes, std::map<std::string, Kernel, std::less<>>& kernels) {
  Kernel* kernel = nullptr;
  std::vector<Kernel> list;
  while (!notes.empty()) {
    std::string_view line = trim(split_off(notes, '\n'));
    if (line.starts_with("- .") && (line.starts_with("- .agpr_count") || line.starts_with("- .args"))) {
      list.emplace_back();
      kernel = &list.back();
    }
    if (line.starts_with("- ")) line.remove_prefix(2);
    if (kernel == nullptr || !line.starts_with('.')) continue;
    const std::string_view key = split_off(line, ':');
    const std::string_view text = trim(line);
    const int value = parse_number<int>(text, 10).value_or(0);
    if (key == ".name") kernel->symbol = std::string(text);
    if (key == ".group_segment_fixed_size") kernel->lds_bytes = static_cast<std::uint32_t>(value);
    if (key == ".kernarg_segment_size") kernel->argument_bytes = static_cast<std::uint32_t>(value);
    if (key == ".max_flat_workgroup_size") kernel->threads = value;
    if (key == ".vgpr_count") kernel->vector_registers = value;
    if (key == ".agpr_count") kernel->accumulation_registers = value;
    if (key == ".vgpr_spill_count" || key == ".sgpr_spill_count") kernel->spills += value;
    if (key == ".private_segment_fixed_size") kernel->scratch_bytes = value;
  }
  for (Kernel& x : list) {
    std::string symbol = x.symbol;
    kernels.emplace(std::move(symbol), std::move(x));
  }
}

}  // namespace

InstructionClass class_of(Operation operation) noexcept {
  switch (operation) {
#define MILLET_CASE(name) case Operation::name:
    MILLET_GFX950_SCALAR_OPERATIONS(MILLET_CASE)
    return InstructionClass::salu;
    MILLET_GFX950_SCALAR_LOADS(MILLET_CASE)
    return InstructionClass::scalar_load;
    MILLET_GFX950_CONTROL_OPERATIONS(MILLET_CASE)
    return InstructionClass::control;
    MILLET_GFX950_VECTOR_OPERATIONS(MILLET_CASE)
    return InstructionClass::valu;
    MILLET_GFX950_VECTOR_LOADS(MILLET_CASE)
    return InstructionClass::vector_load;
    MILLET_GFX950_VECTOR_STORES(MILLET_CASE)
    return InstructionClass::vector_store;
    MILLET_GFX950_LDS_OPERATIONS(MILLET_CASE)
    return InstructionClass::lds;
#undef MILLET_CASE
    case Operation::s_waitcnt:
      return InstructionClass::wait;
    case Operation::v_mfma_scale_f32_16x16x128_f8f6f4:
      return InstructionClass::mfma;
  }
  return InstructionClass::control;
}

std::string_view name_of(Operation operation) noexcept { return operation_names[static_cast<std::size_t>(operation)]; }

Expected<Program> Program::parse(std::string disassembly, std::string_view notes) {
  Program program;
  program.text_.assign(disassembly.begin(), disassembly.end());
  std::map<std::string, Kernel, std::less<>> metadata;
  read_metadata(notes, metadata);

  std::map<std::string, std::uint64_t, std::less<>> symbols;
  std::unordered_map<std::uint64_t, std::uint32_t> by_address;
  struct Branch {
    std::size_t instruction;
    std::string_view target;  // symbol+0x1c
  };
  std::vector<Branch> branches;
  std::string_view rest(program.text_.data(), program.text_.size());
  for (std::uint32_t line = 1; !rest.empty(); ++line) {
    const std::string_view whole = split_off(rest, '\n');
    const auto error = [&](std::string_view what) {
      return fail(ErrorCode::parse_error, "disassembly line {}: {}: {}", line, what, trim(whole));
    };
    if (!whole.starts_with('\t')) {  // 0000000000001900 <symbol>:
      const std::size_t open = whole.find(" <");
      if (open == std::string_view::npos || !whole.ends_with(">:")) continue;
      const auto address = parse_number<std::uint64_t>(whole.substr(0, open), 16);
      if (!address) continue;
      const std::string symbol(whole.substr(open + 2, whole.size() - open - 4));
      symbols[symbol] = *address;
      const auto known = metadata.find(symbol);
      if (known == metadata.end()) continue;
      program.kernels_.push_back(known->second);
      program.kernels_.back().first = static_cast<std::uint32_t>(program.instructions_.size());
      continue;
    }
    const std::size_t comment = whole.find("//");
    if (comment == std::string_view::npos) return error("no address");
    std::string_view after = trim(whole.substr(comment + 2));
    const auto address = parse_number<std::uint64_t>(split_off(after, ':'), 16);
    if (!address) return error("no address");
    try {
      Instruction x = parse_instruction(trim(whole.substr(0, comment)));
      x.line = line;
      x.address = *address;
      if (is_branch(x.operation)) {
        const std::size_t open = after.rfind('<');
        if (open == std::string_view::npos || !after.ends_with('>')) return error("no branch target");
        branches.push_back({program.instructions_.size(), after.substr(open + 1, after.size() - open - 2)});
      }
      by_address[*address] = static_cast<std::uint32_t>(program.instructions_.size());
      program.instructions_.push_back(x);
    } catch (const Unknown& what) {
      return error(fmt::format("unknown {}", what.what()));
    }
  }
  for (const Branch& branch : branches) {
    Instruction& x = program.instructions_[branch.instruction];
    std::string_view offset = branch.target;
    const auto symbol = symbols.find(split_off(offset, '+'));
    const auto distance = offset.empty() ? std::optional<std::int64_t>(0) : parse_integer(offset);
    const auto found = symbol == symbols.end() || !distance
                           ? by_address.end()
                           : by_address.find(symbol->second + static_cast<std::uint64_t>(*distance));
    if (found == by_address.end())
      return fail(ErrorCode::parse_error, "disassembly line {}: unknown branch target {}: {}", x.line, branch.target,
                  x.text);
    x.target = found->second;
  }
  return program;
}

Expected<Program> Program::read(const std::string& folder, std::string_view name) {
  const auto text_of = [](const std::string& path) -> Expected<std::string> {
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file.is_open() || file.bad()) return fail(ErrorCode::io_error, "cannot read {}", path);
    return text;
  };
  auto disassembly = text_of(fmt::format("{}/{}.s", folder, name));
  if (!disassembly) return fail(std::move(disassembly));
  const auto notes = text_of(fmt::format("{}/{}.notes", folder, name));
  if (!notes) return fail(ErrorCode::io_error, "{}", notes.error().message);
  return parse(*std::move(disassembly), *notes);
}

const Kernel* Program::find(std::string_view symbol) const noexcept {
  for (const Kernel& kernel : kernels_)
    if (kernel.symbol == symbol) return &kernel;
  return nullptr;
}

}  // namespace millet::gfx950_isa
