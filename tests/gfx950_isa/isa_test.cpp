// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "conformance.hpp"
#include "millet/backends/gfx950/tiles/launch.hpp"
#include "millet/backends/gfx950_emulated/emulator.hpp"
#include "millet/dispatch/kernel_instance.hpp"
#include "millet/reference/error_bound.hpp"
#include "operand_data.hpp"
#include "target.hpp"

namespace millet::gfx950_emulated {
Backend backend() noexcept;
}

namespace millet::gfx950_isa {
namespace {

using conformance::Data;
using conformance::Failures;
using ::testing::AllOf;
using ::testing::HasSubstr;

// ---- The interpreter itself, on code written here ----

/// A kernel of one wave, four bytes an instruction. A branch's line ends with its target, " -> 0x1c".
Expected<Program> assemble(const std::vector<std::string>& lines, int lds_bytes = 0) {
  std::string text = "0000000000000000 <k>:\n";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::size_t target = lines[i].find(" -> ");  // s_branch -> 0x10
    const std::string comment = target == std::string::npos ? "" : fmt::format(" <k+{}>", lines[i].substr(target + 4));
    text += fmt::format("\t{} // {:012X}: 00000000{}\n", lines[i].substr(0, target), 4 * i, comment);
  }
  return Program::parse(
      text, fmt::format("  - .agpr_count: 0\n    .group_segment_fixed_size: {}\n    .kernarg_segment_size: 8\n"
                        "    .max_flat_workgroup_size: 64\n    .name: k\n    .vgpr_count: 64\n",
                        lds_bytes));
}

struct Memory {
  std::vector<std::uint32_t> data;
  explicit Memory(std::size_t count, std::uint32_t value = 0) : data(count, value) {
    register_memory(data.data(), static_cast<Index>(count * sizeof(std::uint32_t)));
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { unregister_memory(data.data()); }
};

/// Runs a kernel whose argument is the memory's address; its fault, or nothing.
std::string fault_of(const std::vector<std::string>& lines, Memory& memory, std::uint32_t groups = 1) {
  const auto code = assemble(lines, 1024);
  if (!code) return code.error().message;
  const std::uint32_t* const argument = memory.data.data();
  const auto done = run({&*code, code->find("k"), groups, 1, 64, &argument, sizeof(argument)}, 3);
  return done ? "" : done.error().message;
}
std::string fault_of(const std::vector<std::string>& lines) {
  Memory memory(64);
  return fault_of(lines, memory);
}

TEST(Interpreter, StoresWhatItComputes) {
  Memory memory(64);
  EXPECT_EQ(fault_of({"s_load_dwordx2 s[4:5], s[0:1], 0x0", "v_lshlrev_b32_e32 v1, 2, v0", "v_mov_b32_e32 v2, 0",
                      "v_cmp_gt_u32_e32 vcc, 60, v0", "s_waitcnt lgkmcnt(0)", "s_and_saveexec_b64 s[6:7], vcc",
                      "s_cbranch_execz 2 -> 0x24", "v_mad_u64_u32 v[2:3], s[8:9], v0, 3, v[4:5]", "s_nop 0",
                      "s_or_b64 exec, exec, s[6:7]", "global_store_dword v1, v0, s[4:5]", "s_endpgm"},
                     memory),
            "");
  for (std::uint32_t lane = 0; lane < 64; ++lane) EXPECT_EQ(memory.data[lane], lane);
  EXPECT_EQ(last_counts().of(InstructionClass::valu), 4U);
  EXPECT_EQ(last_counts().of(InstructionClass::vector_store), 1U);
  EXPECT_EQ(last_counts().total(), 12U);
}

TEST(Interpreter, CatchesARegisterWhoseLoadIsOutstanding) {
  const std::vector<std::string> load{"s_load_dwordx2 s[4:5], s[0:1], 0x0", "v_lshlrev_b32_e32 v1, 2, v0",
                                      "s_waitcnt lgkmcnt(0)", "global_load_dword v2, v1, s[4:5]",
                                      "global_load_dword v3, v1, s[4:5]"};
  const auto with = [&](std::vector<std::string> rest) {
    rest.insert(rest.begin(), load.begin(), load.end());
    rest.emplace_back("s_endpgm");
    return fault_of(rest);
  };
  EXPECT_THAT(with({"v_add_u32_e32 v4, v2, v0"}), AllOf(HasSubstr("v2 while a load"), HasSubstr("v_add_u32_e32 v4")));
  EXPECT_THAT(with({"v_mov_b32_e32 v2, 0"}), HasSubstr("v2 while a load"));
  EXPECT_THAT(with({"s_waitcnt vmcnt(2)", "v_add_u32_e32 v4, v2, v0"}), HasSubstr("v2 while a load"));
  EXPECT_EQ(with({"s_waitcnt vmcnt(1)", "v_add_u32_e32 v4, v2, v0"}), "");
  EXPECT_EQ(last_counts().load_rounds, 1);
  EXPECT_THAT(with({"s_waitcnt vmcnt(1)", "v_add_u32_e32 v4, v3, v0"}), HasSubstr("v3 while a load"));
  EXPECT_EQ(with({"s_waitcnt vmcnt(1)", "global_load_dword v5, v1, s[4:5]"}), "");
  EXPECT_EQ(last_counts().load_rounds, 2);
  // Of two loads to one register the later comes later.
  EXPECT_EQ(with({"global_load_dword v2, v1, s[4:5]", "s_waitcnt vmcnt(0)", "v_mov_b32_e32 v4, v2"}), "");
  EXPECT_THAT(with({"global_load_dword v2, v1, s[4:5]", "s_waitcnt vmcnt(1)", "v_mov_b32_e32 v4, v2"}),
              HasSubstr("v2 while a load"));
  EXPECT_THAT(fault_of({"s_load_dword s4, s[0:1], 0x0", "s_add_i32 s5, s4, 1", "s_endpgm"}),
              HasSubstr("s4 while a load"));
  // Scalar loads come in any order.
  EXPECT_THAT(fault_of({"s_load_dword s4, s[0:1], 0x0", "s_load_dword s6, s[0:1], 0x4", "s_waitcnt lgkmcnt(1)",
                        "s_add_i32 s5, s4, 1", "s_endpgm"}),
              HasSubstr("s4 while a load"));
}

TEST(Interpreter, CatchesValuesThatNothingDefined) {
  EXPECT_THAT(fault_of({"s_add_i32 s5, s9, 1", "s_endpgm"}), HasSubstr("s9, which nothing has defined"));
  EXPECT_THAT(fault_of({"v_add_u32_e32 v1, v2, v0", "v_cmp_gt_u32_e32 vcc, 60, v1", "s_endpgm"}),
              HasSubstr("not defined"));
  EXPECT_EQ(fault_of({"v_add_u32_e32 v1, v2, v0", "s_endpgm"}), "");
  EXPECT_THAT(fault_of({"v_readfirstlane_b32 s4, v1", "s_endpgm"}), HasSubstr("not defined"));
  EXPECT_THAT(fault_of({"s_mov_b32 s5, 63", "v_readlane_b32 s4, v1, s5", "s_endpgm"}), HasSubstr("lane 63"));
  EXPECT_THAT(fault_of({"s_cbranch_scc0 1 -> 0x4", "s_endpgm"}), HasSubstr("SCC"));
}

TEST(Interpreter, BroadcastsALaneToItsSixteen) {
  Memory memory(64);
  const std::string dpp = "v_mov_b32_dpp v2, v0 row_newbcast:5 row_mask:0xf bank_mask:0xf bound_ctrl:1";
  const std::vector<std::string> address{"s_load_dwordx2 s[4:5], s[0:1], 0x0", "v_lshlrev_b32_e32 v1, 2, v0",
                                         "s_waitcnt lgkmcnt(0)"};
  const auto with = [&](std::vector<std::string> rest) {
    rest.insert(rest.begin(), address.begin(), address.end());
    return rest;
  };
  EXPECT_EQ(fault_of(with({dpp, "global_store_dword v1, v2, s[4:5]", "s_endpgm"}), memory), "");
  for (std::uint32_t lane = 0; lane < 64; ++lane) EXPECT_EQ(memory.data[lane], lane / 16 * 16 + 5);
  const std::string sum = "v_add_u32_dpp v2, v0, v0 row_newbcast:3 row_mask:0xf bank_mask:0xf bound_ctrl:1";
  EXPECT_EQ(fault_of(with({sum, "global_store_dword v1, v2, s[4:5]", "s_endpgm"}), memory), "");
  for (std::uint32_t lane = 0; lane < 64; ++lane) EXPECT_EQ(memory.data[lane], lane / 16 * 16 + 3 + lane);
  EXPECT_THAT(fault_of({"s_mov_b64 exec, 7", dpp, "s_endpgm"}), HasSubstr("do not execute"));
  EXPECT_THAT(fault_of({"v_sub_u32_dpp v2, v0, v0 row_newbcast:5 row_mask:0xf bank_mask:0xf", "s_endpgm"}),
              HasSubstr("DPP of v_sub_u32"));
}

TEST(Interpreter, TakesTheSignsOfSources) {
  Memory memory(64);
  const auto bits_of = [&](const std::string& line) {
    const std::string fault = fault_of({"s_load_dwordx2 s[4:5], s[0:1], 0x0", "v_lshlrev_b32_e32 v1, 2, v0",
                                        "v_mov_b32_e32 v2, 2.0", "v_mov_b32_e32 v3, -4.0", "v_mov_b32_e32 v4, 1.0",
                                        "s_waitcnt lgkmcnt(0)", line, "global_store_dword v1, v4, s[4:5]", "s_endpgm"},
                                       memory);
    EXPECT_EQ(fault, "") << line;
    return std::bit_cast<float>(memory.data[9]);
  };
  EXPECT_EQ(bits_of("v_fma_f32 v4, -v2, v3, 1.0"), 9.0F);
  EXPECT_EQ(bits_of("v_fma_f32 v4, v2, |v3|, -v2"), 6.0F);
  EXPECT_EQ(bits_of("v_fma_f32 v4, v2, -|v3|, v2"), -6.0F);
  EXPECT_EQ(bits_of("v_fmac_f32_e32 v4, v2, v3"), -7.0F);
  EXPECT_EQ(bits_of("v_fmamk_f32 v4, v2, 0x40400000, v3"), 2.0F);   // times 3
  EXPECT_EQ(bits_of("v_fmaak_f32 v4, v2, v3, 0x40400000"), -5.0F);  // plus 3
  EXPECT_EQ(bits_of("v_min_f32_e32 v4, v2, v3"), -4.0F);
  EXPECT_EQ(bits_of("v_min_f32_e32 v4, 0x7fc00000, v3"), -4.0F);  // NaN
  EXPECT_EQ(bits_of("v_subrev_f32_e32 v4, v2, v3"), -6.0F);
  EXPECT_EQ(bits_of("v_sub_u32_e64 v4, v4, v2 clamp"), 0.0F);  // of their bits
}

TEST(Interpreter, CatchesMemoryOutsideOfAllocations) {
  EXPECT_THAT(fault_of({"s_load_dword s4, s[0:1], 0x8", "s_endpgm"}), HasSubstr("no allocation"));
  EXPECT_THAT(
      fault_of({"v_mov_b32_e32 v1, 0", "v_mov_b32_e32 v2, 0", "global_store_dword v[1:2], v0, off", "s_endpgm"}),
      HasSubstr("no allocation"));
}

TEST(Interpreter, CatchesLdsMistakes) {
  EXPECT_THAT(fault_of({"v_mov_b32_e32 v1, 0", "ds_read_b32 v2, v1", "s_endpgm"}), HasSubstr("nobody wrote"));
  EXPECT_THAT(fault_of({"v_mov_b32_e32 v1, 0", "ds_write_b32 v1, v0 offset:1024", "s_endpgm"}), HasSubstr("of 1024"));
  EXPECT_THAT(fault_of({"v_mov_b32_e32 v1, 0", "ds_write_b32 v1, v0", "s_barrier", "s_endpgm"}),
              HasSubstr("outstanding"));
}

TEST(Interpreter, CatchesStoresThatAnotherDieWouldNotSee) {
  const auto kernel = [](const char* load_modifier, const char* store_modifier) {
    return std::vector<std::string>{"s_load_dwordx2 s[4:5], s[0:1], 0x0",
                                    "v_mov_b32_e32 v1, 0",
                                    "s_waitcnt lgkmcnt(0)",
                                    fmt::format("global_load_dword v2, v1, s[4:5] {}", load_modifier),
                                    "s_waitcnt vmcnt(0)",
                                    fmt::format("global_store_dword v1, v1, s[4:5] {}", store_modifier),
                                    "s_endpgm"};
  };
  Memory memory(1);
  EXPECT_EQ(fault_of(kernel("sc1", "sc1"), memory, 4), "");
  EXPECT_THAT(fault_of(kernel("", "sc1"), memory, 4), HasSubstr("the load does not go past L2"));
  EXPECT_THAT(fault_of(kernel("sc1", ""), memory, 4), HasSubstr("the store does not go past L2"));
}

TEST(Interpreter, RefusesWhatItDoesNotKnow) {
  const auto message = [](const std::string& line) {
    const auto code = assemble({line});
    return code ? std::string() : code.error().message;
  };
  EXPECT_THAT(message("v_frobnicate_b32 v0, v1"), AllOf(HasSubstr("v_frobnicate_b32"), HasSubstr("line 2")));
  EXPECT_THAT(message("v_add_u32_e32 v0, v1, x4"), HasSubstr("operand 'x4'"));
  EXPECT_THAT(message("v_add_u32_e64 v0, v1, v2 clamp"), HasSubstr("modifier 'clamp'"));
  EXPECT_THAT(message("v_add_u32_e64 v0, v1, -v2"), HasSubstr("operand '-v2'"));
  EXPECT_THAT(message("s_branch 4 -> 0x40"), HasSubstr("branch target"));
  EXPECT_THAT(message("v_mfma_scale_f32_16x16x128_f8f6f4 v[0:3], v[4:11], v[12:19], v[0:3], v20, v21 cbsz:1"),
              HasSubstr("cbsz:1"));
}

// ---- The code objects ----

/// Runs a kernel and returns C as f32; C is filled with NaN first.
template <class P>
Expected<std::vector<float>> run_on(const Backend& backend, const KernelFor<P>& kernel, const HostOperands<P>& host,
                                    int policy) {
  auto instance = KernelInstance<P>::create(backend, kernel, policy, host);
  if (!instance) return fail(std::move(instance));
  if (auto filled = instance->fill_output(std::byte{0xFF}); !filled) return fail(std::move(filled));
  if (auto launched = instance->run(Stream{}); !launched) return fail(std::move(launched));
  return instance->output();
}

/// The compiled code and the emulated source must agree in every bit; NaN is NaN.
template <class P>
void compare_with_emulator(const HostOperands<P>& host, int policy_stride = 1, int first_policy = 0) {
  const Backend isa = backend();
  const Backend emulated = gfx950_emulated::backend();
  const auto kernels = isa.kernels<P>();
  const auto emulated_kernels = emulated.kernels<P>();
  for (std::size_t at = 0; at < kernels.size(); ++at) {
    if (!kernels[at].supports(host.problem)) continue;
    for (int policy = first_policy; policy < kernels[at].policy_count; policy += policy_stride) {
      SCOPED_TRACE(fmt::format("{} {} '{}'", kernels[at].id, to_string(host.problem), kernels[at].policy_name(policy)));
      const auto got = run_on(isa, kernels[at], host, policy);
      const auto expected = run_on(emulated, emulated_kernels[at], host, policy);
      ASSERT_TRUE(got) << got.error().message;
      ASSERT_TRUE(expected) << expected.error().message;
      ASSERT_EQ(got->size(), expected->size());
      std::size_t different = 0;
      for (std::size_t i = 0; i < got->size(); ++i) {
        const float a = (*got)[i];
        const float b = (*expected)[i];
        if (std::isnan(a) && std::isnan(b)) continue;
        different += std::bit_cast<std::uint32_t>(a) != std::bit_cast<std::uint32_t>(b) ? 1U : 0U;
      }
      EXPECT_EQ(different, 0U) << "of " << got->size();
    }
  }
}

void check_gemm(Index m, Index n, Index k, OutputType output, ActivationFormat format, Data data, bool special = false,
                int policy_stride = 1, int first_policy = 0) {
  conformance::Random random(static_cast<std::uint64_t>(m * 1000003 + n * 1009 + k));
  HostActivations a = conformance::random_activations(format, data, m, k, random);
  MxMatrix<> b = conformance::random_matrix(data, n, k, random);
  if (special) {  // NaN and zero scales, NaN codes: each in a place of its own
    b.scales()[random() % b.scales().size()] = E8M0{255};
    b.scales()[random() % b.scales().size()] = E8M0{0};
    b.scales()[random() % b.scales().size()] = E8M0{254};
    b.values()[random() % b.values().size()] = E4M3{0x7F};
    if (format == ActivationFormat::mx) {
      a.mx.scales()[random() % a.mx.scales().size()] = E8M0{255};
      a.mx.scales()[random() % a.mx.scales().size()] = E8M0{0};
    } else if (format == ActivationFormat::bf16) {
      a.bf16[random() % a.bf16.size()] = BF16{0x7F80};
      a.bf16[random() % a.bf16.size()] = BF16{0x7FC1};
    }
  }
  const GemmProblem p{.m = m, .n = n, .k = k, .activation = format, .output = output};
  compare_with_emulator<GemmProblem>({p, &a, &b}, policy_stride, first_policy);
}

constexpr ActivationFormat formats[] = {ActivationFormat::mx, ActivationFormat::bf16};

class CodeObject : public testing::TestWithParam<ActivationFormat> {};
INSTANTIATE_TEST_SUITE_P(Activations, CodeObject, testing::ValuesIn(formats),
                         [](const auto& x) { return std::string(to_string(x.param)); });

TEST_P(CodeObject, DenseEqualsTheEmulatedSource) {
  for (const Index m : {1, 5, 16, 17, 33, 64})
    for (const Index k : {96, 160, 576}) check_gemm(m, 37, k, OutputType::f32, GetParam(), Data::gaussian);
}
TEST_P(CodeObject, DenseEqualsTheEmulatedSourceInBf16AndAtOtherExtents) {
  check_gemm(15, 37, 160, OutputType::bf16, GetParam(), Data::gaussian);
  check_gemm(33, 64, 256, OutputType::bf16, GetParam(), Data::gaussian);
  check_gemm(2, 130, 96, OutputType::f32, GetParam(), Data::wide_scales);
  check_gemm(18, 17, 3072, OutputType::f32, GetParam(), Data::wide_scales);
  check_gemm(1, 16, 8192, OutputType::f32, GetParam(), Data::gaussian);
}
TEST_P(CodeObject, DenseEqualsTheEmulatedSourceWithSpecialCodes) {
  for (const Index m : {1, 17, 40}) check_gemm(m, 40, 576, OutputType::f32, GetParam(), Data::all_codes, true);
}

void check_grouped(Index experts, Index tokens, Index top_k, Index n, Index k, Index block_m, bool up, bool weighted,
                   OutputType output, ActivationFormat format, Epilogue epilogue = Epilogue::none, Swiglu swiglu = {}) {
  conformance::Random random(static_cast<std::uint64_t>(tokens * 1009 + n * 31 + k));
  const auto ids = conformance::random_topk_ids(tokens, top_k, experts, random);
  const auto routing = build_routing(ids, experts, block_m);
  ASSERT_TRUE(routing);
  const auto p = make_grouped_problem({.experts = experts,
                                       .slots = tokens * top_k,
                                       .n = n,
                                       .k = k,
                                       .a_div = up ? top_k : 1,
                                       .block_m = block_m,
                                       .padded_slots = static_cast<Index>(routing->sorted_token_ids.size()),
                                       .weighted = weighted,
                                       .activation = format,
                                       .output = output,
                                       .epilogue = epilogue,
                                       .swiglu = swiglu,
                                       .top_k = top_k});
  ASSERT_TRUE(p) << p.error().message;
  const HostActivations a = conformance::random_activations(format, Data::gaussian, p->a_rows(), k, random);
  std::vector<MxMatrix<>> b;
  for (Index expert = 0; expert < experts; ++expert)
    b.push_back(conformance::random_matrix(Data::gaussian, n, k, random));
  std::vector<float> slot_weights;
  for (Index slot = 0; weighted && slot < p->slots; ++slot)
    slot_weights.push_back(0.1F + 0.001F * static_cast<float>(random() % 900));
  compare_with_emulator<GroupedProblem>({*p, &a, &b, &*routing, &slot_weights});
}

TEST_P(CodeObject, GroupedEqualsTheEmulatedSource) {
  for (const OutputType output : {OutputType::f32, OutputType::bf16}) {
    check_grouped(8, 3, 2, 37, 96, 16, true, false, output, GetParam());
    check_grouped(8, 3, 2, 37, 160, 16, false, true, output, GetParam());
  }
  check_grouped(4, 40, 2, 19, 576, 16, true, false, OutputType::f32, GetParam());
  check_grouped(2, 150, 1, 18, 64, 16, false, false, OutputType::f32, GetParam());
  check_grouped(3, 70, 3, 16, 96, 64, true, true, OutputType::f32, GetParam());
  check_grouped(16, 8, 2, 24, 576, 4, false, true, OutputType::f32, GetParam());
  check_grouped(4, 4, 2, 40, 3072, 16, true, true, OutputType::f32, GetParam());
  check_grouped(2, 90, 2, 17, 32, 1, true, true, OutputType::f32,
                GetParam());  // runs of more blocks than a wave has lanes
}

TEST_P(CodeObject, EpiloguesEqualTheEmulatedSource) {
  for (const OutputType output : {OutputType::f32, OutputType::bf16}) {
    check_grouped(8, 3, 2, 38, 96, 16, true, false, output, GetParam(), Epilogue::swiglu);
    check_grouped(8, 3, 2, 37, 160, 16, false, true, output, GetParam(), Epilogue::topk_sum);
  }
  check_grouped(4, 20, 2, 34, 576, 16, true, true, OutputType::bf16, GetParam(), Epilogue::swiglu, swiglu_oai);
  check_grouped(2, 70, 1, 18, 64, 16, true, false, OutputType::f32, GetParam(), Epilogue::swiglu, {0.5F, 0.25F, -1.0F});
  check_grouped(4, 40, 3, 24, 96, 4, false, true, OutputType::f32, GetParam(), Epilogue::topk_sum);
  check_grouped(4, 4, 2, 40, 3072, 16, true, false, OutputType::f32, GetParam(), Epilogue::topk_sum);
}

// More slots than the last work-group notes at once.
TEST(CodeObjects, SumsManySlots) {
  check_grouped(2, 600, 2, 3, 32, 64, false, true, OutputType::f32, ActivationFormat::mx, Epilogue::topk_sum);
}

/// Zeroed memory whose pages take none until they are written, known to both machines.
class SparseMemory {
 public:
  explicit SparseMemory(Index bytes)
      : bytes_(bytes),
        data_(mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
    if (data_ == MAP_FAILED) return;
    register_memory(data_, bytes);
    EXPECT_TRUE(gfx950_emulated::register_memory(data_, bytes));
  }
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;
  ~SparseMemory() {
    if (data_ == MAP_FAILED) return;
    unregister_memory(data_);
    EXPECT_TRUE(gfx950_emulated::unregister_memory(data_));
    munmap(data_, static_cast<std::size_t>(bytes_));
  }

