# The list of backends: one millet_add_backend() line each; everything else follows from it.

# millet_add_backend(name [ENABLED_BY option] [REGISTRY registry]): adds the folder <name>, which must define the target
# millet_backend_<name> and the function millet::<name>::backend(). With ENABLED_BY it is built only if that option is on.
# REGISTRY, "backends" by default, is for programs with a list of their own.
function(millet_add_backend name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "ENABLED_BY;REGISTRY" "")
  if(arg_ENABLED_BY AND NOT ${arg_ENABLED_BY})
    return()
  endif()
  if(NOT arg_REGISTRY)
    set(arg_REGISTRY backends)
  endif()
  add_subdirectory(${name})
  if(NOT TARGET millet_backend_${name})
    message(FATAL_ERROR "${CMAKE_CURRENT_SOURCE_DIR}/${name}/CMakeLists.txt must define the target millet_backend_${name}")
  endif()
  set_property(GLOBAL APPEND PROPERTY MILLET_REGISTRY_${arg_REGISTRY} ${name})
endfunction()

# millet_finish_backends([REGISTRY registry]): generates the library millet_<registry>, which implements
# millet/backends/registry.hpp. A list in generated code, since a backend that registers itself from a global constructor
# vanishes when it is linked from a static library.
function(millet_finish_backends)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "REGISTRY" "")
  if(NOT arg_REGISTRY)
    set(arg_REGISTRY backends)
    set(install "")
  else()
    set(install NO_INSTALL)
  endif()
  get_property(names GLOBAL PROPERTY MILLET_REGISTRY_${arg_REGISTRY})
  set(declarations "")
  set(entries "")
  set(libraries "")
  foreach(name IN LISTS names)
    string(APPEND declarations "namespace millet::${name} {\nBackend backend() noexcept;\n}\n")
    string(APPEND entries "${name}::backend(), ")
    list(APPEND libraries millet_backend_${name})
  endforeach()
  set(source "${PROJECT_BINARY_DIR}/registry_${arg_REGISTRY}.cpp")
  file(CONFIGURE OUTPUT "${source}" CONTENT [[
// Generated from the millet_add_backend() lines.
#include "millet/backends/registry.hpp"

#include <array>

@declarations@
namespace millet {

std::span<const Backend> registered_backends() noexcept {
  static const std::array backends{@entries@};
  return backends;
}

}  // namespace millet
]] @ONLY)
  millet_add_library(${arg_REGISTRY} SOURCES "${source}" PUBLIC millet::framework PRIVATE ${libraries} ${install})
endfunction()
