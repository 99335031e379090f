# Arrays of more than 2^31 elements: with `ctest -C huge` alone, as ./check full runs it.
if(TARGET engine_objects)
    add_executable(test_huge ${CMAKE_CURRENT_LIST_DIR}/huge/test_huge.c)
    target_link_libraries(test_huge PRIVATE PkgConfig::CMOCKA engine_objects base)
    add_test(NAME huge COMMAND test_huge CONFIGURATIONS huge)
    set_tests_properties(huge PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77 RUN_SERIAL TRUE)
endif()
