# What every target of this project shares: language level, warnings, sanitizers and the <millet/...> include tree.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# One include tree for the build and for the installation: <build>/include/millet/numeric is framework/numeric.
set(MILLET_INCLUDE_DIR "${PROJECT_BINARY_DIR}/include")
file(MAKE_DIRECTORY "${MILLET_INCLUDE_DIR}/millet")
set(MILLET_FRAMEWORK_FOLDERS error numeric problem layout quantize device dispatch measure report)
foreach(folder IN LISTS MILLET_FRAMEWORK_FOLDERS)
  file(CREATE_LINK "${PROJECT_SOURCE_DIR}/framework/${folder}" "${MILLET_INCLUDE_DIR}/millet/${folder}" SYMBOLIC)
endforeach()
file(CREATE_LINK "${PROJECT_SOURCE_DIR}/framework/host_device.hpp" "${MILLET_INCLUDE_DIR}/millet/host_device.hpp" SYMBOLIC)
file(CREATE_LINK "${PROJECT_SOURCE_DIR}/reference" "${MILLET_INCLUDE_DIR}/millet/reference" SYMBOLIC)
file(CREATE_LINK "${PROJECT_SOURCE_DIR}/backends" "${MILLET_INCLUDE_DIR}/millet/backends" SYMBOLIC)

# Flags of this project's own code. -ffp-contract=off: the order and number of roundings is part of each kernel's
# contract, so a fused multiply-add is written where it is meant. No -ffast-math anywhere: it would also link the start-up
# code that flushes subnormals for the whole process.
add_library(millet_flags INTERFACE)
target_compile_features(millet_flags INTERFACE cxx_std_20)
target_compile_options(millet_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -ffp-contract=off>)
if(MILLET_SANITIZE)
  target_compile_options(millet_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${MILLET_SANITIZE}
    -fno-sanitize-recover=all -fno-omit-frame-pointer>)
  if(MILLET_SANITIZE MATCHES "undefined")
    target_compile_options(millet_flags INTERFACE
      $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=float-cast-overflow,integer-divide-by-zero>)
  endif()
  target_link_options(millet_flags INTERFACE -fsanitize=${MILLET_SANITIZE})
endif()

# millet_add_library(name SOURCES ... PUBLIC libs... PRIVATE libs... [NO_INSTALL]): a static library millet_<name>, alias
# millet::<name>.
function(millet_add_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "NO_INSTALL" "" "SOURCES;PUBLIC;PRIVATE")
  add_library(millet_${name} STATIC ${arg_SOURCES})
  add_library(millet::${name} ALIAS millet_${name})
  set_target_properties(millet_${name} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON)
  target_include_directories(millet_${name} PUBLIC "$<BUILD_INTERFACE:${MILLET_INCLUDE_DIR}>"
                                                   "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  target_compile_features(millet_${name} PUBLIC cxx_std_20)
  target_link_libraries(millet_${name} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE} $<BUILD_INTERFACE:millet_flags>)
  if(NOT arg_NO_INSTALL)
    set_property(GLOBAL APPEND PROPERTY MILLET_INSTALLED_TARGETS millet_${name})
  endif()
endfunction()
