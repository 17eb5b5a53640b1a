// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "millet/error/expected.hpp"

// A gfx950 code object as text: what `llvm-objdump -d --mcpu=gfx950 --no-show-raw-insn` and `llvm-readelf --notes`
// print, decoded into the instructions that machine.hpp executes.

namespace millet::gfx950_isa {

// Mnemonics that are implemented, without the suffixes _e32, _e64, _sdwa and _dpp.
// The formatter would wrap these lists anew each time.
// clang-format off
#define MILLET_GFX950_SCALAR_OPERATIONS(X)                                                                         \
  X(s_mov_b32) X(s_mov_b64) X(s_movk_i32) X(s_not_b32) X(s_not_b64) X(s_brev_b32) X(s_bcnt1_i32_b32)               \
  X(s_bcnt1_i32_b64) X(s_ff1_i32_b32) X(s_ff1_i32_b64) X(s_abs_i32) X(s_and_saveexec_b64)                          \
  X(s_andn2_saveexec_b64) X(s_or_saveexec_b64) X(s_add_u32) X(s_addc_u32) X(s_sub_u32) X(s_subb_u32)               \
  X(s_add_i32) X(s_sub_i32) X(s_addk_i32) X(s_mulk_i32) X(s_mul_i32) X(s_mul_hi_u32) X(s_mul_hi_i32)               \
  X(s_min_u32) X(s_max_u32) X(s_min_i32) X(s_max_i32) X(s_and_b32) X(s_and_b64) X(s_or_b32) X(s_or_b64)            \
  X(s_xor_b32) X(s_xor_b64) X(s_andn2_b32) X(s_andn2_b64) X(s_orn2_b32) X(s_orn2_b64) X(s_nor_b64)                 \
  X(s_nand_b64) X(s_lshl_b32) X(s_lshl_b64) X(s_lshr_b32) X(s_lshr_b64) X(s_ashr_i32) X(s_ashr_i64)                \
  X(s_bfm_b32) X(s_bfe_u32) X(s_bfe_i32) X(s_lshl1_add_u32) X(s_lshl2_add_u32) X(s_lshl3_add_u32)                  \
  X(s_lshl4_add_u32) X(s_cselect_b32) X(s_cselect_b64) X(s_bitcmp0_b32) X(s_bitcmp1_b32) X(s_cmp_eq_u32)           \
  X(s_cmp_lg_u32) X(s_cmp_gt_u32) X(s_cmp_ge_u32) X(s_cmp_lt_u32) X(s_cmp_le_u32) X(s_cmp_eq_i32)                  \
  X(s_cmp_lg_i32) X(s_cmp_gt_i32) X(s_cmp_ge_i32) X(s_cmp_lt_i32) X(s_cmp_le_i32) X(s_cmp_eq_u64)                  \
  X(s_cmp_lg_u64) X(s_cmpk_gt_u32)
#define MILLET_GFX950_SCALAR_LOADS(X)                                                                              \
  X(s_load_dword) X(s_load_dwordx2) X(s_load_dwordx4) X(s_load_dwordx8) X(s_load_dwordx16)
#define MILLET_GFX950_CONTROL_OPERATIONS(X)                                                                        \
  X(s_nop) X(s_setprio) X(s_sleep) X(s_barrier) X(s_endpgm) X(s_branch) X(s_cbranch_scc0) X(s_cbranch_scc1)        \
  X(s_cbranch_vccz) X(s_cbranch_vccnz) X(s_cbranch_execz) X(s_cbranch_execnz)
#define MILLET_GFX950_VECTOR_OPERATIONS(X)                                                                         \
  X(v_nop) X(v_mov_b32) X(v_mov_b64) X(v_not_b32) X(v_bfrev_b32) X(v_cvt_f32_u32) X(v_cvt_u32_f32)                 \
  X(v_rcp_iflag_f32) X(v_readfirstlane_b32) X(v_add_u32) X(v_sub_u32) X(v_subrev_u32) X(v_add_co_u32)              \
  X(v_addc_co_u32) X(v_and_b32) X(v_or_b32) X(v_xor_b32) X(v_lshlrev_b32) X(v_lshrrev_b32) X(v_ashrrev_i32)        \
  X(v_lshlrev_b64) X(v_lshrrev_b64) X(v_min_u32) X(v_max_u32) X(v_min_i32) X(v_max_i32) X(v_mul_lo_u32)            \
  X(v_mul_hi_u32) X(v_mul_u32_u24) X(v_mad_u32_u24) X(v_mad_u64_u32) X(v_add3_u32) X(v_xad_u32)                    \
  X(v_lshl_add_u32) X(v_lshl_add_u64) X(v_add_lshl_u32) X(v_lshl_or_b32) X(v_and_or_b32) X(v_or3_b32)              \
  X(v_bfe_u32) X(v_bfe_i32) X(v_bfi_b32) X(v_alignbyte_b32) X(v_alignbit_b32) X(v_perm_b32) X(v_bitop3_b32)        \
  X(v_bcnt_u32_b32) X(v_mbcnt_lo_u32_b32) X(v_mbcnt_hi_u32_b32) X(v_cndmask_b32) X(v_max3_u32) X(v_ldexp_f32)      \
  X(v_cvt_pk_fp8_f32) X(v_cvt_pk_f32_fp8) X(v_add_f32) X(v_sub_f32) X(v_subrev_f32) X(v_mul_f32) X(v_min_f32)      \
  X(v_max_f32) X(v_fma_f32) X(v_fmac_f32) X(v_fmamk_f32) X(v_fmaak_f32) X(v_cmp_lt_f32) X(v_cmp_le_f32)            \
  X(v_cmp_gt_f32) X(v_cmp_ge_f32) X(v_cmp_nlt_f32) X(v_cmp_nle_f32) X(v_cmp_ngt_f32) X(v_cmp_nge_f32)              \
  X(v_pk_add_f32)                                                                                                  \
  X(v_pk_mul_f32) X(v_pk_fma_f32) X(v_cmp_eq_u32) X(v_cmp_ne_u32) X(v_cmp_lt_u32) X(v_cmp_le_u32)                  \
  X(v_cmp_gt_u32) X(v_cmp_ge_u32) X(v_cmp_eq_i32) X(v_cmp_ne_i32) X(v_cmp_lt_i32) X(v_cmp_le_i32)                  \
  X(v_cmp_gt_i32) X(v_cmp_ge_i32) X(v_cmp_eq_u64) X(v_cmp_ne_u64) X(v_cmp_lt_u64) X(v_cmp_le_u64)                  \
  X(v_cmp_gt_u64) X(v_cmp_ge_u64) X(v_readlane_b32)
#define MILLET_GFX950_VECTOR_LOADS(X)                                                                              \
  X(buffer_load_ubyte) X(buffer_load_ushort) X(buffer_load_dword) X(buffer_load_dwordx2) X(buffer_load_dwordx3)    \
  X(buffer_load_dwordx4) X(global_load_ubyte) X(global_load_ushort) X(global_load_dword) X(global_load_dwordx2)    \
  X(global_load_dwordx3) X(global_load_dwordx4) X(global_atomic_add)
#define MILLET_GFX950_VECTOR_STORES(X)                                                                             \
  X(buffer_store_byte) X(buffer_store_short) X(buffer_store_dword) X(buffer_store_dwordx2)                         \
  X(buffer_store_dwordx4) X(global_store_byte) X(global_store_short) X(global_store_short_d16_hi)                  \
  X(global_store_dword) X(global_store_dwordx2) X(global_store_dwordx3) X(global_store_dwordx4)
#define MILLET_GFX950_LDS_OPERATIONS(X)                                                                            \
  X(ds_read_b32) X(ds_read_b64) X(ds_read_b128) X(ds_read2_b32) X(ds_read2st64_b32) X(ds_write2st64_b32)           \
  X(ds_bpermute_b32) X(ds_write_b32) X(ds_write_b64) X(ds_write_b128)
#define MILLET_GFX950_OPERATIONS(X)                                                                                \
  MILLET_GFX950_SCALAR_OPERATIONS(X) MILLET_GFX950_SCALAR_LOADS(X) MILLET_GFX950_CONTROL_OPERATIONS(X)             \
  X(s_waitcnt) MILLET_GFX950_VECTOR_OPERATIONS(X) X(v_mfma_scale_f32_16x16x128_f8f6f4)                             \
  MILLET_GFX950_VECTOR_LOADS(X) MILLET_GFX950_VECTOR_STORES(X) MILLET_GFX950_LDS_OPERATIONS(X)
// clang-format on

enum class Operation : std::uint8_t {
#define MILLET_NAME(name) name,
  MILLET_GFX950_OPERATIONS(MILLET_NAME)
#undef MILLET_NAME
};

/// What executes an instruction.
enum class InstructionClass : std::uint8_t {
  valu,
  mfma,
  vector_load,   ///< of global memory, atomics too
  vector_store,  ///< to global memory
  lds,
  salu,
  scalar_load,
  wait,     ///< s_waitcnt
  control,  ///< branches, barriers, ends, s_nop
};
inline constexpr std::size_t instruction_classes = 9;
inline constexpr std::array<std::string_view, instruction_classes> instruction_class_names{
    "VALU", "MFMA", "VMEM load", "VMEM store", "LDS", "SALU", "SMEM", "waitcnt", "control"};

[[nodiscard]] InstructionClass class_of(Operation operation) noexcept;
[[nodiscard]] std::string_view name_of(Operation operation) noexcept;

// Scalar registers by their number in the encoding.
inline constexpr int scalar_registers = 128;
inline constexpr int general_scalar_registers = 102;
inline constexpr int vcc = 106;
inline constexpr int m0 = 124;
inline constexpr int exec = 126;
/// v0 .. v255, then a0 .. a255.
inline constexpr int vector_registers = 512;

/// Which bytes of a source SDWA takes.
enum class Select : std::uint8_t { dword, byte_0, byte_1, byte_2, byte_3, word_0, word_1 };

struct Operand {
  enum class Kind : std::uint8_t { none, vector, scalar, constant, off };
  Kind kind = Kind::none;
  bool negated = false;     ///< a float: -x or -|x|
  bool absolute = false;    ///< a float: |x|
  std::uint16_t first = 0;  ///< register
  std::uint8_t count = 1;   ///< registers
  std::int64_t value = 0;   ///< of a constant: integers sign-extended, hexadecimal ones zero-extended
};

struct Instruction {
  Operation operation{};
  bool nt = false, sc0 = false, sc1 = false, offen = false, sdwa = false, dpp = false;
  bool clamp = false;                      ///< of v_sub_u32: no less than zero
  std::int8_t broadcast = -1;              ///< of DPP: the lane of each 16 whose value all of them take
  std::uint8_t op_sel = 0, op_sel_hi = 7;  ///< bit i is source i's
  std::uint8_t neg_lo = 0, neg_hi = 0;
  Select select[2] = {Select::dword, Select::dword};
  std::uint8_t operand_count = 0;
  std::array<Operand, 6> operands{};
  std::int32_t offset = 0;
  std::int32_t offset1 = 0;               ///< of ds_read2 and ds_write2, where offset is the first
  std::uint8_t truth_table = 0;           ///< of v_bitop3
  std::int16_t vmcnt = -1, lgkmcnt = -1;  ///< of s_waitcnt; -1: not waited for
  std::uint32_t target = 0;               ///< of a branch: index of an instruction
  std::uint64_t address = 0;
  std::uint32_t line = 0;   ///< of the disassembly, from 1
  std::string_view text{};  ///< the same, without its comment
};

/// A kernel with what its metadata say.
struct Kernel {
  std::string symbol;
  std::uint32_t first = 0;  ///< index of its first instruction
  std::uint32_t lds_bytes = 0;
  std::uint32_t argument_bytes = 0;
  int vector_registers = 0;
  int accumulation_registers = 0;
  int threads = 0;
  int spills = 0;  ///< of either kind of register
  int scratch_bytes = 0;
};

class Program {
 public:
  /// Errors: parse_error, naming the line, for whatever is not implemented or does not fit together.
  [[nodiscard]] static Expected<Program> parse(std::string disassembly, std::string_view notes);
  /// Reads FOLDER/NAME.s and FOLDER/NAME.notes. Errors: io_error; those of parse.
  [[nodiscard]] static Expected<Program> read(const std::string& folder, std::string_view name);

  /// Null if there is none.
  [[nodiscard]] const Kernel* find(std::string_view symbol) const noexcept;
  [[nodiscard]] const std::vector<Kernel>& kernels() const noexcept { return kernels_; }
  [[nodiscard]] const std::vector<Instruction>& instructions() const noexcept { return instructions_; }

 private:
  std::vector<char> text_;  // what the instructions' texts point into; moving a vector keeps it in place
  std::vector<Instruction> instructions_;
  std::vector<Kernel> kernels_;
};

}  // namespace millet::gfx950_isa
