# Device code for gfx950 (AMD CDNA4), compiled by a clang of its own whatever compiler builds the rest, and carried inside
# of the library that launches it.

# What every code object is compiled with. -nogpulib: the kernels need no ROCm device library, so that clang and lld suffice.
# The inline threshold: arrays of registers stay registers only if everything that indexes them is inlined.
set(MILLET_GFX950_FLAGS -x hip --offload-arch=gfx950 --cuda-device-only --no-gpu-bundle-output -nogpulib -O3 -std=c++20
  -Wall -Wextra -ffp-contract=off -mllvm -inline-threshold=1000000)

# millet_probe_gfx950(result log compiler): sets `result` to whether `compiler` makes gfx950 code objects, and `log` to what
# it said. It takes a clang that knows the scaled matrix instruction, its lld and a C++ standard library.
function(millet_probe_gfx950 result log compiler)
  set(folder "${PROJECT_BINARY_DIR}/CMakeFiles/millet_gfx950_probe")
  file(WRITE "${folder}/probe.hip" [[
#include <cstdint>
#if !__has_builtin(__builtin_amdgcn_mfma_scale_f32_16x16x128_f8f6f4)
#error no gfx950 matrix instructions
#endif
__global__ void probe(std::uint32_t* to) { *to = 1; }
]])
  execute_process(COMMAND "${compiler}" ${MILLET_GFX950_FLAGS} -c "${folder}/probe.hip" -o "${folder}/probe.co"
                  RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(failed)
    set(${result} OFF PARENT_SCOPE)
  else()
    set(${result} ON PARENT_SCOPE)
  endif()
  set(${log} "${output}" PARENT_SCOPE)
endfunction()

# For find_program: takes a compiler only if it knows gfx950.
function(millet_validate_gfx950_compiler result compiler)
  millet_probe_gfx950(works log "${compiler}")
  if(NOT works)
    set(${result} FALSE PARENT_SCOPE)
  endif()
endfunction()

# millet_find_gfx950_compiler(): sets MILLET_GFX950_CXX in the cache to the first compiler that knows gfx950, or to
# MILLET_GFX950_CXX-NOTFOUND. A compiler that the user named there stays.
function(millet_find_gfx950_compiler)
  find_program(MILLET_GFX950_CXX
    NAMES amdclang++ clang++-22 clang++ clang++-23 clang++-21
    PATHS "$ENV{ROCM_PATH}/bin" /opt/rocm/bin
    VALIDATOR millet_validate_gfx950_compiler
    DOC "The clang++ that compiles gfx950 device code")
endfunction()

# millet_find_hip(): sets MILLET_HIP_LIBRARY and MILLET_HIP_INCLUDE_DIR in the cache, or to ...-NOTFOUND. Not
# find_package(hip): Debian 12's package ends the configuration where hipcc, which nothing here uses, is not installed.
function(millet_find_hip)
  find_library(MILLET_HIP_LIBRARY amdhip64 PATHS "$ENV{ROCM_PATH}/lib" /opt/rocm/lib DOC "The HIP runtime")
  find_path(MILLET_HIP_INCLUDE_DIR hip/hip_runtime_api.h PATHS "$ENV{ROCM_PATH}/include" /opt/rocm/include
            DOC "The folder with hip/hip_runtime_api.h")
endfunction()

# millet_require_hip(): the target millet_hip, the HIP runtime for AMD devices; or an error that says what to install.
function(millet_require_hip)
  millet_find_hip()
  if(NOT MILLET_HIP_LIBRARY OR NOT MILLET_HIP_INCLUDE_DIR)
    set(missing "")
    if(NOT MILLET_HIP_LIBRARY)
      list(APPEND missing "libamdhip64 (MILLET_HIP_LIBRARY)")
    endif()
    if(NOT MILLET_HIP_INCLUDE_DIR)
      list(APPEND missing "hip/hip_runtime_api.h (MILLET_HIP_INCLUDE_DIR)")
    endif()
    list(JOIN missing " and " missing)
    message(FATAL_ERROR "gfx950: no ${missing} found; install libamdhip64-dev (Debian) or ROCm, or configure with "
                        "-DMILLET_ENABLE_GFX950=OFF")
  endif()
  if(NOT TARGET millet_hip)
    add_library(millet_hip UNKNOWN IMPORTED GLOBAL)  # imported: an exported library may name it
    set_target_properties(millet_hip PROPERTIES
      IMPORTED_LOCATION "${MILLET_HIP_LIBRARY}"
      INTERFACE_INCLUDE_DIRECTORIES "${MILLET_HIP_INCLUDE_DIR}"
      INTERFACE_COMPILE_DEFINITIONS __HIP_PLATFORM_AMD__)
  endif()
endfunction()

# millet_require_gfx950_tools(): the compiler and, from the same LLVM, what shows its output; or an error that says what to
# install.
function(millet_require_gfx950_tools)
  millet_find_gfx950_compiler()
  set(remedy "install clang-22, lld-22 and llvm-22, set MILLET_GFX950_CXX, or configure with -DMILLET_ENABLE_GFX950=OFF")
  if(NOT MILLET_GFX950_CXX)
    message(FATAL_ERROR "gfx950: no clang++ here compiles for gfx950; ${remedy}")
  endif()
  millet_probe_gfx950(works log "${MILLET_GFX950_CXX}")
  if(NOT works)
    message(FATAL_ERROR "gfx950: ${MILLET_GFX950_CXX} (MILLET_GFX950_CXX) does not compile for gfx950; ${remedy}. "
                        "It said:\n${log}")
  endif()
  file(REAL_PATH "${MILLET_GFX950_CXX}" compiler)
  cmake_path(GET compiler PARENT_PATH folder)
  cmake_path(GET compiler FILENAME name)
  string(REGEX MATCH "-[0-9]+$" version "${name}")
  foreach(tool IN ITEMS objdump readelf)
    string(TOUPPER "MILLET_GFX950_${tool}" variable)
    find_program(${variable} NAMES llvm-${tool}${version} llvm-${tool} HINTS "${folder}" DOC "llvm-${tool} for gfx950 code")
    mark_as_advanced(${variable})
    if(NOT ${variable})
      message(FATAL_ERROR "gfx950: no llvm-${tool} found; install llvm-22 or set ${variable}")
    endif()
  endforeach()
endfunction()

# millet_add_code_object(target name source [DEPENDS file...]): compiles `source` into the gfx950 code object
# <name>.co in the build folder of the calling directory, and carries it in `target`, between the symbols
#
#   extern "C" const unsigned char millet_code_object_<name>[], millet_code_object_<name>_end[];
#
# Beside it come its disassembly, <name>.s, and its metadata (registers, LDS, spills), <name>.notes. The target
# gfx950_code_objects builds all of these and nothing else. Headers are tracked; DEPENDS names other inputs.
function(millet_add_code_object target name source)
  cmake_parse_arguments(PARSE_ARGV 3 arg "" "" "DEPENDS")
  if(NOT MILLET_GFX950_OBJDUMP OR NOT MILLET_GFX950_READELF)
    millet_require_gfx950_tools()
  endif()
  if(NOT CMAKE_ASM_COMPILER)  # a function cannot enable a language
    message(FATAL_ERROR "millet_add_code_object: call enable_language(ASM) first")
  endif()
  cmake_path(ABSOLUTE_PATH source NORMALIZE)
  set(stem "${CMAKE_CURRENT_BINARY_DIR}/${name}")
  set(flags ${MILLET_GFX950_FLAGS} "-I${MILLET_INCLUDE_DIR}")
  if(CMAKE_COMPILE_WARNING_AS_ERROR)
    list(APPEND flags -Werror)
  endif()
  # clang ignores -MD where it links the device code in the same step.
  add_custom_command(
    OUTPUT "${stem}.co" "${stem}.s" "${stem}.notes"
    COMMAND "${MILLET_GFX950_CXX}" ${flags} -Xclang -dependency-file -Xclang "${stem}.co.d" -Xclang -MT -Xclang "${stem}.co"
            -c "${source}" -o "${stem}.co"
    COMMAND "${MILLET_GFX950_OBJDUMP}" -d --mcpu=gfx950 --no-show-raw-insn "${stem}.co" > "${stem}.s"
    COMMAND "${MILLET_GFX950_READELF}" --notes "${stem}.co" > "${stem}.notes"
    DEPENDS "${source}" ${arg_DEPENDS}
    DEPFILE "${stem}.co.d"
    COMMENT "gfx950 code object ${name}"
    VERBATIM)

  set(embedded "${CMAKE_CURRENT_BINARY_DIR}/embedded/${name}_code_object.S")
  # Page-aligned, as clang places the code objects that it embeds itself.
  file(CONFIGURE OUTPUT "${embedded}" CONTENT [[
/* Generated. */
    .section .rodata
    .balign 4096
    .globl millet_code_object_@name@
    .type millet_code_object_@name@, @object
millet_code_object_@name@:
    .incbin "@stem@.co"
    .globl millet_code_object_@name@_end
    .type millet_code_object_@name@_end, @object
millet_code_object_@name@_end:
    .byte 0
    .section .note.GNU-stack, "", @progbits
]] @ONLY)
  set_source_files_properties("${embedded}" PROPERTIES OBJECT_DEPENDS "${stem}.co")
  target_sources(${target} PRIVATE "${embedded}")

  add_custom_target(gfx950_code_object_${name} DEPENDS "${stem}.co" "${stem}.s" "${stem}.notes")
  add_dependencies(${target} gfx950_code_object_${name})
  if(NOT TARGET gfx950_code_objects)
    add_custom_target(gfx950_code_objects)
  endif()
  add_dependencies(gfx950_code_objects gfx950_code_object_${name})
endfunction()
