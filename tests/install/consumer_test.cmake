# Installs the build to a new prefix, moves the prefix, builds the consumer project against it and runs the program.
#
# usage: cmake -DBUILD=... -DSOURCE=... -DWORK=... -DGENERATOR=... -DCONFIG=... -DCXX_COMPILER=... -DCXX_FLAGS=...
#              [-DREMOVE=<file of the prefix>] [-DCONSUMER_OPTIONS=...] -P consumer_test.cmake
cmake_minimum_required(VERSION 3.25)

set(prefix "${WORK}/prefix")
file(REMOVE_RECURSE "${WORK}")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --config "${CONFIG}" --prefix "${WORK}/installed"
                OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${WORK}/installed" "${prefix}")

file(GLOB_RECURSE package "${prefix}/*.cmake")
if(NOT package)
  message(FATAL_ERROR "no CMake package was installed")
endif()
foreach(file IN LISTS package)
  file(READ "${file}" text)
  foreach(folder "${BUILD}" "${SOURCE}" "${WORK}")
    string(FIND "${text}" "${folder}/" found)
    if(NOT found EQUAL -1)
      message(FATAL_ERROR "${file} names ${folder}: the package cannot be moved")
    endif()
  endforeach()
endforeach()

if(REMOVE)
  if(NOT EXISTS "${prefix}/${REMOVE}")
    message(FATAL_ERROR "there is no ${REMOVE} to remove")
  endif()
  file(REMOVE "${prefix}/${REMOVE}")
endif()

execute_process(COMMAND "${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}/consumer" -B "${WORK}/build" -G "${GENERATOR}"
                        "-DCMAKE_PREFIX_PATH=${prefix}" "-DCMAKE_BUILD_TYPE=${CONFIG}"
                        "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}" "-DCMAKE_CXX_FLAGS=${CXX_FLAGS}" ${CONSUMER_OPTIONS}
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${CMAKE_COMMAND}" --build "${WORK}/build" --config "${CONFIG}" --target run_consumer
                COMMAND_ERROR_IS_FATAL ANY)
