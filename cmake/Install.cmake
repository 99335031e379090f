# cmake --install: headers, libraries, program, man page, pkg-config files and CMake packages.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(libdir ${CMAKE_INSTALL_LIBDIR})
if(IS_ABSOLUTE "${libdir}" OR IS_ABSOLUTE "${CMAKE_INSTALL_BINDIR}")
    set(to_libraries ${CMAKE_INSTALL_FULL_LIBDIR})
else()
    file(RELATIVE_PATH up /${CMAKE_INSTALL_BINDIR} /${libdir})
    set(to_libraries "$ORIGIN/${up}")
    if(APPLE)
        set(to_libraries "@loader_path/${up}")
    endif()
endif()
set(beside "$ORIGIN")
if(APPLE)
    set(beside "@loader_path")
endif()

# package(NAME TARGET): NAMEConfig.cmake, its version and TARGET, also as NAME::alias.
function(nexus_package name target)
    set(place ${CMAKE_INSTALL_LIBDIR}/cmake/${name})
    install(TARGETS ${target} EXPORT ${name}Targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
    install(EXPORT ${name}Targets DESTINATION ${place} ${ARGN})
    configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/${name}Config.cmake.in
        ${CMAKE_BINARY_DIR}/${name}Config.cmake INSTALL_DESTINATION ${place})
    write_basic_package_version_file(${CMAKE_BINARY_DIR}/${name}ConfigVersion.cmake
        VERSION ${version} COMPATIBILITY SameMinorVersion)
    install(FILES ${CMAKE_BINARY_DIR}/${name}Config.cmake
        ${CMAKE_BINARY_DIR}/${name}ConfigVersion.cmake DESTINATION ${place})
endfunction()

function(nexus_pc name)
    configure_file(${CMAKE_SOURCE_DIR}/cmake/${name}.pc.in ${CMAKE_BINARY_DIR}/${name}.pc @ONLY)
    install(FILES ${CMAKE_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

file(RELATIVE_PATH pc_to_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
if(TARGET engine_objects)
    set(version 0.6.0) # mlx-c's, whose interface it is
    nexus_package(MLXC mlxc)
    nexus_pc(mlxc)
    install(DIRECTORY include/mlx DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
endif()
if(TARGET nexus_mpi)
    install(TARGETS nexus_mpi LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(TARGET nexus_lib)
    set(version ${PROJECT_VERSION})
    set_target_properties(nexus_lib PROPERTIES EXPORT_NAME nexus INSTALL_RPATH ${beside}
        INSTALL_RPATH_USE_LINK_PATH ON)
    nexus_package(NEXUS nexus_lib NAMESPACE NEXUS::)
    nexus_pc(nexus)
    install(DIRECTORY include/nexus DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
endif()
if(TARGET nexus)
    set_target_properties(nexus PROPERTIES INSTALL_RPATH ${to_libraries}
        INSTALL_RPATH_USE_LINK_PATH ON)
    install(TARGETS nexus RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    set(said ${CMAKE_BINARY_DIR}/share)
    install(FILES ${said}/nexus.man DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 RENAME nexus.1)
    install(FILES ${said}/nexus.bash RENAME nexus
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES ${said}/nexus.zsh RENAME _nexus
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    install(FILES ${said}/nexus.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
