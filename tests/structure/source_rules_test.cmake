# Shows that source_rules.cmake accepts a good tree and catches each kind of violation in it.
#
# usage: cmake -DTREE=<scratch folder> -P source_rules_test.cmake
cmake_minimum_required(VERSION 3.25)

function(write_good_tree)
  file(REMOVE_RECURSE "${TREE}")
  file(WRITE "${TREE}/framework/host_device.hpp" "#if defined(__CUDACC__)\n#endif\n")
  file(WRITE "${TREE}/framework/numeric/e4m3.hpp" "#include <cstdint>\n#include \"millet/host_device.hpp\"\n")
  file(WRITE "${TREE}/framework/dispatch/select.hpp" "#include \"millet/numeric/e4m3.hpp\"\n#if MILLET_X86_TIERS\n#endif\n")
  file(WRITE "${TREE}/reference/eigen_gemm.cpp" "#include <Eigen/Dense>\n#include \"millet/dispatch/select.hpp\"\n")
  file(WRITE "${TREE}/backends/portable/tiles/lanes.hpp" "#include <Kokkos_Core.hpp>\n")
  file(WRITE "${TREE}/backends/portable/kernels/gemv_team.hpp" "#include \"millet/backends/portable/tiles/lanes.hpp\"\n")
  file(WRITE "${TREE}/backends/portable/kernels/gemv_team.hip" "#include \"millet/backends/portable/kernels/gemv_team_body.hpp\"\n")
  file(WRITE "${TREE}/backends/cpu/kernels/gemm_avx2.hpp" "#include \"millet/dispatch/select.hpp\"\n")
endfunction()

function(run_rules output status)
  execute_process(COMMAND "${CMAKE_COMMAND}" -DROOT=${TREE} -P "${CMAKE_CURRENT_LIST_DIR}/source_rules.cmake"
                  RESULT_VARIABLE result OUTPUT_VARIABLE out ERROR_VARIABLE out)
  string(REGEX REPLACE "[ \n]+" " " out "${out}")  # message() wraps lines
  set(${output} "${out}" PARENT_SCOPE)
  set(${status} "${result}" PARENT_SCOPE)
endfunction()

# Puts one bad file into the good tree: the rules must fail and name it and the reason.
function(expect_caught file content reason)
  write_good_tree()
  file(WRITE "${TREE}/${file}" "${content}\n")
  run_rules(output status)
  string(FIND "${output}" "${file}: ${reason}" found)
  if(status EQUAL 0 OR found EQUAL -1)
    message(SEND_ERROR "not caught: ${file} with ${content}; expected \"${reason}\", got status ${status}: ${output}")
  endif()
endfunction()

write_good_tree()
run_rules(output status)
if(NOT status EQUAL 0)
  message(SEND_ERROR "a good tree is rejected: ${output}")
endif()

expect_caught(framework/numeric/bf16.hpp "#include \"millet/layout/mapping.hpp\"" "includes \"millet/layout/mapping.hpp\", a layer")
expect_caught(framework/problem/gemm_problem.cpp "  #  include \"millet/report/csv.hpp\"" "includes \"millet/report/csv.hpp\", a layer")
expect_caught(framework/host_device.hpp "#include \"millet/error/expected.hpp\"" "includes \"millet/error/expected.hpp\", a layer")
expect_caught(framework/dispatch/kernel.hpp "#include \"millet/backends/registry.hpp\"" "framework includes")
expect_caught(framework/report/csv.cpp "#include \"millet/reference/eigen_gemm.hpp\"" "framework includes")
expect_caught(framework/layout/mapping.hpp "#include <Kokkos_Core.hpp>" "framework includes")
expect_caught(framework/dispatch/kernel.hpp "#include \"../report/csv.hpp\"" "includes \"../report/csv.hpp\"; write it as")
expect_caught(framework/report/csv.cpp "#include \"experiments/operands.hpp\"" "includes \"experiments/operands.hpp\"; write it as")
expect_caught(framework/device/host.cpp "#if defined(__x86_64__)" "\"#if defined(__x86_64__)\": the architecture")
expect_caught(framework/device/host.cpp "#ifdef __AVX2__" "\"#ifdef __AVX2__\": the architecture")
expect_caught(framework/layout/utils.hpp "" "a name that says nothing")
expect_caught(backends/cpu/common/tile.hpp "" "a name that says nothing")
expect_caught(reference/error_bound.cpp "#include \"millet/backends/registry.hpp\"" "the reference includes")
expect_caught(reference/error_bound.cpp "#include \"run/plan.hpp\"" "the reference includes")
expect_caught(backends/cpu/backend.cpp "#include \"millet/reference/eigen_gemm.hpp\"" "a backend includes")
expect_caught(backends/cpu/backend.cpp "#include \"experiments/operands.hpp\"" "a backend includes")
expect_caught(backends/cpu/backend.cpp "#include <Kokkos_Core.hpp>" "includes <Kokkos_Core.hpp>; only")
expect_caught(backends/portable/kernels/gemm_team.hpp "#include \"gemv_team.hpp\"" "a kernel includes the kernel")
expect_caught(backends/portable/kernels/gemm_team.hpp "#include \"millet/backends/portable/kernels/gemv_team_body.hpp\"" "a kernel includes the kernel")
expect_caught(backends/portable/kernels/gemm_team.hpp "#include \"millet/backends/portable/kernels/gemv_team.hpp\"" "a kernel includes the kernel")

file(REMOVE_RECURSE "${TREE}")
