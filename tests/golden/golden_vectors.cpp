// SPDX-License-Identifier: Apache-2.0
#include "golden/golden_vectors.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <type_traits>

namespace millet::golden {

namespace {

using nlohmann::json;

/// Thrown inside this file only; parse() turns it into an Error.
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::uint32_t parse_hex(std::string_view digits) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) {
    throw Malformed(fmt::format("'{}' is not a hexadecimal number", digits));
  }
  return value;
}

/// "0x3F800000", with exactly `digits` digits.
std::uint32_t prefixed_hex(const json& record, const char* key, std::size_t digits) {
  const auto& text = record.at(key).get_ref<const std::string&>();
  if (text.size() != digits + 2 || !text.starts_with("0x")) {
    throw Malformed(fmt::format("{}: '{}' is not 0x and {} digits", key, text, digits));
  }
  return parse_hex(std::string_view(text).substr(2));
}

bool is_nan_text(const json& record, const char* key) { return record.at(key) == "nan"; }

float read_f32(const json& record, const char* key) {
  return __builtin_bit_cast(float, is_nan_text(record, key) ? 0x7FC00000U : prefixed_hex(record, key, 8));
}

BF16 read_bf16(const json& record, const char* key) {
  return BF16{static_cast<std::uint16_t>(is_nan_text(record, key) ? 0x7FC0U : prefixed_hex(record, key, 4))};
}

E4M3 read_e4m3(const json& record, const char* key) {
  return E4M3{static_cast<std::uint8_t>(prefixed_hex(record, key, 2))};
}

E8M0 as_scale(const json& number) {
  const auto code = number.get<std::int64_t>();
  if (code < 0 || code > 255) throw Malformed(fmt::format("scale code {} is outside [0, 255]", code));
  return E8M0{static_cast<std::uint8_t>(code)};
}

std::string read_text(const json& record, const char* key) { return record.at(key).get<std::string>(); }

/// "7E38FE2E...": two digits a code.
std::vector<E4M3> read_codes(const json& record, const char* key, std::size_t count) {
  const auto& text = record.at(key).get_ref<const std::string&>();
  if (text.size() != 2 * count)
    throw Malformed(fmt::format("{}: {} codes wanted, got {} digits", key, count, text.size()));
  std::vector<E4M3> codes(count);
  for (std::size_t i = 0; i < count; ++i) {
    codes[i] = E4M3{static_cast<std::uint8_t>(parse_hex(std::string_view(text).substr(2 * i, 2)))};
  }
  return codes;
}

std::vector<E8M0> read_scales(const json& record, const char* key, std::size_t count) {
  const json& list = record.at(key);
  if (list.size() != count) throw Malformed(fmt::format("{}: {} scales wanted, got {}", key, count, list.size()));
  std::vector<E8M0> scales;
  for (const json& number : list) scales.push_back(as_scale(number));
  return scales;
}

EncodedBlock read_encoded(const json& record) {
  EncodedBlock block{as_scale(record.at("scale")), {}};
  const std::vector<E4M3> codes = read_codes(record, "codes", block.codes.size());
  std::copy(codes.begin(), codes.end(), block.codes.begin());
  return block;
}

void read(const json& record, E4M3Decode& out) { out = {read_e4m3(record, "code"), read_f32(record, "f32")}; }

void read(const json& record, E8M0Decode& out) {
  out = {E8M0{static_cast<std::uint8_t>(prefixed_hex(record, "code", 2))}, read_f32(record, "f32"),
         read_bf16(record, "bf16"), std::nullopt};
  if (!record.at("log2").is_null()) out.exponent = record.at("log2").get<int>();
}

void read(const json& record, E4M3Rounding& out) {
  out = {read_f32(record, "in"), read_e4m3(record, "sat"), read_e4m3(record, "nosat"), read_text(record, "note")};
}

void read(const json& record, E8M0Rounding& out) {
  out = {read_f32(record, "in"),        as_scale(record.at("rp_sat")),   as_scale(record.at("rp_nosat")),
         as_scale(record.at("rz_sat")), as_scale(record.at("rz_nosat")), read_text(record, "note")};
}

