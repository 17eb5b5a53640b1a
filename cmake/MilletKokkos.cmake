# millet::kokkos: the Kokkos that portable kernels compile against. The only place that knows how Kokkos packages differ.
# The installed package loads this file too: a static library needs its Kokkos again at the user's link.

# The release that is fetched where none is installed. FETCHCONTENT_SOURCE_DIR_KOKKOS names a local copy to build instead.
set(MILLET_KOKKOS_RELEASE 5.2.2)
set(MILLET_KOKKOS_RELEASE_SHA256 d6557aaef39302282a15f9c770433d1fcdf4e961dfd6d9ed726b9d0d0f546b9f)

if(NOT DEFINED MILLET_KOKKOS_FETCH)
  set(MILLET_KOKKOS_FETCH AUTO CACHE STRING "Build Kokkos here: ON, OFF, or AUTO where no Kokkos 3.4 or newer is installed")
  set_property(CACHE MILLET_KOKKOS_FETCH PROPERTY STRINGS AUTO ON OFF)
endif()

# Loads an installed Kokkos into Kokkos::kokkos. Sets Kokkos_FOUND and Kokkos_VERSION in the caller.
function(millet_find_kokkos)
  # Without this, Kokkos 3 warns and turns extensions off in the cache, so that a second configuration differs.
  set(CMAKE_CXX_EXTENSIONS OFF)
  set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
  foreach(minimum IN ITEMS 3.4 4.0 5.0)  # a package may call itself compatible with its own major version only
    find_package(Kokkos ${minimum} QUIET CONFIG)
    if(Kokkos_FOUND)
      break()
    endif()
  endforeach()
  # Debian 12's target (Trilinos's Kokkos 3.4) names an include directory that does not exist, so that CMake's generate
  # step fails. The variable beside it is right.
  if(Kokkos_FOUND AND Kokkos_INCLUDE_DIRS)
    get_target_property(directories Kokkos::kokkos INTERFACE_INCLUDE_DIRECTORIES)
    foreach(directory IN LISTS directories)
      if(IS_ABSOLUTE "${directory}" AND NOT EXISTS "${directory}")
        set_target_properties(Kokkos::kokkos PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${Kokkos_INCLUDE_DIRS}")
      endif()
    endforeach()
  endif()
  set(Kokkos_FOUND "${Kokkos_FOUND}" PARENT_SCOPE)
  set(Kokkos_VERSION "${Kokkos_VERSION}" PARENT_SCOPE)
endfunction()

# Builds Kokkos as a part of this project; Kokkos_ENABLE_* and Kokkos_ARCH_* choose its execution spaces as ever.
function(millet_fetch_kokkos)
  set(CMAKE_UNITY_BUILD OFF)  # presets turn it on for this project
  include(FetchContent)
  FetchContent_Declare(Kokkos
    URL https://github.com/kokkos/kokkos/releases/download/${MILLET_KOKKOS_RELEASE}/kokkos-${MILLET_KOKKOS_RELEASE}.tar.gz
    URL_HASH SHA256=${MILLET_KOKKOS_RELEASE_SHA256}
    DOWNLOAD_EXTRACT_TIMESTAMP OFF
    SYSTEM)
  FetchContent_MakeAvailable(Kokkos)
  get_directory_property(version DIRECTORY "${kokkos_SOURCE_DIR}" DEFINITION Kokkos_VERSION)
  set(Kokkos_VERSION "${version}" PARENT_SCOPE)
endfunction()

if(NOT TARGET millet_kokkos)
  if(TARGET Kokkos::kokkos)
    # The project around this one brings its own.
  elseif(NOT MILLET_KOKKOS_FETCH OR (MILLET_KOKKOS_FETCH STREQUAL "AUTO" AND NOT FETCHCONTENT_SOURCE_DIR_KOKKOS))
    millet_find_kokkos()
  endif()
  if(NOT TARGET Kokkos::kokkos AND MILLET_KOKKOS_FETCH)
    message(STATUS "Kokkos: building release ${MILLET_KOKKOS_RELEASE}, or FETCHCONTENT_SOURCE_DIR_KOKKOS if given")
    millet_fetch_kokkos()
  endif()
  if(TARGET Kokkos::kokkos)
    add_library(millet_kokkos INTERFACE IMPORTED GLOBAL)  # imported: an exported library may name it
    add_library(millet::kokkos ALIAS millet_kokkos)
    target_link_libraries(millet_kokkos INTERFACE Kokkos::kokkos)
    set_target_properties(millet_kokkos PROPERTIES MILLET_KOKKOS_VERSION "${Kokkos_VERSION}")
  elseif(NOT CMAKE_FIND_PACKAGE_NAME STREQUAL "millet")  # there, millet-config.cmake reports it
    message(FATAL_ERROR "No Kokkos 3.4 or newer was found and MILLET_KOKKOS_FETCH is OFF; set Kokkos_ROOT or install one "
                        "(Debian: libtrilinos-kokkos-dev)")
  endif()
endif()
