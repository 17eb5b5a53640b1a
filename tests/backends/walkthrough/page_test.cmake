# The walk-through's listings are the files that the test builds: each file must stand in the page, whole.
#
# usage: cmake -DPAGE=<page> -DFOLDER=<folder of the files> -P page_test.cmake
cmake_minimum_required(VERSION 3.25)

file(READ "${PAGE}" page)
foreach(file IN ITEMS scalar/CMakeLists.txt scalar/backend.cpp scalar/kernels/gemm_naive.hpp)
  file(READ "${FOLDER}/${file}" text)
  string(FIND "${page}" "${text}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "${PAGE} does not show ${file} as it is")
  endif()
endforeach()
