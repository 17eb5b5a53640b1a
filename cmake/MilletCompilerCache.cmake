# Compiles through ccache where there is one. The presets name this file in CMAKE_PROJECT_TOP_LEVEL_INCLUDES: how to compile
# is the developer's choice, not the project's.
if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(MILLET_CCACHE ccache)
  mark_as_advanced(MILLET_CCACHE)
  if(MILLET_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${MILLET_CCACHE}")
  endif()
endif()
