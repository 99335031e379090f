# Which folder may include which.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
    add_test(NAME layers COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/check_layers)
endif()
