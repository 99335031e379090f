# Public headers compile alone, as C and as C++.
find_program(NEXUS_CXX NAMES c++ g++ clang++)
add_test(NAME headers_c COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/headers.sh
    ${CMAKE_SOURCE_DIR}/include ${CMAKE_C_COMPILER} c c11)
if(NEXUS_CXX)
    add_test(NAME headers_cxx COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/headers.sh
        ${CMAKE_SOURCE_DIR}/include ${NEXUS_CXX} c++ c++17)
endif()
