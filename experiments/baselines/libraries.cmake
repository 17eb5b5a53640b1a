# The libraries libmillet_<baseline>.so, in ${program_folder}; their targets are listed in baseline_libraries. Each exports
# the one function of baselines/baseline_product.hpp. OpenBLAS and oneDNN are optional: a program without them says so when
# it is asked for them.
set(baseline_libraries "")

# millet_add_baseline(name SOURCE file LIBS libraries... OPTIONS flags...)
function(millet_add_baseline name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SOURCE" "LIBS;OPTIONS")
  add_library(millet_${name} MODULE "${arg_SOURCE}")
  target_include_directories(millet_${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_compile_options(millet_${name} PRIVATE -fvisibility=hidden -fvisibility-inlines-hidden ${arg_OPTIONS})
  target_link_libraries(millet_${name} PRIVATE ${arg_LIBS} millet_flags $<TARGET_NAME_IF_EXISTS:OpenMP::OpenMP_CXX>)
  set_target_properties(millet_${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${program_folder}")
  set(baseline_libraries ${baseline_libraries} millet_${name} PARENT_SCOPE)
endfunction()

# eigen_f32, once for each instruction set. Were its objects part of the program, the linker could keep the AVX-512 copy of
# one of Eigen's inline functions for every caller.
set(isa_names baseline)
set(flags_of_baseline "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  list(APPEND isa_names avx2 avx512)
  set(flags_of_avx2 -mavx2 -mfma)
  set(flags_of_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma)
endif()
foreach(isa IN LISTS isa_names)
  # -O3 and contraction as a user of Eigen would have them, whatever the type of this build.
  millet_add_baseline(eigen_f32_${isa} SOURCE baselines/eigen_f32_product.cpp LIBS Eigen3::Eigen
    OPTIONS ${flags_of_${isa}} -O3 -ffp-contract=fast
            -Wno-maybe-uninitialized)  # GCC 12 says so of its own AVX-512 header
  target_compile_definitions(millet_eigen_f32_${isa} PRIVATE EIGEN_DONT_PARALLELIZE NDEBUG MILLET_BASELINE_ISA="${isa}")
endforeach()

# OpenBLAS: of Debian's three builds the one on OpenMP, so that it computes in the same threads as the kernels.
set(openblas_folders openblas-openmp openblas-pthread openblas-serial openblas)
find_library(MILLET_OPENBLAS_LIBRARY openblas PATH_SUFFIXES ${openblas_folders})
find_path(MILLET_OPENBLAS_INCLUDE cblas.h PATH_SUFFIXES ${openblas_folders})
if(MILLET_OPENBLAS_LIBRARY AND MILLET_OPENBLAS_INCLUDE)
  millet_add_baseline(openblas_f32 SOURCE baselines/openblas_f32_product.cpp LIBS "${MILLET_OPENBLAS_LIBRARY}")
  target_include_directories(millet_openblas_f32 SYSTEM PRIVATE "${MILLET_OPENBLAS_INCLUDE}")
else()
  set(MILLET_OPENBLAS_LIBRARY "")
endif()

# oneDNN, by hand: its package wants OpenCL headers, which nothing here uses.
find_library(MILLET_ONEDNN_LIBRARY dnnl)
find_path(MILLET_ONEDNN_INCLUDE oneapi/dnnl/dnnl.hpp)
if(MILLET_ONEDNN_LIBRARY AND MILLET_ONEDNN_INCLUDE)
  millet_add_baseline(onednn_bf16 SOURCE baselines/onednn_bf16_product.cpp LIBS "${MILLET_ONEDNN_LIBRARY}")
  target_include_directories(millet_onednn_bf16 SYSTEM PRIVATE "${MILLET_ONEDNN_INCLUDE}")
else()
  set(MILLET_ONEDNN_LIBRARY "")
endif()