void read(const json& record, Block& out) {
  out.id = read_text(record, "id");
  out.note = read_text(record, "note");
  const json& input = record.at("in");
  if (input.size() != out.input.size()) throw Malformed(fmt::format("in: 32 values wanted, got {}", input.size()));
  for (std::size_t i = 0; i < out.input.size(); ++i) out.input[i] = read_f32({{"in", input[i]}}, "in");
  const json& modes = record.at("modes");
  out.floor = read_encoded(modes.at("FLOOR"));
  out.ceil = read_encoded(modes.at("CEIL"));
  out.even = read_encoded(record.contains("exact_EVEN") ? record.at("exact_EVEN") : modes.at("EVEN"));
  out.rceil = read_encoded(modes.at("RCEIL"));
}

void read(const json& record, Dequantization& out) {
  out = {as_scale(record.at("scale")), read_e4m3(record, "code"), read_f32(record, "f32"), read_bf16(record, "bf16"),
         read_text(record, "note")};
}

void read(const json& record, Dot& out) {
  out.id = read_text(record, "id");
  out.note = read_text(record, "note");
  out.k = record.at("K").get<Index>();
  if (out.k < 1 || out.k % MxBlock::k != 0) throw Malformed(fmt::format("K={} is not a multiple of 32", out.k));
  const auto elements = static_cast<std::size_t>(out.k);
  const auto blocks = static_cast<std::size_t>(MxBlock::count(out.k));
  out.a = read_codes(record, "a", elements);
  out.a_scales = read_scales(record, "a_scale", blocks);
  out.b = read_codes(record, "b", elements);
  out.b_scales = read_scales(record, "b_scale", blocks);
  out.value = read_f32(record, "f32");
  out.bf16 = read_bf16(record, "bf16");
  if (!record.at("sum_abs").is_null()) out.sum_of_magnitudes = record.at("sum_abs").get<double>();
}

void read(const json& record, NegativeCase& out) {
  out = {read_text(record, "id"), read_text(record, "case"), read_text(record, "expect")};
}

template <class Record>
void read_section(const json& document, const char* name, std::vector<Record>& out) {
  const json& section = document.at(name);
  if (!section.is_array() || section.empty()) throw Malformed(fmt::format("section '{}' is empty", name));
  for (const json& record : section) {
    try {
      read(record, out.emplace_back());
    } catch (const std::exception& error) {
      throw Malformed(fmt::format("{}[{}]: {}", name, out.size() - 1, error.what()));
    }
  }
}

}  // namespace

const EncodedBlock& Block::encoded(ScaleMode mode) const {
  switch (mode) {
    case ScaleMode::floor:
      return floor;
    case ScaleMode::ceil:
      return ceil;
    case ScaleMode::even:
      return even;
    case ScaleMode::rceil:
      return rceil;
  }
  throw std::invalid_argument("golden vectors hold the four scale modes only");
}

Expected<Vectors> parse(std::string_view text) {
  try {
    const json document = json::parse(text);
    Vectors vectors;
    read_section(document, "e4m3_decode", vectors.e4m3_decode);
    read_section(document, "e8m0_decode", vectors.e8m0_decode);
    read_section(document, "f32_to_e4m3", vectors.f32_to_e4m3);
    read_section(document, "f32_to_e8m0", vectors.f32_to_e8m0);
    read_section(document, "blocks", vectors.blocks);
    read_section(document, "dequant", vectors.dequant);
    read_section(document, "dot", vectors.dot);
    read_section(document, "negative_api", vectors.negative_api);
    return vectors;
  } catch (const std::exception& error) {
    return fail(ErrorCode::parse_error, "golden vectors: {}", error.what());
  }
}

const Vectors& vectors() {
  static const Vectors loaded = [] {
    std::ifstream file(MILLET_GOLDEN_FILE);
    if (!file) throw std::runtime_error("golden vectors: cannot read " MILLET_GOLDEN_FILE);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    Expected<Vectors> parsed = parse(text);
    if (!parsed) throw std::runtime_error(parsed.error().message);
    return *std::move(parsed);
  }();
  return loaded;
}

}  // namespace millet::golden
