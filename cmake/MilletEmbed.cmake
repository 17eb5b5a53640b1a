# Text files inside of a library or program, so that it needs no data folder at run time.

# millet_embed_text(target symbol file): compiles the text of `file` into `target` as a constant
#
#   extern const std::string_view symbol;
#
# which code that uses it declares in this form. `symbol` may be qualified (millet::portable::tuned_csv). The constant is
# initialized at compile time, so that it may be used before main(). A changed file is picked up by the next build.
function(millet_embed_text target symbol file)
  cmake_path(ABSOLUTE_PATH file NORMALIZE)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
  file(READ "${file}" text)
  string(FIND "${text}" ")millet_text\"" delimiter)
  if(NOT delimiter EQUAL -1)
    message(FATAL_ERROR "millet_embed_text: ${file} contains the delimiter )millet_text\"")
  endif()

  set(begin_namespace "")
  set(end_namespace "")
  set(name "${symbol}")
  if(symbol MATCHES "^(.*)::([^:]+)$")
    set(begin_namespace "namespace ${CMAKE_MATCH_1} {\n")
    set(name "${CMAKE_MATCH_2}")
    set(end_namespace "}\n")
  endif()
  cmake_path(RELATIVE_PATH file BASE_DIRECTORY "${PROJECT_SOURCE_DIR}" OUTPUT_VARIABLE shown)
  string(MAKE_C_IDENTIFIER "${target}_${symbol}" stem)
  set(generated "${CMAKE_CURRENT_BINARY_DIR}/embedded/${stem}.cpp")
  file(CONFIGURE OUTPUT "${generated}" CONTENT [[
// Generated from @shown@.
#include <string_view>

using namespace std::string_view_literals;

@begin_namespace@extern constinit const std::string_view @name@;
constinit const std::string_view @name@ = R"millet_text(@text@)millet_text"sv;
@end_namespace@]] @ONLY)
  target_sources(${target} PRIVATE "${generated}")
endfunction()