  [[nodiscard]] void* data() const { return data_ == MAP_FAILED ? nullptr : data_; }

 private:
  Index bytes_;
  void* data_;
};

/// Rows that go to the first and to the last of so many experts that 32-bit offsets would not reach, in every kernel,
/// equal those of a problem that has these two experts only.
void check_far_experts(Index experts, Index n, Index k) {
  conformance::Random random(static_cast<std::uint64_t>(experts));
  HostActivations a = conformance::random_activations(ActivationFormat::mx, Data::gaussian, 2, k, random);
  std::vector<MxMatrix<>> near;
  for (int i = 0; i < 2; ++i) near.push_back(conformance::random_matrix(Data::gaussian, n, k, random));
  const auto routing_to = [](std::int32_t last, Index count) {
    return build_routing(std::vector<std::int32_t>{0, last, last}, count, 16);
  };
  const auto few = routing_to(1, 2);
  const auto many = routing_to(static_cast<std::int32_t>(experts) - 1, experts);
  ASSERT_TRUE(few && many);
  GroupedProblem p{.experts = 2,
                   .slots = 3,
                   .n = n,
                   .k = k,
                   .a_div = 2,
                   .block_m = 16,
                   .padded_slots = static_cast<Index>(few->sorted_token_ids.size()),
                   .output = OutputType::f32};
  for (const Backend& machine : {backend(), gfx950_emulated::backend()}) {
    for (const GroupedKernel& kernel : machine.grouped_kernels) {
      SCOPED_TRACE(fmt::format("{} with {} experts", kernel.id, experts));
      const auto wanted = run_on<GroupedProblem>(machine, kernel, {p, &a, &near, &*few, nullptr}, 0);
      ASSERT_TRUE(wanted) << wanted.error().message;

      const LayoutDescriptor& layout = *kernel.weight_layout;
      const Index values = layout.value_count(n, k);
      const Index scales = layout.scale_count(n, k);
      const SparseMemory b_values(experts * values);
      const SparseMemory b_scales(experts * scales);
      if (b_values.data() == nullptr || b_scales.data() == nullptr) GTEST_SKIP() << "no address space for all experts";
      for (const Index expert : {Index{0}, experts - 1}) {
        layout.pack(near[expert == 0 ? 0 : 1].view(), static_cast<E4M3*>(b_values.data()) + expert * values,
                    static_cast<E8M0*>(b_scales.data()) + expert * scales);
      }
      const auto upload = [&](const auto& from) {
        const auto bytes = static_cast<Index>(from.size() * sizeof(from[0]));
        auto to = machine.allocate(bytes);
        EXPECT_TRUE(to && machine.copy_to_device(to->data(), from.data(), bytes, Stream{}));
        return *std::move(to);
      };
      const DeviceBuffer a_values = upload(a.mx.values());
      const DeviceBuffer a_scales = upload(a.mx.scales());
      const DeviceBuffer ids = upload(many->sorted_token_ids);
      const DeviceBuffer expert_ids = upload(many->expert_ids);
      const DeviceBuffer used = upload(std::vector<std::int32_t>{many->num_tokens_post_padded});
      std::vector<float> got(static_cast<std::size_t>(p.slots * n), 0.0F);
      const DeviceBuffer c = upload(got);
      GroupedOperandsRef x;
      x.a = {ActivationFormat::mx, a_values.data(), static_cast<const E8M0*>(a_scales.data()), k, MxBlock::count(k)};
      x.b = {&layout, static_cast<const E4M3*>(b_values.data()), static_cast<const E8M0*>(b_scales.data()),
             experts * values, experts * scales};
      x.routing = {static_cast<const std::int32_t*>(ids.data()), static_cast<const std::int32_t*>(expert_ids.data()),
                   static_cast<const std::int32_t*>(used.data()), nullptr};
      x.c = {c.data(), n};
      GroupedProblem all = p;
      all.experts = experts;
      const auto done = kernel.run(all, x, 0, {}, Stream{});
      ASSERT_TRUE(done) << done.error().message;
      ASSERT_TRUE(machine.copy_to_host(got.data(), c.data(), c.bytes(), Stream{}));
      EXPECT_EQ(std::memcmp(got.data(), wanted->data(), got.size() * sizeof(float)), 0);
    }
  }
}

TEST(CodeObjects, ReachExpertsBeyond32BitOffsets) {
  check_far_experts(256, 1536, 6144);   // 2.4 GB, beyond what a signed offset reaches
  check_far_experts(1024, 1536, 6144);  // 9.7 GB, beyond an unsigned one
}

// An expert's run of several routing blocks is one work-group's, and its weights are asked for once.
TEST(CodeObjects, GroupedKernelsReadAnExpertsWeightsOnce) {
  constexpr Index experts = 3;
  constexpr Index rows = 20;
  constexpr Index n = 32;
  constexpr Index k = 1024;
  std::vector<std::int32_t> ids;
  for (Index slot = 0; slot < experts * rows; ++slot) ids.push_back(static_cast<std::int32_t>(slot % experts));
  const auto routing = build_routing(ids, experts, 4);
  ASSERT_TRUE(routing);
  const GroupedProblem p{.experts = experts,
                         .slots = experts * rows,
                         .n = n,
                         .k = k,
                         .block_m = 4,
                         .padded_slots = static_cast<Index>(routing->sorted_token_ids.size())};
  conformance::Random random(7);
  const HostActivations a = conformance::random_activations(ActivationFormat::mx, Data::gaussian, p.slots, k, random);
  const std::vector<MxMatrix<>> b(experts, conformance::random_matrix(Data::gaussian, n, k, random));
  const Backend isa = backend();
  for (const GroupedKernel& kernel : isa.grouped_kernels) {
    SCOPED_TRACE(kernel.id);  // policy 0, whose waves hold all of this k
    const auto done = run_on<GroupedProblem>(isa, kernel, {p, &a, &b, &*routing, nullptr}, 0);
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_EQ(last_counts().bytes_streamed, static_cast<std::uint64_t>(experts * n * k));
  }
}

// In one test, so that it does not depend on which others ran.
TEST(CodeObjects, EveryKernelRuns) {
  for (const ActivationFormat format : formats) {
    for (const Index m : {1, 2, 3, 17, 33}) check_gemm(m, 16, 96, OutputType::f32, format, Data::gaussian);
    check_grouped(2, 2, 1, 16, 96, 16, false, false, OutputType::f32, format);
  }
  const auto kernels = gfx950::compiled_kernels();
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    if (kernels[i].code_object == gfx950::CodeObject::ceilings) continue;  // they compute nothing
    EXPECT_TRUE(launched_kernels()[i]) << kernels[i].symbol << " was never launched";
  }
}

TEST(CodeObjects, NeitherSpillNorUseScratch) {
  for (std::size_t i = 0; i < std::size(gfx950::code_object_names); ++i) {
    const auto code_object = static_cast<gfx950::CodeObject>(i);
    if (code_object == gfx950::CodeObject::ceilings) continue;  // nothing that runs here
    const auto& code = program(code_object);
    ASSERT_TRUE(code) << code.error().message;
    for (const Kernel& kernel : code->kernels()) {
      EXPECT_EQ(kernel.spills, 0) << kernel.symbol;
      EXPECT_EQ(kernel.scratch_bytes, 0) << kernel.symbol;
    }
  }
}

/// Checks of the conformance suite that take little time and that a comparison with the emulator does not replace.
template <class P>
void run_checks(std::span<const KernelFor<P>> kernels, std::span<const conformance::Check<P>> checks,
                std::initializer_list<std::string_view> names) {
  static const Backend isa = backend();
  for (const KernelFor<P>& kernel : kernels) {
    for (const auto& check : checks) {
      if (std::find(names.begin(), names.end(), check.name) == names.end()) continue;
      const Failures failures = check.run(isa, kernel);
      for (std::size_t i = 0; i < std::min<std::size_t>(failures.size(), 3); ++i)
        ADD_FAILURE() << kernel.id << " " << check.name << ": " << failures[i];
    }
  }
}
TEST(CodeObjects, DenseConforms) {
  run_checks<GemmProblem>(backend().gemm_kernels, conformance::gemm_checks(),
                          {"PropagatesNan", "MatchesGoldenDots", "StaysWithinItsOperands", "RefusesMisuse",
                           "LeavesItsWorkspaceUsable", "CombinesExtremeScales"});
}
TEST(CodeObjects, GroupedConforms) {
  run_checks<GroupedProblem>(
      backend().grouped_kernels, conformance::grouped_checks(),
      {"FollowsUnevenRouting", "SkipsBadIds", "PropagatesNan", "RefusesMisuse", "SumsWhatIsHere"});
}

}  // namespace
}  // namespace millet::gfx950_isa
