# An installed mlx-c as the target mlxc: its CMake package MLXC, else its header and library.
find_package(MLXC CONFIG QUIET)
if(MLXC_FOUND AND TARGET mlxc)
    message(STATUS "mlx-c: the package in ${MLXC_DIR}")
elseif(MLXC_FOUND AND TARGET MLXC::mlxc)
    add_library(mlxc ALIAS MLXC::mlxc)
    message(STATUS "mlx-c: the package in ${MLXC_DIR}")
else()
    find_path(MLXC_INCLUDE_DIR mlx/c/mlx.h)
    find_library(MLXC_LIBRARY mlxc)
    set(lacking "")
    if(NOT MLXC_INCLUDE_DIR)
        list(APPEND lacking "the header mlx/c/mlx.h")
    endif()
    if(NOT MLXC_LIBRARY)
        list(APPEND lacking "the library libmlxc")
    endif()
    if(lacking)
        list(JOIN lacking " and " lacking)
        message(FATAL_ERROR "NEXUS_ENGINE=system needs an installed mlx-c, and there is neither its "
            "CMake package MLXC nor ${lacking}. Install mlx-c, or name the place where it is: "
            "-DCMAKE_PREFIX_PATH=/where/mlx-c/is (which holds include/ and lib/).")
    endif()
    add_library(mlxc SHARED IMPORTED)
    set_target_properties(mlxc PROPERTIES IMPORTED_LOCATION "${MLXC_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${MLXC_INCLUDE_DIR}")
    message(STATUS "mlx-c: ${MLXC_LIBRARY}, headers in ${MLXC_INCLUDE_DIR}")
endif()

# Our headers without our copy of mlx/c: the installed one's are to be used.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/include/nexus ${CMAKE_BINARY_DIR}/include/nexus SYMBOLIC)
set(NEXUS_INCLUDE ${CMAKE_BINARY_DIR}/include)
