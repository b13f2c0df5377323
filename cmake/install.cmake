# The CMake package for C++ programs: find_package(planet), target planet::planet, <planet/cem.h>.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(PLANET_HEADERS agent cem colour control_step filter_step images isa model normals parallel philox
    planner planner_parts precision refit rollout seeds settings shift thread_pool timeline
    weight_file)
list(TRANSFORM PLANET_HEADERS PREPEND csrc/)
list(TRANSFORM PLANET_HEADERS APPEND .h)
install(FILES ${PLANET_HEADERS} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/planet)
install(TARGETS planet_core EXPORT planet ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(PLANET_PACKAGE ${CMAKE_INSTALL_LIBDIR}/cmake/planet)
install(EXPORT planet NAMESPACE planet:: FILE planet-targets.cmake DESTINATION ${PLANET_PACKAGE})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/planet-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/planet-config.cmake
              ${PROJECT_BINARY_DIR}/planet-config-version.cmake DESTINATION ${PLANET_PACKAGE})
