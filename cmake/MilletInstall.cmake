# The installed package: find_package(millet) gives millet::framework, millet::backends and millet::reference.
include(CMakePackageConfigHelpers)

set(MILLET_INSTALL_CMAKEDIR "${CMAKE_INSTALL_LIBDIR}/cmake/millet" CACHE STRING "Where the CMake package goes")
mark_as_advanced(MILLET_INSTALL_CMAKEDIR)

# Every library is in the export, those of the backends too: a static library hands its private libraries to the linker.
get_property(millet_libraries GLOBAL PROPERTY MILLET_INSTALLED_TARGETS)
install(TARGETS ${millet_libraries} EXPORT millet_targets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT millet_targets NAMESPACE millet:: FILE millet-targets.cmake DESTINATION "${MILLET_INSTALL_CMAKEDIR}")

# The tree that <build>/include shows by links.
set(millet_headers "${CMAKE_INSTALL_INCLUDEDIR}/millet")
foreach(folder IN LISTS MILLET_FRAMEWORK_FOLDERS)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/framework/${folder}" DESTINATION "${millet_headers}"
          FILES_MATCHING PATTERN "*.hpp")
endforeach()
install(FILES "${PROJECT_SOURCE_DIR}/framework/host_device.hpp" DESTINATION "${millet_headers}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/reference" DESTINATION "${millet_headers}" FILES_MATCHING PATTERN "*.hpp")
install(FILES "${PROJECT_SOURCE_DIR}/backends/registry.hpp" DESTINATION "${millet_headers}/backends")

# What the static libraries were compiled against has to be there again at the user's link.
set(MILLET_USES_OPENMP OFF)
foreach(library IN LISTS millet_libraries)
  get_target_property(links ${library} LINK_LIBRARIES)
  if(links MATCHES "OpenMP::OpenMP_CXX")
    set(MILLET_USES_OPENMP ON)
  endif()
endforeach()
set(MILLET_USES_CUDA OFF)
if(TARGET millet_backend_hopper)
  set(MILLET_USES_CUDA ON)
endif()
set(MILLET_USES_HIP OFF)
if(TARGET millet_backend_gfx950)
  set(MILLET_USES_HIP ON)
endif()
set(MILLET_USES_BOOST_CONTEXT OFF)
if(TARGET millet_backend_gfx950_emulated)
  set(MILLET_USES_BOOST_CONTEXT ON)
endif()
set(MILLET_USES_KOKKOS OFF)
set(MILLET_KOKKOS_VERSION "")
if(TARGET millet_kokkos)
  set(MILLET_USES_KOKKOS ON)
  get_target_property(MILLET_KOKKOS_VERSION millet_kokkos MILLET_KOKKOS_VERSION)
  install(FILES "${PROJECT_SOURCE_DIR}/cmake/MilletKokkos.cmake" DESTINATION "${MILLET_INSTALL_CMAKEDIR}")
endif()

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/millet-config.cmake.in"
  "${PROJECT_BINARY_DIR}/millet-config.cmake" INSTALL_DESTINATION "${MILLET_INSTALL_CMAKEDIR}"
  NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/millet-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/millet-config.cmake" "${PROJECT_BINARY_DIR}/millet-config-version.cmake"
        DESTINATION "${MILLET_INSTALL_CMAKEDIR}")
