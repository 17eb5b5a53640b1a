# The list of backends: one millet_add_backend() line each; everything else follows from it.

# millet_add_backend(name [ENABLED_BY option]): adds the folder <name>, which must define the target
# millet_backend_<name> and the function millet::<name>::backend(). With ENABLED_BY it is built only if that option is on.
function(millet_add_backend name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "ENABLED_BY" "")
  if(arg_ENABLED_BY AND NOT ${arg_ENABLED_BY})
    return()
  endif()
  add_subdirectory(${name})
  if(NOT TARGET millet_backend_${name})
    message(FATAL_ERROR "backends/${name}/CMakeLists.txt must define the target millet_backend_${name}")
  endif()
  set_property(GLOBAL APPEND PROPERTY MILLET_BACKENDS ${name})
endfunction()

# Generates the registry. A list in generated code, since a backend that registers itself from a global constructor
# vanishes when it is linked from a static library.
function(millet_finish_backends)
  get_property(names GLOBAL PROPERTY MILLET_BACKENDS)
  set(declarations "")
  set(entries "")
  set(libraries "")
  foreach(name IN LISTS names)
    string(APPEND declarations "namespace millet::${name} {\nBackend backend() noexcept;\n}\n")
    string(APPEND entries "${name}::backend(), ")
    list(APPEND libraries millet_backend_${name})
  endforeach()
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/registry.cpp" CONTENT [[
// Generated from the millet_add_backend() lines of backends/CMakeLists.txt.
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
  millet_add_library(backends SOURCES "${PROJECT_BINARY_DIR}/registry.cpp" PUBLIC millet::framework PRIVATE ${libraries})
endfunction()
