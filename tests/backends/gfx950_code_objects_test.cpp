// SPDX-License-Identifier: Apache-2.0
// What the compiler made of the gfx950 kernels: the metadata and the disassembly of the code objects that the build
// carries, held to what the kernels' design promises. Runs nothing.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "millet/backends/gfx950/tiles/arguments.hpp"
#include "millet/backends/gfx950/tiles/instances.hpp"
#include "millet/backends/gfx950/tiles/launch.hpp"
#include "millet/backends/gfx950/tiles/token_steps.hpp"
#include "millet/backends/gfx950/tiles/weight_strips.hpp"

namespace millet::gfx950 {
namespace {

using testing::Each;
using testing::IsEmpty;

std::string read(const std::string& name) {
  std::ifstream file(std::string(MILLET_GFX950_CODE_OBJECTS) + "/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_GT(text.str().size(), 0U) << name;
  return text.str();
}

/// What the template parameters of a kernel promise.
struct Promise {
  std::string symbol;
  std::string code_object;
  int steps;
  std::vector<int> tiles;  ///< of 16 tokens, or tokens on the vector units: one copy of the inner loop for each
  int waves;
  bool row_major;
  bool bf16;
  std::size_t argument_bytes;
};

std::vector<Promise> mfma_promises() {
  std::vector<Promise> all;
#define MILLET_PROMISE(tiles, waves, steps, row_major, bf16, symbol) \
  all.push_back({#symbol, "gemm_mfma_scale", steps, {tiles}, waves, row_major, bf16, sizeof(GemmArguments)});
#define MILLET_PROMISES(waves, steps) MILLET_GEMM_KERNELS_OF(MILLET_PROMISE, waves, steps)
  MILLET_GEMM_SHAPES(MILLET_PROMISES)
#undef MILLET_PROMISE
#undef MILLET_PROMISES
#define MILLET_PROMISE(waves, steps, row_major, bf16, symbol) \
  all.push_back(                                              \
      {#symbol, "grouped_gemm_mfma_scale", steps, {1, 2, 4}, waves, row_major, bf16, sizeof(GroupedArguments)});
#define MILLET_PROMISES(waves, steps) MILLET_GROUPED_KERNELS_OF(MILLET_PROMISE, waves, steps)
  MILLET_GROUPED_SHAPES(MILLET_PROMISES)
#undef MILLET_PROMISE
#undef MILLET_PROMISES
  return all;
}

std::vector<Promise> packed_fma_promises() {
  std::vector<Promise> all;
#define MILLET_PROMISE(tokens, waves, steps, row_major, bf16, symbol) \
  all.push_back({#symbol, "gemv_packed_fma", steps, {tokens}, waves, row_major, bf16, sizeof(GemmArguments)});
#define MILLET_PROMISES(waves, steps) MILLET_GEMV_KERNELS_OF(MILLET_PROMISE, waves, steps)
  MILLET_GEMV_SHAPES(MILLET_PROMISES)
#undef MILLET_PROMISE
#undef MILLET_PROMISES
  // One or two tokens, each where k fits the waves and where it takes them several passes.
#define MILLET_PROMISE(waves, steps, row_major, bf16, symbol) \
  all.push_back(                                              \
      {#symbol, "grouped_gemv_packed_fma", steps, {1, 2, 1, 2}, waves, row_major, bf16, sizeof(GroupedArguments)});
#define MILLET_PROMISES(waves, steps) MILLET_GROUPED_GEMV_KERNELS_OF(MILLET_PROMISE, waves, steps)
  MILLET_GROUPED_GEMV_SHAPES(MILLET_PROMISES)
#undef MILLET_PROMISE
#undef MILLET_PROMISES
  return all;
}

std::vector<Promise> all_promises() {
  std::vector<Promise> all = mfma_promises();
  for (const Promise& promise : packed_fma_promises()) all.push_back(promise);
  return all;
}

/// Numbers of a kernel's metadata, by name.
using Metadata = std::map<std::string, long>;

const std::map<std::string, Metadata>& metadata() {
  static const std::map<std::string, Metadata> all = [] {
    std::map<std::string, Metadata> kernels;
    for (const std::string_view name : code_object_names) {
      std::istringstream notes(read(std::string(name) + ".notes"));
      Metadata current;
      std::string symbol;
      const std::regex number(R"(^\s*-?\s*\.(\w+):\s*(\d+)\s*$)");
      const std::regex text(R"(^\s*-?\s*\.name:\s*(\w+)\s*$)");
      std::smatch match;
      for (std::string line; std::getline(notes, line);) {
        if (std::regex_match(line, match, text)) symbol = match[1];
        if (!std::regex_match(line, match, number)) continue;
        current[match[1]] = std::stol(match[2]);
        if (match[1] != "wavefront_size") continue;  // the last of a kernel
        kernels[symbol] = current;
        current.clear();
      }
    }
    return kernels;
  }();
  return all;
}

/// The instructions of each kernel, without addresses.
const std::map<std::string, std::vector<std::string>>& code() {
  static const std::map<std::string, std::vector<std::string>> all = [] {
    std::map<std::string, std::vector<std::string>> kernels;
    for (const std::string_view name : code_object_names) {
      std::istringstream text(read(std::string(name) + ".s"));
      const std::regex label(R"(^[0-9a-f]+ <(\w+)>:$)");
      std::smatch match;
      std::vector<std::string>* current = nullptr;
      for (std::string line; std::getline(text, line);) {
        if (std::regex_match(line, match, label)) {
          current = &kernels[match[1]];
        } else if (current != nullptr && line.starts_with('\t')) {
          line = line.substr(1, line.find("//") - 1);
          current->push_back(line.substr(0, line.find_last_not_of(" \t") + 1));
        }
      }
    }
    return kernels;
  }();
  return all;
}

std::vector<std::string> lines_with(const std::vector<std::string>& lines, std::string_view text) {
  std::vector<std::string> found;
  for (const std::string& line : lines) {
    if (line.find(text) != std::string::npos) found.push_back(line);
  }
  return found;
}

/// The byte of the first (0) or second (1) operand's scale that a scaled MFMA selects: op_sel is its bit 0, op_sel_hi
/// its bit 1. The disassembler leaves op_sel out where it is zero.
int selected_byte(const std::string& mfma, int operand) {
  const auto bit = [&](const std::string& name) {
    std::smatch match;
    const std::regex list(" " + name + R"(:\[([01]),([01]))");
    return std::regex_search(mfma, match, list) && match[operand + 1] == "1" ? 1 : 0;
  };
  return bit("op_sel") + 2 * bit("op_sel_hi");
}

class CompiledCode : public testing::TestWithParam<Promise> {
 protected:
  [[nodiscard]] const Metadata& facts() const { return metadata().at(GetParam().symbol); }
  [[nodiscard]] const std::vector<std::string>& lines() const { return code().at(GetParam().symbol); }
};

class MfmaCode : public CompiledCode {};
class PackedFmaCode : public CompiledCode {};

TEST_P(CompiledCode, KeepsEverythingInRegisters) {
  EXPECT_EQ(facts().at("vgpr_spill_count"), 0);
  EXPECT_EQ(facts().at("sgpr_spill_count"), 0);
  EXPECT_EQ(facts().at("private_segment_fixed_size"), 0);
  EXPECT_EQ(facts().at("agpr_count"), 0);
  EXPECT_THAT(lines_with(lines(), "scratch_"), IsEmpty());
  EXPECT_THAT(lines_with(lines(), "flat_"), IsEmpty());
}

TEST_P(CompiledCode, FitsOnAComputeUnit) {
  // 512 registers a lane of a SIMD, shared by the waves of a work-group that run on it; 160 KB of LDS.
  const int waves_a_simd = (GetParam().waves + 3) / 4;
  EXPECT_LE(facts().at("vgpr_count"), 512 / waves_a_simd);
  EXPECT_LE(facts().at("vgpr_count"), 256) << "beyond 256 registers the compiler copies to and from AGPRs";
  EXPECT_LE(facts().at("group_segment_fixed_size"), 160 * 1024);
}

TEST_P(CompiledCode, TakesTheArgumentsThatTheHostPasses) {
  EXPECT_EQ(facts().at("kernarg_segment_size"), static_cast<long>(GetParam().argument_bytes));
  EXPECT_EQ(facts().at("max_flat_workgroup_size"), GetParam().waves * 64);
  EXPECT_EQ(facts().at("wavefront_size"), 64);
}

TEST_P(MfmaCode, IssuesOneScaledMfmaForEachTileAndStep) {
  const auto mfma = lines_with(lines(), "v_mfma");
  std::size_t expected = 0;
  for (const int tiles : GetParam().tiles) expected += 2 * static_cast<std::size_t>(tiles * GetParam().steps);
  // Twice: where k may end within the steps, and where it cannot.
  EXPECT_EQ(mfma.size(), expected);
  for (const std::string& line : mfma) {
    EXPECT_TRUE(line.starts_with("v_mfma_scale_f32_16x16x128_f8f6f4 ")) << line;  // never folded to the unscaled one
    EXPECT_EQ(line.find("cbsz"), std::string::npos) << line;                      // e4m3 times e4m3
    EXPECT_EQ(line.find("blgp"), std::string::npos) << line;
  }
}

TEST_P(MfmaCode, SelectsTheScaleByteOfEachStep) {
  std::vector<int> expected;
  for (int copy = 0; copy < 2; ++copy) {
    for (const int tiles : GetParam().tiles) {
      for (int step = 0; step < GetParam().steps; ++step) {
        for (int tile = 0; tile < tiles; ++tile) {
          expected.push_back(GetParam().row_major ? 0 : step % steps_per_scale_dword);
        }
      }
    }
  }
  std::vector<int> bytes;
  std::vector<int> token_bytes;
  for (const std::string& line : lines_with(lines(), "v_mfma")) {
    bytes.push_back(selected_byte(line, 0));
    token_bytes.push_back(selected_byte(line, 1));
  }
  std::sort(expected.begin(), expected.end());  // blocks of code may come in any order
  std::sort(bytes.begin(), bytes.end());
  EXPECT_EQ(bytes, expected);
  EXPECT_THAT(token_bytes, Each(0));
}

TEST_P(PackedFmaCode, MultipliesPairsOfProducts) {
  // A run of 16 products is one packed multiplication and seven packed multiply-adds; a step has two runs.
  std::size_t runs = 0;
  for (const int tokens : GetParam().tiles) runs += 2 * static_cast<std::size_t>(tokens * GetParam().steps);
  EXPECT_EQ(lines_with(lines(), "v_pk_mul_f32").size(), runs);
  EXPECT_EQ(lines_with(lines(), "v_pk_fma_f32").size(), 7 * runs);
  EXPECT_THAT(lines_with(lines(), "v_mfma"), IsEmpty());
}

TEST_P(PackedFmaCode, QuantizesEachRunInOneLaneOfSixteen) {
  // Two values an instruction, 16 a run.
  std::size_t expected = 0;
  for (const int tokens : GetParam().tiles)
    expected += 8 * static_cast<std::size_t>(vector_quantizing_rounds(tokens, GetParam().steps));
  EXPECT_EQ(lines_with(lines(), "v_cvt_pk_fp8_f32").size(), GetParam().bf16 ? expected : 0);
  // A run's four dwords of codes and its scale, which the compiler may broadcast in each of its two uses.
  std::size_t broadcasts = 0;
  for (const int tokens : GetParam().tiles) broadcasts += 5 * 2 * static_cast<std::size_t>(tokens * GetParam().steps);
  EXPECT_EQ(lines_with(lines(), "row_newbcast").size() - lines_with(lines(), "v_add_u32_dpp").size(),
            GetParam().bf16 ? broadcasts : 0);
}

TEST_P(CompiledCode, ReadsWeightsSixteenBytesALaneAndPastTheCaches) {
  const auto streaming = lines_with(lines(), " nt");
  for (const std::string& line : streaming) EXPECT_TRUE(line.starts_with("buffer_load_dwordx4 ")) << line;
  EXPECT_GE(streaming.size(), static_cast<std::size_t>(2 * GetParam().steps));
}

TEST_P(CompiledCode, IssuesAllWeightLoadsOfAWaveBeforeItMultiplies) {
  // From each block of weight loads to the first multiplication after it: 2 Steps loads, and no wait for any of them.
  const std::regex count(R"(vmcnt\((\d+)\))");
  std::smatch match;
  int weights = 0;
  int outstanding = 0;  // vector memory instructions since the block's first
  bool waited = false;
  int blocks = 0;
  for (const std::string& line : lines()) {
    const bool weight = line.find(" nt") != std::string::npos;
    if (weight) {
      if (weights == 0) outstanding = 0, waited = false;
      EXPECT_FALSE(waited) << line << " stands behind a wait for earlier weights";
      ++weights;
    }
    if (line.starts_with("buffer_") || line.starts_with("global_")) ++outstanding;
    if (weights == 0) continue;
    if (line.starts_with("s_waitcnt") && std::regex_search(line, match, count)) {
      waited = waited || std::stoi(match[1]) < outstanding;
    } else if (line.starts_with("v_mfma") || line.starts_with("v_pk_mul_f32")) {
      EXPECT_EQ(weights % (2 * GetParam().steps), 0) << line;
      weights = 0;
      ++blocks;
    }
  }
  EXPECT_GE(blocks, 1);
}

TEST_P(CompiledCode, WritesBackNoCache) {
  EXPECT_THAT(lines_with(lines(), "buffer_wbl2"), IsEmpty());
  EXPECT_THAT(lines_with(lines(), "buffer_inv"), IsEmpty());
}

const auto by_symbol = [](const auto& tested) { return tested.param.symbol; };
INSTANTIATE_TEST_SUITE_P(Gfx950, CompiledCode, testing::ValuesIn(all_promises()), by_symbol);
INSTANTIATE_TEST_SUITE_P(Gfx950, MfmaCode, testing::ValuesIn(mfma_promises()), by_symbol);
INSTANTIATE_TEST_SUITE_P(Gfx950, PackedFmaCode, testing::ValuesIn(packed_fma_promises()), by_symbol);

TEST(CodeObjects, HoldTheKernelsThatTheHostNamesAndNoOther) {
  std::vector<std::string> named;
  for (const CompiledKernel& kernel : compiled_kernels()) named.emplace_back(kernel.symbol);
  std::vector<std::string> found;
  for (const auto& [symbol, facts] : metadata()) found.push_back(symbol);
  EXPECT_THAT(found, testing::UnorderedElementsAreArray(named));
}

TEST(Manifest, NamesEveryKernelWithItsArguments) {
  const auto manifest = nlohmann::json::parse(read("manifest.json"));
  std::set<std::string> named;
  for (const auto& kernel : manifest.at("kernels")) {
    const auto symbol = kernel.at("symbol").get<std::string>();
    named.insert(symbol);
    const Metadata& facts = metadata().at(symbol);
    const auto& arguments = manifest.at("arguments").at(kernel.at("arguments").get<std::string>());
    EXPECT_EQ(arguments.at("bytes"), facts.at("kernarg_segment_size")) << symbol;
    EXPECT_EQ(kernel.at("work_group").at(0), facts.at("max_flat_workgroup_size")) << symbol;
  }
  for (const CompiledKernel& kernel : compiled_kernels()) {
    if (kernel.code_object == CodeObject::ceilings) continue;
    EXPECT_TRUE(named.contains(std::string(kernel.symbol))) << kernel.symbol << " belongs to no policy";
  }
  for (const auto& [name, arguments] : manifest.at("arguments").items()) {
    std::size_t end = 0;  // fields in order, without overlap, up to the padding at the end
    for (const auto& field : arguments.at("fields")) {
      EXPECT_GE(field.at("offset"), end) << name << ' ' << field.at("name");
      const auto type = field.at("type").get<std::string>();
      end = field.at("offset").get<std::size_t>() + (type == "pointer" || type == "i64" ? 8 : 4);
    }
    EXPECT_LE(arguments.at("bytes").get<std::size_t>() - end, 4U) << name;
  }
}

}  // namespace
}  // namespace millet::gfx950
