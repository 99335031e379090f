# What libmlxc exports is what its public headers declare.
if(TARGET engine_objects)
    add_test(NAME exports COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/exports.sh $<TARGET_FILE:mlxc>
        ${CMAKE_SOURCE_DIR}/include)
    set_tests_properties(exports PROPERTIES SKIP_RETURN_CODE 77)
endif()
