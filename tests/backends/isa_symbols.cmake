# Fails where a file that is compiled for one instruction set defines a weak function: of equal ones a linker keeps one, and
# a machine that lacks the instructions might get it.
#
# usage: cmake -DNM=<nm> "-DOBJECTS=<object>;..." -P isa_symbols.cmake
cmake_minimum_required(VERSION 3.25)

list(FILTER OBJECTS INCLUDE REGEX "/isa/")
if(NOT OBJECTS)
  message(FATAL_ERROR "no object file of an instruction set was given")
endif()
set(violations "")
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND "${NM}" --demangle --defined-only "${object}" OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[0-9a-f]+ W [^\n]*" weak "${symbols}")
  foreach(symbol IN LISTS weak)
    string(APPEND violations "  ${object}: ${symbol}\n")
  endforeach()
endforeach()
if(violations)
  message(FATAL_ERROR "weak functions compiled for one instruction set:\n${violations}")
endif()
